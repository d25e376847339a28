package longpoll

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// batchBytes is about the most that one answer carries: larger messages go alone.
const batchBytes = 256 << 10

// maxPosts is how many POSTs of one session may be under way. phoenix.js awaits
// each.
const maxPosts = 4

// Conn is the connection of one session. All methods may be called from any
// goroutine, and never block.
type Conn struct {
	// Static after construction.
	server *Server
	id     uint64
	secret secret
	mount  string
	addr   netip.Addr
	opened time.Time
	done   chan struct{} // closed when the session ended

	// turn holds a token while the handler is in use: by a POST, or for ever once
	// it was told that the session is closed. handler is written under mu, before
	// anybody else has a turn.
	turn    chan struct{}
	handler Handler
	resumed chan struct{} // capacity one: "look at paused again"

	// mu guards the fields below.
	mu     sync.Mutex
	outbox []wsframe.Frame
	bytes  int       // in the outbox
	poller *poller   // that waits; nil for none
	seen   time.Time // when a poll was under way last
	posts  int       // under way
	paused bool
	ended  bool
	cause  cause // of the end
}

// poller is one GET that waits for messages.
type poller struct {
	wake chan struct{} // capacity one: "look again"
}

func newConn(s *Server, mount string, id uint64, addr netip.Addr) *Conn {
	now := time.Now()
	return &Conn{
		server: s, id: id, secret: newSecret(), mount: mount, addr: addr, opened: now, done: make(chan struct{}),
		turn: make(chan struct{}, 1), resumed: make(chan struct{}, 1), seen: now,
	}
}

// ID is unique among the connections of this edge.
func (c *Conn) ID() uint64 { return c.id }

// Mount is the path of the mount that it came to.
func (c *Conn) Mount() string { return c.mount }

// Address is the client's.
func (c *Conn) Address() netip.Addr { return c.addr }

func (c *Conn) setHandler(h Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handler = h
}

// Handler is what [Options.Admit] made for the session, or stands in for it.
func (c *Conn) Handler() Handler {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handler
}

// Send queues a frame for the next poll. If the client polls too slowly for it to
// fit, what waits is dropped and the session ends.
func (c *Conn) Send(f wsframe.Frame) {
	c.mu.Lock()
	size := len(f.Payload())
	switch {
	case c.ended:
		c.mu.Unlock()
		return
	case len(c.outbox) > 0 && c.bytes+size > c.server.opts.Limits.OutboxBytes:
		c.server.count.dropped[dropSlow].Add(int64(len(c.outbox) + 1))
		c.outbox, c.bytes = nil, 0
		c.end(causeSlow)
		c.mu.Unlock()
		c.server.end(c)
		return
	}
	c.outbox, c.bytes = append(c.outbox, f), c.bytes+size
	c.wake()
	c.mu.Unlock()
}

// Close ends the session: polls get what waits already, and then an answer that
// says so. Only the first call has an effect, and reports so.
func (c *Conn) Close(code wsframe.Code, _ string) bool { return c.close(causeOf(code)) }

// Look is what can be seen of a session at one moment.
type Look struct {
	Closing bool          // it has ended
	Quiet   bool          // nothing waits for a poll, no POST is under way
	Age     time.Duration // since it was opened
	Silence time.Duration // since a poll was under way last
	Queued  int           // bytes that wait for a poll
}

// Look returns what can be seen now.
func (c *Conn) Look() Look {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	l := Look{
		Closing: c.ended,
		Quiet:   !c.ended && !c.paused && len(c.outbox) == 0 && c.posts == 0,
		Age:     now.Sub(c.opened),
		Queued:  c.bytes,
	}
	if c.poller == nil {
		l.Silence = now.Sub(c.seen)
	}
	return l
}

// Pause makes POSTs wait before the next message, until Resume.
func (c *Conn) Pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = true
}

// Resume ends a pause.
func (c *Conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = false
	signal(c.resumed)
}

func (c *Conn) close(why cause) (first bool) {
	c.mu.Lock()
	first = !c.ended
	if first {
		c.end(why)
	}
	c.mu.Unlock()
	if first {
		c.server.end(c)
	}
	return first
}

// end needs mu held and the session not to have ended. Its caller tells the
// server when mu is free.
func (c *Conn) end(why cause) {
	c.ended, c.cause = true, why
	close(c.done)
	c.wake()
}

// wake makes the poll that waits look again. The caller holds mu.
func (c *Conn) wake() {
	if c.poller != nil {
		signal(c.poller.wake)
	}
}

