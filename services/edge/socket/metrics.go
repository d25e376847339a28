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

// refused says why a request, or a connection before its request, got no socket. It is the closed set of the
// attribute "reason" of skein.socket.refusals.
type refused uint8

const (
	refusedMalformed   refused = iota // not a WebSocket handshake, or not well formed
	refusedDraining                   // the edge stops
	refusedVersion                    // a serializer that is not served
	refusedSubprotocol                // none that the mount knows
	refusedAddress                    // too many sockets of one address
	refusedAdmission                  // origin, token, handler: see [Mount.Admit]
	refusedPeer                       // not a balancer that may speak the PROXY protocol
	refusedProxy                      // a balancer's header is missing, late, too long or malformed
	refusals                          // how many there are
)

// String is the value of the metric's attribute.
func (r refused) String() string {
	return [...]string{"malformed", "draining", "version", "subprotocol", "address", "admission", "peer", "proxy_header"}[r]
}

// Stats are what a server counted since it was made.
type Stats struct {
	Open        int64 // sockets now, also those that are closing
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
	open, opened, closing                    atomic.Int64
	framesIn, bytesIn                        atomic.Int64
	framesOut, bytesOut, writeCalls, stalled atomic.Int64
	closed                                   [causes]atomic.Int64
	refused                                  [refusals]atomic.Int64
}

func (n *counters) stats() Stats {
	sum := func(counts []atomic.Int64) (total uint64) {
		for i := range counts {
			total += uint64(counts[i].Load()) //nolint:gosec // a count
		}
		return total
	}
	return Stats{
		Open:        n.open.Load(),
		Opened:      uint64(n.opened.Load()), //nolint:gosec // a count
		Closed:      sum(n.closed[:]),
		SlowClosed:  uint64(n.closed[causeSlow].Load()), //nolint:gosec // a count
		Refused:     sum(n.refused[:]),
		FramesIn:    uint64(n.framesIn.Load()),   //nolint:gosec // a count
		BytesIn:     uint64(n.bytesIn.Load()),    //nolint:gosec // a count
		FramesOut:   uint64(n.framesOut.Load()),  //nolint:gosec // a count
		BytesOut:    uint64(n.bytesOut.Load()),   //nolint:gosec // a count
		WriteCalls:  uint64(n.writeCalls.Load()), //nolint:gosec // a count
		WriteStalls: uint64(n.stalled.Load()),    //nolint:gosec // a count
	}
}

// series is one value of a counter that is read whenever metrics are collected.
type series struct {
	counter metric.Int64ObservableCounter
	value   *atomic.Int64
	reason  metric.MeasurementOption
}

// register makes the instruments; the returned registration ends them.
func (n *counters) register(meter metric.Meter, queued func() int64) (metric.Registration, error) {
	open, err := meter.Int64ObservableUpDownCounter("skein.socket.connections",
		metric.WithDescription("Sockets that are open now"), metric.WithUnit("{connection}"))
	if err != nil {
		return nil, err
	}
	waiting, err := meter.Int64ObservableGauge("skein.socket.queue",
		metric.WithDescription("Bytes that wait for clients"), metric.WithUnit("By"))
	if err != nil {
		return nil, err
	}
	observed := []metric.Observable{open, waiting}
	var all []series
	for _, c := range []struct {
		name, unit, help string
		values           []*atomic.Int64
		reason           func(i int) string // nil for a counter of one value
	}{
		{"skein.socket.opens", "{connection}", "Sockets that were opened", one(&n.opened), nil},
		{"skein.socket.closes", "{connection}", "Sockets that ended, by reason", each(n.closed[:]), reasonOf[cause]},
		{"skein.socket.refusals", "{request}", "Requests for a socket, and connections without the header of a trusted balancer, that were refused, by reason", each(n.refused[:]), reasonOf[refused]},
		{"skein.socket.frames.in", "{frame}", "Frames that clients sent", one(&n.framesIn), nil},
		{"skein.socket.bytes.in", "By", "Bytes that clients sent after their handshake", one(&n.bytesIn), nil},
		{"skein.socket.frames.out", "{frame}", "Frames written to clients", one(&n.framesOut), nil},
		{"skein.socket.bytes.out", "By", "Bytes written to clients after their handshake", one(&n.bytesOut), nil},
		{"skein.socket.writes", "{call}", "Writes that carried these frames", one(&n.writeCalls), nil},
		{"skein.socket.write.stalls", "{call}", "Writes that found a client's send buffer full", one(&n.stalled), nil},
	} {
		counter, err := meter.Int64ObservableCounter(c.name, metric.WithDescription(c.help), metric.WithUnit(c.unit))
		if err != nil {
			return nil, err
		}
		observed = append(observed, counter)
		for i, value := range c.values {
			attributes := attribute.NewSet()
			if c.reason != nil {
				attributes = attribute.NewSet(attribute.String("reason", c.reason(i)))
			}
			all = append(all, series{counter, value, metric.WithAttributeSet(attributes)})
		}
	}
	return meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(open, n.open.Load())
		o.ObserveInt64(waiting, queued())
		for _, s := range all {
			o.ObserveInt64(s.counter, s.value.Load(), s.reason)
		}
		return nil
	}, observed...)
}

func one(value *atomic.Int64) []*atomic.Int64 { return []*atomic.Int64{value} }

func each(values []atomic.Int64) []*atomic.Int64 {
	all := make([]*atomic.Int64, len(values))
	for i := range values {
		all[i] = &values[i]
	}
	return all
}

// reasonOf is the attribute of the i-th reason.
func reasonOf[R interface {
	~uint8
	String() string
}](i int) string {
	return R(i).String()
}
