package socket

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// Handler is told what a client sends. Its methods are called by one goroutine
// at a time and must not block: other sockets wait meanwhile.
type Handler interface {
	// Message is a complete text or binary message. data is valid during the
	// call only.
	Message(op wsframe.Opcode, data []byte)
	// Closed is called exactly once, as soon as the connection is gone or its
	// closing has begun. No Message follows.
	Closed()
}

// Limits bound the sockets of all mounts. Zero means the default.
type Limits struct {
	OutboxBytes int           // waiting for one socket, in bytes; one that stays over it is closed with 1013 (256 KiB), see burstFactor
	HeadBytes   int           // request line and header (8 KiB)
	BodyBytes   int           // the body of a request to the fallback handler (1 MiB)
	SendBuffer  int           // the kernel's send buffer in bytes, as set with SO_SNDBUF (64 KiB)
	Handshake   time.Duration // from accepting a connection to the header of its balancer, if there must be one, then to its complete request, and then for [Mount.Admit] (10 s)
	CloseWait   time.Duration // for the client's half of the closing handshake, or for the answer to a request (5 s)
}

// Engine names an implementation of sockets.
type Engine string

// The engines. [Auto] is epoll for plain TCP on Linux, else portable.
const (
	Auto     Engine = "auto"
	Portable Engine = "portable"
)

// Writer names a way of the epoll engine to write.
type Writer string

// The writers. [AutoWriter] is io_uring where the kernel has it and allows it,
// else write(2).
const (
	AutoWriter  Writer = "auto"
	WriteCalls  Writer = "write"
	UringWriter Writer = "uring"
)

// Options of a [Server]. Listener and Mounts are required.
type Options struct {
	Listener  net.Listener
	Mounts    []Mount        // the first whose path matches counts
	Fallback  http.Handler   // serves every other path; nil answers 404
	Balancers []netip.Prefix // if there are any, every connection must come from one and begin with a header of the PROXY protocol; not for TLS, which would hide it
	Addresses *Addresses     // bounds the sockets of one address; nil for no bound
	NextID    func() uint64  // ids of connections; nil counts from 1; called concurrently
	Limits    Limits
	Engine    Engine
	Writer    Writer
	Loops     int             // epoll loops and as many flushers; 0 for one per two processors
	Abort     <-chan struct{} // closing it cuts a drain short; may be nil
	Log       *slog.Logger
	Meter     metric.Meter
}

// Defaults returns the default limits.
func Defaults() Limits {
	return Limits{
		OutboxBytes: 256 << 10,
		HeadBytes:   8 << 10,
		BodyBytes:   1 << 20,
		SendBuffer:  64 << 10,
		Handshake:   10 * time.Second,
		CloseWait:   5 * time.Second,
	}
}

func (l Limits) withDefaults() Limits {
	d := Defaults()
	l.OutboxBytes = cmp.Or(l.OutboxBytes, d.OutboxBytes)
	l.HeadBytes = cmp.Or(l.HeadBytes, d.HeadBytes)
	l.BodyBytes = cmp.Or(l.BodyBytes, d.BodyBytes)
	l.SendBuffer = cmp.Or(l.SendBuffer, d.SendBuffer)
	l.Handshake = cmp.Or(l.Handshake, d.Handshake)
	l.CloseWait = cmp.Or(l.CloseWait, d.CloseWait)
	return l
}

func (o Options) withDefaults() Options {
	o.Engine = cmp.Or(o.Engine, Auto)
	o.Writer = cmp.Or(o.Writer, AutoWriter)
	o.Loops = cmp.Or(o.Loops, max(1, runtime.GOMAXPROCS(0)/2))
	o.Limits = o.Limits.withDefaults()
	if o.NextID == nil {
		o.NextID = new(counter).next
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	return o
}

// counter hands out ids, from 1.
type counter struct{ last atomic.Uint64 }

func (c *counter) next() uint64 { return c.last.Add(1) }

func (o Options) validate() error {
	errs := []error{checkMounts(o.Mounts)}
	if o.Listener == nil {
		errs = append(errs, errors.New("socket: no listener"))
	}
	if o.Engine != Auto && o.Engine != Portable {
		errs = append(errs, errors.New("socket: unknown engine "+string(o.Engine)))
	}
	if o.Writer != AutoWriter && o.Writer != WriteCalls && o.Writer != UringWriter {
		errs = append(errs, errors.New("socket: unknown writer "+string(o.Writer)))
	}
	return errors.Join(errs...)
}