// poll waits for messages, at most for the window. A later poll of the session
// ends it, and so does ctx; then it takes no messages.
func (c *Conn) poll(ctx context.Context) *meshv1.PollResponse {
	p := &poller{wake: make(chan struct{}, 1)}
	c.mu.Lock()
	c.wake()
	c.poller = p
	c.mu.Unlock()
	defer c.leave(p)
	window := time.NewTimer(c.server.opts.Limits.Window)
	defer window.Stop()
	for ctx.Err() == nil {
		if answer := c.look(p); answer != nil {
			return answer
		}
		select {
		case <-p.wake:
		case <-window.C:
			return status(http.StatusNoContent)
		case <-ctx.Done():
		}
	}
	return status(http.StatusNoContent)
}

// look answers p, or returns nil if it has to wait.
func (c *Conn) look(p *poller) *meshv1.PollResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.poller != p:
		return status(http.StatusNoContent)
	case len(c.outbox) > 0:
		return c.take()
	case c.ended:
		return status(c.cause.status())
	}
	return nil
}

// take empties the outbox as far as one answer may carry. The caller holds mu.
func (c *Conn) take() *meshv1.PollResponse {
	answer := status(http.StatusOK)
	n, size := 0, 0
	for _, f := range c.outbox {
		if size += len(f.Payload()); n > 0 && size > batchBytes {
			break
		}
		c.bytes -= len(f.Payload())
		answer.Messages = append(answer.Messages, &meshv1.PollMessage{Data: f.Payload(), Binary: f.Op() == wsframe.Binary})
		n++
	}
	c.outbox = append(c.outbox[:0:0], c.outbox[n:]...)
	return answer
}

func (c *Conn) leave(p *poller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.poller == p {
		c.poller, c.seen = nil, time.Now()
	}
}

// publish hands messages to the handler, in order, and waits whenever it pauses,
// at most for the window.
func (c *Conn) publish(ctx context.Context, messages []*meshv1.PollMessage) *meshv1.PollResponse {
	if !c.begin() {
		return status(http.StatusTooManyRequests)
	}
	defer c.finish()
	ctx, cancel := context.WithTimeout(ctx, c.server.opts.Limits.Window)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
	case <-c.done:
		return status(http.StatusGone)
	case <-ctx.Done():
		return status(http.StatusRequestTimeout)
	}
	defer c.yield()
	for _, m := range messages {
		op := wsframe.Text
		if m.GetBinary() {
			op = wsframe.Binary
		}
		c.guard(func() { c.handler.Message(op, m.GetData()) })
		if s := c.wait(ctx); s != http.StatusOK {
			return status(s)
		}
	}
	return status(http.StatusOK)
}

// begin counts a POST and reports whether there may be one more.
func (c *Conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.posts >= maxPosts {
		return false
	}
	c.posts++
	return true
}

func (c *Conn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.posts--
}

// wait returns when the session is not paused, with the status to go on with.
func (c *Conn) wait(ctx context.Context) int {
	for {
		c.mu.Lock()
		ended, paused := c.ended, c.paused
		c.mu.Unlock()
		switch {
		case ended:
			return http.StatusGone
		case !paused:
			return http.StatusOK
		}
		select {
		case <-c.resumed:
		case <-c.done:
		case <-ctx.Done():
			return http.StatusRequestTimeout
		}
	}
}

// yield gives the turn back. Whoever ended the session meanwhile could not tell
// the handler.
func (c *Conn) yield() {
	<-c.turn
	select {
	case <-c.done:
		c.tell()
	default:
	}
}

// tell tells the handler that the session ended, unless somebody has the turn,
// who will.
func (c *Conn) tell() {
	select {
	case c.turn <- struct{}{}: // and nobody gets it any more
		c.guard(c.handler.Closed)
		c.server.told(c)
	default:
	}
}

// guard keeps a handler that panics from taking the process with it.
func (c *Conn) guard(call func()) {
	defer func() {
		if p := recover(); p != nil {
			c.server.opts.Log.Error("long-poll handler panicked",
				"connection", c.id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			c.close(causeInternal)
		}
	}()
	call()
}

// stale ends a session that was not polled for too long, and reports whether
// nobody will ask for it any more.
func (c *Conn) stale(now time.Time) bool {
	c.mu.Lock()
	if c.poller != nil || now.Sub(c.seen) < c.server.opts.Limits.Window*3/2 {
		c.mu.Unlock()
		return false
	}
	c.server.count.dropped[dropNotPolled].Add(int64(len(c.outbox)))
	c.outbox, c.bytes = nil, 0
	first := !c.ended
	if first {
		c.end(causeSilent)
	}
	c.mu.Unlock()
	if first {
		c.server.end(c)
	}
	return true
}

func status(s int) *meshv1.PollResponse {
	return &meshv1.PollResponse{Status: uint32(s)} //nolint:gosec // a status of HTTP
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
