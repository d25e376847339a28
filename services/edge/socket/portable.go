package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fasthttp/websocket"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// portable is the engine that works with every net.Conn: two goroutines per
// connection, and the package's own reader and writer, but for connections that
// negotiated compression, see [portableConn.readFrames].
type portable struct {
	server    *Server
	buffers   sync.Pool // *bytes.Buffer, for messages
	corks     sync.Pool // *[]byte, for corked writes
	inflaters sync.Pool // *wsframe.Inflater

	mu    sync.Mutex
	conns map[*portableConn]struct{}
}

func newPortable(s *Server) *portable {
	return &portable{
		server:    s,
		buffers:   sync.Pool{New: func() any { return new(bytes.Buffer) }},
		corks:     sync.Pool{New: func() any { return new([]byte) }},
		inflaters: sync.Pool{New: func() any { return new(wsframe.Inflater) }},
		conns:     map[*portableConn]struct{}{},
	}
}

// portableConn is a connection of the portable engine.
type portableConn struct {
	Conn

	engine *portable
	guest  *guest
	ws     *websocket.Conn
	wake   chan struct{} // for the writer, capacity one
	resume chan struct{} // for a paused reader, capacity one
	ended  chan struct{} // closed by the writer when it has returned

	// turn is held while the handler runs, which is on the reader, but for its
	// end: that must not wait for a reader that waits for the client.
	turn sync.Mutex
}

func (p *portable) adopt(g *guest, ws *websocket.Conn) {
	c := &portableConn{
		engine: p,
		guest:  g,
		ws:     ws,
		wake:   make(chan struct{}, 1),
		resume: make(chan struct{}, 1),
		ended:  make(chan struct{}),
	}
	c.Conn = g.upgrade.conn(c)
	tune(g.Conn, p.server.opts.Limits.SendBuffer)
	within := p.server.begin(&c.Conn)
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	c.turn.Lock()
	h := p.server.handlerFor(&c.Conn, g.upgrade.open, within)
	c.mu.Lock()
	c.handler = h
	c.mu.Unlock()
	c.turn.Unlock()
	go c.write()
	go c.read()
}

// tune bounds what the kernel holds for a client that does not read, if there is
// a kernel below.
func tune(conn net.Conn, sendBuffer int) {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = t.NetConn()
	}
	if t, ok := conn.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = t.SetWriteBuffer(sendBuffer) // the default is larger, no more
	}
}

func (p *portable) each(yield func(*Conn) bool) {
	for _, c := range p.snapshot() {
		if !yield(&c.Conn) {
			return
		}
	}
}

func (p *portable) snapshot() []*portableConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	conns := make([]*portableConn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	return conns
}

func (p *portable) abort() {
	for _, c := range p.snapshot() {
		c.abort()
	}
}

func (p *portable) stop() {}

// flush implements driver.
func (c *portableConn) flush() { signal(c.wake) }

// nudge implements driver.
func (c *portableConn) nudge() {
	signal(c.resume)
	signal(c.wake)
}

// limit implements driver.
func (c *portableConn) limit(d time.Duration) {
	_ = c.guest.SetDeadline(time.Now().Add(d)) // it fails on a closed connection only
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// read delivers messages until the connection ends and then cleans up. It is
// the last to go.
func (c *portableConn) read() {
	defer c.finish()
	if c.deflate {
		c.fail(c.readFrames())
		return
	}
	c.fail(c.readMessages())
}

// readMessages delivers messages by the package's reader.
func (c *portableConn) readMessages() error {
	limits := c.mount.limits()
	c.ws.SetPingHandler(func(data string) error { return c.heard(wsframe.Ping, data) })
	c.ws.SetPongHandler(func(data string) error { return c.heard(wsframe.Pong, data) })
	c.ws.SetCloseHandler(func(code int, _ string) error {
		c.peerClose(closePayload(code))
		return nil
	})
	for c.arm() {
		// The package limits messages, not frames: this holds for the first frame.
		c.ws.SetReadLimit(int64(limits.MaxPayload()))
		op, r, err := c.ws.NextReader()
		if err == nil {
			c.ws.SetReadLimit(int64(limits.Message))
			err = c.message(wsframe.Opcode(op), r) //nolint:gosec // text or binary
		}
		if err != nil {
			return err
		}
		c.waitResume()
	}
	return nil
}

// arm sets the deadline of the next read and reports whether there is one.
// While closing, the deadline of [portableConn.limit] counts.
func (c *portableConn) arm() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.phase {
	case open:
		return c.guest.SetReadDeadline(time.Now().Add(c.mount.Idle)) == nil
	case closing:
		return !c.peerDone
	default:
		return false
	}
}

