package socket

import (
	"fmt"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// Conn is one client's socket. All methods may be called from any goroutine,
// also from within the [Handler], and never block.
type Conn struct {
	// Static after construction.
	id      uint64
	mount   *mount
	driver  driver
	addr    netip.Addr
	opened  uint32 // on the server's clock, in seconds
	deflate bool   // compression was negotiated

	// Owned by the goroutine that runs the handler.
	told bool // the handler knows that it is over

	// mu guards the fields below. The handler is set once, by the goroutine that
	// runs it and needs no lock to read it.
	mu        sync.Mutex
	handler   Handler
	out       outbox
	deadline  int64 // when closing ends, on the server's clock
	phase     phase
	cause     cause
	scheduled bool // a writer knows that there is something to write
	paused    bool
	parked    bool // the reader saw paused and stopped; only it ends that
	peerDone  bool // the client's close frame was read

	lastFrame atomic.Int64 // when the last frame was received, on the server's clock; used by everybody
}

// phase of a connection; it only grows.
type phase uint8

const (
	open    phase = iota
	closing       // the close frame is queued; nothing more is sent or delivered
	gone          // the connection is torn down
)

// driver is the engine's side of a connection. Its methods are called with
// Conn.mu held or not, and must not take it.
type driver interface {
	flush()              // there is something to write
	nudge()              // the reader should look at the connection's state
	limit(time.Duration) // closing has begun: nothing may block for longer
}

// ID is unique in one life of the server, from 1.
func (c *Conn) ID() uint64 { return c.id }

// Deflates reports whether the client takes compressed frames, such as
// [wsframe.Deflate] makes. All others it takes as well.
func (c *Conn) Deflates() bool { return c.deflate }

// Handler is what [Mount.Admit] made for the connection; nil as long as there is
// none, and if there never is.
func (c *Conn) Handler() Handler {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, none := c.handler.(nobody); none {
		return nil
	}
	return c.handler
}

// Send queues a frame, which must not be compressed unless [Conn.Deflates]. If the client reads too slowly for it to fit, what waits
// is dropped and the connection closed with [wsframe.CodeTryAgain]. A frame for
// a connection that is closing is dropped.
func (c *Conn) Send(f wsframe.Frame) {
	c.mu.Lock()
	if c.phase != open {
		c.mu.Unlock()
		return
	}
	if !c.out.fits(f, c.mount.server.opts.Limits.OutboxBytes, c.mount.server.now) {
		c.out.discard()
		c.beginClose(wsframe.CodeTryAgain, "reads too slowly", causeSlow)
		c.mu.Unlock()
		return
	}
	c.out.push(f)
	wake := !c.scheduled
	c.scheduled = true
	c.mu.Unlock()
	if wake {
		c.driver.flush()
	}
}

// Close sends a close frame behind everything that waits and ends the
// connection when the client answered it, or after [Limits.CloseWait]. What the
// client sends meanwhile is not delivered. Only the first call has an effect,
// and reports so. Code 1000 must not be used: phoenix.js may not come back from
// it.
func (c *Conn) Close(code wsframe.Code, reason string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != open {
		return false
	}
	c.beginClose(code, reason, causeOf(code))
	return true
}

// Look is what can be seen of a connection at one moment.
type Look struct {
	Closing bool          // its end has begun
	Quiet   bool          // nothing waits to be written, nor for a [Conn.Resume]
	Age     time.Duration // since it was opened, to the second
	Silence time.Duration // since the last frame of the client
	Queued  int           // bytes that wait to be written, and what the queue spends on them
}

// Look returns what can be seen now.
func (c *Conn) Look() Look {
	now := c.mount.server.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return Look{
		Closing: c.phase != open,
		Quiet:   c.phase == open && !c.paused && len(c.out.frames) == 0,
		Age:     time.Duration(now) - time.Duration(c.opened)*time.Second,
		Silence: time.Duration(now - c.lastFrame.Load()),
		Queued:  c.out.cost,
	}
}

// Pause stops the delivery of messages after the current one; what the client
// sends stays in the kernel, so that it is slowed down. At most one read buffer
// is kept. A client that cannot send because of a pause is still closed when
// nothing was received of it for [Mount.Idle].
func (c *Conn) Pause() {
	c.mu.Lock()
	c.paused = true
	c.mu.Unlock()
}

// Resume ends a pause.
func (c *Conn) Resume() {
	c.mu.Lock()
	c.paused = false
	wake := c.parked
	c.mu.Unlock()
	if wake {
		c.driver.nudge()
	}
}

// beginClose needs mu held and the phase to be open.
func (c *Conn) beginClose(code wsframe.Code, reason string, why cause) {
	c.cause = why
	c.enter(closing)
	wait := c.mount.server.opts.Limits.CloseWait
	c.deadline = c.mount.server.now() + int64(wait)
	c.driver.limit(wait)
	c.out.push(wsframe.NewClose(code, reason))
	if !c.scheduled {
		c.scheduled = true
		c.driver.flush()
	}
	c.driver.nudge()
}

// control answers a ping, or does nothing.
func (c *Conn) control(m wsframe.Message) {
	if m.Op == wsframe.Ping {
		c.Send(wsframe.New(wsframe.Pong, m.Payload))
	}
}

// enter begins a phase; mu is held.
func (c *Conn) enter(p phase) {
	if c.phase == open {
		c.mount.server.count.closing.Add(1)
	}
	c.phase = p
}

// peerClose takes the client's close frame: an answer to ours, or a close to be
// answered with 1000 whatever the client's code, as Phoenix on Bandit does.
func (c *Conn) peerClose(payload []byte) {
	_, _, err := wsframe.ParseClose(payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peerDone = true
	if c.phase != open {
		return
	}
	if err != nil {
		c.beginClose(wsframe.CodeProtocol, err.Error(), causeProtocol)
		return
	}
	c.beginClose(wsframe.CodeNormal, "", causeClient)
}

// deliver hands a message to the handler, unless the connection is closing, and
// reports whether the next one may follow: false if the handler paused, in which
// case the connection is parked. A handler that panics loses its connection, not
// the process.
func (c *Conn) deliver(m wsframe.Message) (next bool) {
	if c.current() == open {
		c.guard(func() { c.handler.Message(m.Op, m.Payload) })
	}
	c.mu.Lock()
	over := c.phase != open
	c.parked = c.paused && !over
	next = !c.parked
	c.mu.Unlock()
	if over {
		c.tell()
	}
	return next
}

// tell ends the handler, once.
func (c *Conn) tell() {
	if c.told {
		return
	}
	c.told = true
	c.guard(c.handler.Closed)
}

func (c *Conn) guard(call func()) {
	defer func() {
		if p := recover(); p != nil {
			c.mount.server.opts.Log.Error("socket handler panicked",
				"connection", c.id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			c.Close(wsframe.CodeInternal, "")
		}
	}()
	call()
}

// current is the phase now.
func (c *Conn) current() phase {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase
}
