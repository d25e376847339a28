package socket

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
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

// Decision is what [Options.Accept] answers: [Allow] or an HTTP status to
// refuse with.
type Decision int

// Usual decisions.
const (
	Allow    Decision = 0
	Forbid   Decision = http.StatusForbidden
	TooMany  Decision = http.StatusTooManyRequests
	NotReady Decision = http.StatusServiceUnavailable
)

// Request is the request that became, or wants to become, a socket. It is a
// copy: it may be kept.
type Request struct {
	ID        uint64         // of the connection, unique in one life of the server, from 1
	Path      string         // without query
	Query     url.Values     // parameters of the client, vsn among them
	Remote    netip.AddrPort // zero if the peer has no IP address
	Host      string
	Origin    string // empty if there is none
	UserAgent string
	AuthToken string // phoenix.js's authToken, empty if there is none
}

// Limits bound sockets. Zero means the default.
type Limits struct {
	OutboxBytes  int           // waiting for one socket, in bytes; one that stays over it is closed with 1013 (256 KiB), see burstFactor
	FrameBytes   int           // one frame of a client with its header (1 MiB)
	MessageBytes int           // one message of a client over all of its fragments (1 MiB)
	HeadBytes    int           // request line and header (8 KiB)
	SendBuffer   int           // the kernel's send buffer in bytes, as set with SO_SNDBUF (64 KiB)
	PerIP        int           // sockets of one address; 0 for no limit
	Handshake    time.Duration // from accepting a connection to its complete request (10 s)
	Idle         time.Duration // without any frame of the client; then it is closed with 1002 (60 s)
	CloseWait    time.Duration // for the client's half of the closing handshake (5 s)
	Drain        time.Duration // over which [Server.Run] spreads the closing of all sockets (5 s)
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

// Options of a [Server]. Listener and Open are required.
type Options struct {
	Listener net.Listener
	Path     string                        // where sockets mount, default "/socket/websocket"
	Origin   func(*Request) bool           // asked when a request has an Origin header, even an empty one; nil allows all
	Accept   func(*Request) Decision       // asked before the upgrade; nil allows all; may be called concurrently
	Open     func(*Conn, *Request) Handler // makes the handler of an upgraded socket; may be called concurrently
	Fallback http.Handler                  // serves every other path; nil answers 404
	Limits   Limits
	Engine   Engine
	Writer   Writer
	Loops    int             // epoll loops and as many flushers; 0 for one per two processors
	Abort    <-chan struct{} // closing it cuts a drain short; may be nil
	Log      *slog.Logger
	Meter    metric.Meter
}

// DefaultPath is where sockets mount, as phoenix.js asks for it.
const DefaultPath = "/socket/websocket"

// Defaults returns the default limits.
func Defaults() Limits {
	return Limits{
		OutboxBytes:  256 << 10,
		FrameBytes:   1 << 20,
		MessageBytes: 1 << 20,
		HeadBytes:    8 << 10,
		SendBuffer:   64 << 10,
		Handshake:    10 * time.Second,
		Idle:         60 * time.Second,
		CloseWait:    5 * time.Second,
		Drain:        5 * time.Second,
	}
}

func (l Limits) withDefaults() Limits {
	d := Defaults()
	l.OutboxBytes = orDefault(l.OutboxBytes, d.OutboxBytes)
	l.FrameBytes = orDefault(l.FrameBytes, d.FrameBytes)
	l.MessageBytes = orDefault(l.MessageBytes, d.MessageBytes)
	l.HeadBytes = orDefault(l.HeadBytes, d.HeadBytes)
	l.SendBuffer = orDefault(l.SendBuffer, d.SendBuffer)
	l.Handshake = orDefault(l.Handshake, d.Handshake)
	l.Idle = orDefault(l.Idle, d.Idle)
	l.CloseWait = orDefault(l.CloseWait, d.CloseWait)
	l.Drain = orDefault(l.Drain, d.Drain)
	return l
}

func (l Limits) frames() wsframe.Limits {
	return wsframe.Limits{Frame: l.FrameBytes, Message: l.MessageBytes}
}

func (o Options) withDefaults() Options {
	o.Path = orDefault(o.Path, DefaultPath)
	o.Engine = orDefault(o.Engine, Auto)
	o.Writer = orDefault(o.Writer, AutoWriter)
	o.Loops = orDefault(o.Loops, max(1, runtime.GOMAXPROCS(0)/2))
	o.Limits = o.Limits.withDefaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	return o
}

func (o Options) validate() error {
	switch {
	case o.Listener == nil:
		return errors.New("socket: no listener")
	case o.Open == nil:
		return errors.New("socket: no handler")
	}
	if o.Engine != Auto && o.Engine != Portable {
		return errors.New("socket: unknown engine " + string(o.Engine))
	}
	if o.Writer != AutoWriter && o.Writer != WriteCalls && o.Writer != UringWriter {
		return errors.New("socket: unknown writer " + string(o.Writer))
	}
	return nil
}

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}