// heard takes a ping or pong.
func (c *portableConn) heard(op wsframe.Opcode, data string) error {
	c.received(int64(len(data)))
	c.control(wsframe.Message{Op: op, Payload: []byte(data)})
	c.arm()
	return nil
}

// received notes that a frame was.
func (c *portableConn) received(size int64) {
	server := c.mount.server
	c.lastFrame.Store(server.now())
	server.count.framesIn.Add(1)
	server.count.bytesIn.Add(size)
}

// message reads one message to its end and delivers it.
func (c *portableConn) message(op wsframe.Opcode, r io.Reader) error {
	buf, _ := c.engine.buffers.Get().(*bytes.Buffer)
	defer c.engine.buffers.Put(buf)
	buf.Reset()
	limit := int64(c.mount.MessageBytes)
	n, err := buf.ReadFrom(io.LimitReader(r, limit+1))
	if err != nil {
		return err
	}
	c.received(n)
	switch {
	case n > limit:
		return &wsframe.Error{Code: wsframe.CodeTooBig, Reason: "message over the limit"}
	case op == wsframe.Text && !utf8.Valid(buf.Bytes()):
		return &wsframe.Error{Code: wsframe.CodeBadPayload, Reason: "text is not UTF-8"}
	}
	c.hand(wsframe.Message{Op: op, Payload: buf.Bytes()})
	return nil
}

// hand delivers a message, unless the handler knows of the end.
func (c *portableConn) hand(m wsframe.Message) {
	c.turn.Lock()
	defer c.turn.Unlock()
	if !c.told {
		c.deliver(m)
	}
}

// waitResume waits while the handler has paused. The idle timeout goes on.
func (c *portableConn) waitResume() {
	if !c.held() {
		return
	}
	idle := time.NewTimer(c.mount.Idle)
	defer idle.Stop()
	for c.held() {
		select {
		case <-c.resume:
		case <-idle.C:
			c.closeFor(wsframe.CodeProtocol, causeIdle)
		}
	}
}

// held reports whether the reader has to wait, and lets [Conn.Resume] know.
func (c *portableConn) held() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parked = c.paused && c.phase == open
	return c.parked
}

func (c *portableConn) closeFor(code wsframe.Code, why cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == open {
		c.beginClose(code, "", why)
	}
}

// fail ends the connection as err, from the reader, asks for.
func (c *portableConn) fail(err error) {
	var own *wsframe.Error
	var peer *websocket.CloseError
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
	case errors.As(err, &own):
		c.closeFor(own.Code, causeOf(own.Code))
	case errors.Is(err, websocket.ErrReadLimit):
		c.refused(causeTooBig)
	case errors.As(err, &peer) && peer.Code != websocket.CloseAbnormalClosure:
		return // [Conn.peerClose] did it
	case errors.As(err, &timeout) && timeout.Timeout():
		c.closeFor(wsframe.CodeProtocol, causeIdle)
	case strings.HasPrefix(err.Error(), "websocket: ") && peer == nil:
		c.refused(causeProtocol)
	default:
		c.abort()
		return
	}
	c.linger()
}

// refused notes that the package found a violation and has sent the close frame
// for it itself.
func (c *portableConn) refused(why cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == open {
		wait := c.mount.server.opts.Limits.CloseWait
		c.cause, c.deadline = why, c.mount.server.now()+int64(wait)
		c.enter(closing)
		c.limit(wait)
		c.out.discard()
		c.nudge()
	}
}

// linger swallows what the client still sends, so that the close frame is not
// lost to a reset, until it ends the connection or its time is up.
func (c *portableConn) linger() {
	if half, ok := c.guest.Conn.(interface{ CloseWrite() error }); ok {
		<-c.ended
		_ = half.CloseWrite() // best effort
	}
	_, _ = io.Copy(io.Discard, c.guest.Conn) // any error is the end
}

// abort ends the connection without a handshake.
func (c *portableConn) abort() {
	c.mu.Lock()
	c.enter(gone)
	c.mu.Unlock()
	_ = c.guest.Conn.Close() // a second Close fails, harmlessly
	c.nudge()
}

// finish waits for the writer and removes every trace of the connection.
func (c *portableConn) finish() {
	c.mu.Lock()
	if c.phase == open { // no reader, no connection
		c.enter(gone)
	}
	c.mu.Unlock()
	c.nudge()
	<-c.ended
	_ = c.guest.Conn.Close() // it may be closed already
	c.turn.Lock()
	c.tell()
	c.turn.Unlock()
	c.engine.mu.Lock()
	delete(c.engine.conns, c)
	c.engine.mu.Unlock()
	c.mount.server.end(&c.Conn)
}

// closePayload restores the payload that the package has parsed.
func closePayload(code int) []byte {
	if code == websocket.CloseNoStatusReceived {
		return nil
	}
	return []byte{byte(code >> 8), byte(code)} //nolint:gosec // a 16-bit code
}
