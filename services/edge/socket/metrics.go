package socket

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// cause says why a connection ended. It is the closed set of the attribute
// "reason" of skein.socket.closes.
type cause uint8

const (
	causeGone     cause = iota // the connection broke or ended without a close frame
	causeClient                // the client closed it
	causeIdle                  // nothing was received for too long
	causeSlow                  // the client read too slowly
	causeProtocol              // the client broke the WebSocket protocol
	causePayload               // text that is not UTF-8
	causeTooBig                // a frame or message over the limit
	causePolicy                // a limit or rule of the operator
	causeInternal              // not Phoenix's protocol, or an error of ours
	causeRestart               // drain or rebalance
	causeKicked                // disconnected by a backend or an operator
	causes                     // how many there are
)

// String is the value of the metric's attribute.
func (c cause) String() string {
	return [...]string{
		"gone", "client", "idle", "slow", "protocol", "payload", "too_big", "policy", "internal", "restart", "kicked",
	}[c]
}

func causeOf(code wsframe.Code) cause {
	switch code {
	case wsframe.CodeGoingAway:
		return causeKicked
	case wsframe.CodeProtocol:
		return causeProtocol
	case wsframe.CodeBadPayload:
		return causePayload
	case wsframe.CodePolicy:
		return causePolicy
	case wsframe.CodeTooBig:
		return causeTooBig
	case wsframe.CodeRestart:
		return causeRestart
	case wsframe.CodeTryAgain:
		return causeSlow
	default:
		return causeInternal
	}
}

// Stats are what a server counted since it was made.
type Stats struct {
	Open        int64 // sockets now
	Opened      uint64
	Closed      uint64
	SlowClosed  uint64 // of Closed: clients that read too slowly
	Refused     uint64 // requests for a socket that were refused
	FramesIn    uint64
	BytesIn     uint64
	FramesOut   uint64
	BytesOut    uint64
	WriteCalls  uint64
	WriteStalls uint64 // writes that found the kernel's buffer full
}

// counters are added to once per batch, not per frame.
type counters struct {
	open, opened, refused                    atomic.Int64
	framesIn, bytesIn                        atomic.Int64
	framesOut, bytesOut, writeCalls, stalled atomic.Int64
	closed                                   [causes]atomic.Int64
}

func (n *counters) stats() Stats {
	var closed int64
	for i := range n.closed {
		closed += n.closed[i].Load()
	}
	return Stats{
		Open:        n.open.Load(),
		Opened:      uint64(n.opened.Load()), //nolint:gosec // a count
		Closed:      uint64(closed),
		SlowClosed:  uint64(n.closed[causeSlow].Load()), //nolint:gosec // a count
		Refused:     uint64(n.refused.Load()),           //nolint:gosec // a count
		FramesIn:    uint64(n.framesIn.Load()),          //nolint:gosec // a count
		BytesIn:     uint64(n.bytesIn.Load()),           //nolint:gosec // a count
		FramesOut:   uint64(n.framesOut.Load()),         //nolint:gosec // a count
		BytesOut:    uint64(n.bytesOut.Load()),          //nolint:gosec // a count
		WriteCalls:  uint64(n.writeCalls.Load()),        //nolint:gosec // a count
		WriteStalls: uint64(n.stalled.Load()),           //nolint:gosec // a count
	}
}

// instruments reads the counters whenever metrics are collected.
type instruments struct {
	open   metric.Int64ObservableUpDownCounter
	plain  []metric.Int64ObservableCounter
	values []*atomic.Int64
	closes metric.Int64ObservableCounter
	reason [causes]metric.MeasurementOption
}

// register makes the instruments; the returned registration ends them.
func (n *counters) register(meter metric.Meter) (metric.Registration, error) {
	var in instruments
	var err error
	if in.open, err = meter.Int64ObservableUpDownCounter("skein.socket.connections",
		metric.WithDescription("Sockets that are open now"), metric.WithUnit("{connection}")); err != nil {
		return nil, err
	}
	if in.closes, err = meter.Int64ObservableCounter("skein.socket.closes",
		metric.WithDescription("Sockets that ended, by reason"), metric.WithUnit("{connection}")); err != nil {
		return nil, err
	}
	for c := range causes {
		in.reason[c] = metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", c.String())))
	}
	observed := []metric.Observable{in.open, in.closes}
	for _, c := range []struct {
		name, unit, help string
		value            *atomic.Int64
	}{
		{"skein.socket.opens", "{connection}", "Sockets that were opened", &n.opened},
		{"skein.socket.refusals", "{request}", "Requests for a socket that were refused", &n.refused},
		{"skein.socket.frames.in", "{frame}", "Frames that clients sent", &n.framesIn},
		{"skein.socket.bytes.in", "By", "Bytes that clients sent after their handshake", &n.bytesIn},
		{"skein.socket.frames.out", "{frame}", "Frames written to clients", &n.framesOut},
		{"skein.socket.bytes.out", "By", "Bytes written to clients after their handshake", &n.bytesOut},
		{"skein.socket.writes", "{call}", "Writes that carried these frames", &n.writeCalls},
		{"skein.socket.write.stalls", "{call}", "Writes that found a client's send buffer full", &n.stalled},
	} {
		counter, err := meter.Int64ObservableCounter(c.name, metric.WithDescription(c.help), metric.WithUnit(c.unit))
		if err != nil {
			return nil, err
		}
		in.plain, in.values = append(in.plain, counter), append(in.values, c.value)
		observed = append(observed, counter)
	}
	return meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(in.open, n.open.Load())
		for i, counter := range in.plain {
			o.ObserveInt64(counter, in.values[i].Load())
		}
		for c := range causes {
			o.ObserveInt64(in.closes, n.closed[c].Load(), in.reason[c])
		}
		return nil
	}, observed...)
}
