package longpoll

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/handshake"
	"github.com/skein-mesh/skein/services/edge/session"
)

// Handler is told what a client sends. Its methods are called by one goroutine
// at a time and must not block.
type Handler interface {
	// Message is one message. data is valid during the call only.
	Message(op wsframe.Opcode, data []byte)
	// Closed is called exactly once, when the session has ended. No Message
	// follows.
	Closed()
}

// Addresses counts the connections of each address, over all transports.
type Addresses interface {
	// Enter counts one more and reports whether it is within the limit. Each Enter
	// needs a Leave, whatever it returned.
	Enter(addr netip.Addr) bool
	Leave(addr netip.Addr)
}

// Limits bound sessions. Zero means the default.
type Limits struct {
	Window      time.Duration // that a GET waits for messages, and a POST for its turn (10 s)
	OutboxBytes int           // waiting for one session, in bytes; one that goes over it ends (256 KiB)
	BodyBytes   int           // of one POST (1 MiB)
}

// Options of a [Server]. Edge, Admit, NextID and Router are required.
type Options struct {
	Edge string // id of this edge
	// Admit decides about a new session. It returns what makes the handler of the
	// session's connection, or a refusal. It may wait until its context ends.
	Admit     func(context.Context, *handshake.Request) (func(session.Conn) Handler, handshake.Refusal)
	NextID    func() uint64                           // of connections, over all transports
	Addresses Addresses                               // nil counts nothing
	Router    func() (grpc.ClientConnInterface, bool) // one that this edge is attached to, for unary calls; false for none
	Limits    Limits
	Log       *slog.Logger
	Meter     metric.Meter
}

// Defaults returns the default limits.
func Defaults() Limits {
	return Limits{Window: 10 * time.Second, OutboxBytes: 256 << 10, BodyBytes: 1 << 20}
}

func (l Limits) withDefaults() Limits {
	d := Defaults()
	l.Window = cmp.Or(l.Window, d.Window)
	l.OutboxBytes = cmp.Or(l.OutboxBytes, d.OutboxBytes)
	l.BodyBytes = cmp.Or(l.BodyBytes, d.BodyBytes)
	return l
}

func (o Options) withDefaults() Options {
	o.Limits = o.Limits.withDefaults()
	if o.Addresses == nil {
		o.Addresses = anyNumber{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	return o
}

func (o Options) validate() error {
	var errs []error
	require := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New("longpoll: no "+what))
		}
	}
	require(o.Edge != "" && len(o.Edge) <= maxEdgeID, "id of the edge of 1 to 255 bytes")
	require(o.Admit != nil, "Admit")
	require(o.NextID != nil, "NextID")
	require(o.Router != nil, "Router")
	return errors.Join(errs...)
}

// anyNumber has no limit.
type anyNumber struct{}

// Enter implements [Addresses].
func (anyNumber) Enter(netip.Addr) bool { return true }

// Leave implements [Addresses].
func (anyNumber) Leave(netip.Addr) {}
