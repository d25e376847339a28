package socket

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/fasthttp/websocket"
	"golang.org/x/sys/unix"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// native is the epoll engine: loops read, flushers write. A connection belongs
// to one loop and one flusher for life.
type native struct {
	server   *Server
	loops    []*loop
	flushers []*flusher
	running  sync.WaitGroup
}

// nativeConn is a connection of the epoll engine. This and its entry in the
// loop's table are all that an idle one costs.
type nativeConn struct {
	Conn

	// Static after construction.
	loop    *loop
	flusher *flusher
	fd      int32

	// Owned by the loop.
	decoder wsframe.Decoder
	held    []byte // received but not parsed, because of a pause or of the handshake
	deaf    bool   // what else the client sends is not parsed
	hangup  bool   // the client's end is among what is to be read

	// Guarded by Conn.mu.
	ready   bool // the handler is there
	writing bool // the flusher uses fd without the lock: only it may close fd
	blocked bool // the kernel's buffer is full; the loop hears when it is not
	edge    bool // it was heard while writing
	broken  bool // writing failed, or the server gave up
	half    bool // shut the writing side when all is written
}

func newNative(s *Server) (*native, error) {
	n := &native{server: s}
	for range s.opts.Loops {
		l, err := newLoop(s)
		if err != nil {
			for _, l := range n.loops {
				l.release()
			}
			return nil, err
		}
		n.loops = append(n.loops, l)
		n.flushers = append(n.flushers, newFlusher(s))
	}
	for i := range n.loops {
		n.running.Go(n.loops[i].run)
		n.running.Go(n.flushers[i].run)
	}
	return n, nil
}

// adopt takes the connection out of the package and of Go's poller. It works on
// a duplicate of the descriptor, so that closing the original frees everything
// the runtime holds for it.
func (n *native) adopt(g *guest, ws *websocket.Conn) error {
	early := drainEarly(ws.NetConn())
	fd, err := detach(g.Conn)
	if err != nil {
		return err
	}
	up := g.upgrade
	if err := n.tune(fd, up.mount.Idle); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	i := int(up.request.Connection % uint64(len(n.loops))) //nolint:gosec // a remainder
	c := &nativeConn{
		loop:    n.loops[i],
		flusher: n.flushers[i],
		fd:      int32(fd), //nolint:gosec // a descriptor
		held:    early,
	}
	c.Conn = up.conn(c)
	within := n.server.begin(&c.Conn)
	c.loop.table.add(c)
	c.open(n.server.handlerFor(&c.Conn, up.open, within))
	return nil
}

// open lets the loop see the connection. Its first event comes at once, because
// there is room to write; it finds also what arrived before. The lock keeps the
// loop from ending the connection before its descriptor is registered.
func (c *nativeConn) open(h Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handler, c.ready = h, true
	c.parked = len(c.held) > 0 // the event must not overtake what was received early
	if err := c.loop.control(int(c.fd), interest); err != nil {
		c.mount.server.opts.Log.Warn("a socket was lost at its start", "error", err)
		c.broken = true
	}
	if c.parked || c.broken || c.phase != open {
		c.nudge()
	}
}

// drainEarly returns what the client sent right behind its handshake and the
// HTTP server has read already.
func drainEarly(conn net.Conn) []byte {
	if conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		return nil
	}
	var early []byte
	var buf [512]byte
	for {
		n, err := conn.Read(buf[:])
		early = append(early, buf[:n]...)
		if err != nil { // the deadline: only buffered bytes come before it
			return early
		}
	}
}

// detach returns a descriptor of the connection that Go's runtime does not
// know, and closes the connection.
func detach(conn net.Conn) (int, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return 0, fmt.Errorf("detach %T: not TCP", conn)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("detach: %w", err)
	}
	fd, dup := -1, error(nil)
	err = raw.Control(func(old uintptr) {
		fd, dup = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, os.NewSyscallError("dup", dup)); err != nil {
		return 0, err
	}
	if err := tcp.Close(); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// tune bounds what the kernel holds for a client that does not read (setting
// the buffer turns its growth to megabytes off) and for how long. It also ends
// Go's keepalive probes every 15 s: the idle timeout does their work for free.
func (n *native) tune(fd int, idle time.Duration) error {
	return errors.Join(
		os.NewSyscallError("set SO_SNDBUF",
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, n.server.opts.Limits.SendBuffer)),
		os.NewSyscallError("set SO_KEEPALIVE",
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0)),
		os.NewSyscallError("set TCP_USER_TIMEOUT",
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(idle.Milliseconds()))),
	)
}

func (n *native) each(yield func(*Conn) bool) {
	for _, l := range n.loops {
		for _, c := range l.table.all() {
			if !yield(&c.Conn) {
				return
			}
		}
	}
}

func (n *native) abort() {
	for _, l := range n.loops {
		for _, c := range l.table.all() {
			c.mu.Lock()
			c.broken = true
			c.mu.Unlock()
			c.nudge()
		}
	}
}

func (n *native) stop() {
	for _, l := range n.loops {
		l.stop()
	}
	for _, f := range n.flushers {
		close(f.done)
	}
	n.running.Wait()
}

// flush implements driver.
func (c *nativeConn) flush() { c.flusher.mark(c) }

// nudge implements driver.
func (c *nativeConn) nudge() { c.loop.post(c) }

// limit implements driver. Nothing here blocks; the scan looks at the deadline.
func (c *nativeConn) limit(time.Duration) {}

// settled reports, with mu held, that both sides are done with a connection.
func (c *nativeConn) settled() bool {
	return c.phase == closing && c.peerDone && len(c.out.frames) == 0 && !c.writing
}
