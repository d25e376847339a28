package socket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

const (
	readBuffer = 64 << 10 // of a loop, shared by all of its connections
	maxEvents  = 256      // per system call
)

// interest is edge-triggered: neither a pause nor a full buffer needs a system
// call to change what is waited for. EPOLLOUT costs nothing as long as no write
// failed, since the kernel signals room only to those who ran out of it.
const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// loop waits for many sockets and reads from them.
type loop struct {
	// Static after construction.
	server *Server
	epfd   int
	wakefd int

	stopping atomic.Bool
	asleep   atomic.Bool // in, or about to enter, the wait

	table table

	// inbox guards posts.
	inbox sync.Mutex
	posts []*nativeConn

	// Owned by run.
	now   int64
	buf   []byte
	again []*nativeConn // have more to read than one buffer
	spare []*nativeConn

	inflater wsframe.Inflater // of all connections

	attended []*nativeConn // the array to swap with posts
	frames   int64         // received since they were last counted
	bytes    int64         // likewise
}

func newLoop(s *Server) (*loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("eventfd", err), unix.Close(epfd))
	}
	l := &loop{server: s, epfd: epfd, wakefd: wakefd, buf: make([]byte, readBuffer)}
	if err := l.control(wakefd, unix.EPOLLIN); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

func (l *loop) control(fd int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(fd)} //nolint:gosec // a descriptor
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &event))
}

func (l *loop) release() {
	_ = unix.Close(l.epfd)   // nothing can be done about an error
	_ = unix.Close(l.wakefd) // likewise
}

func (l *loop) stop() {
	l.stopping.Store(true)
	l.wake()
}

// wake interrupts the wait, if there is one.
func (l *loop) wake() {
	if l.asleep.Swap(false) {
		one := binary.NativeEndian.AppendUint64(nil, 1)
		_, _ = unix.Write(l.wakefd, one) // can only fail if it is awake already
	}
}

// post makes the loop look at a connection's state soon.
func (l *loop) post(c *nativeConn) {
	l.inbox.Lock()
	l.posts = append(l.posts, c)
	l.inbox.Unlock()
	l.wake()
}

func (l *loop) run() {
	defer l.release()
	events := make([]unix.EpollEvent, maxEvents)
	conns := make([]*nativeConn, maxEvents)
	every := l.scanInterval()
	nextScan := l.server.now() + int64(every)
	for !l.stopping.Load() {
		n := l.wait(events, time.Duration(nextScan-l.server.now()))
		l.now = l.server.now()
		if l.table.resolve(events[:n], conns, l.wakefd) {
			var drained [8]byte
			_, _ = unix.Read(l.wakefd, drained[:]) // it does not block
		}
		for i, c := range conns[:n] {
			if c != nil {
				l.event(c, events[i].Events)
			}
		}
		clear(conns[:n])
		l.readAgain()
		l.attendPosts()
		if l.now >= nextScan {
			l.scan()
			nextScan = l.now + int64(every)
		}
		if l.bytes > 0 {
			l.server.count.framesIn.Add(l.frames)
			l.server.count.bytesIn.Add(l.bytes)
			l.frames, l.bytes = 0, 0
		}
	}
}

// scanInterval is how exact the timeouts are.
func (l *loop) scanInterval() time.Duration {
	shortest := l.server.opts.Limits.CloseWait
	for _, m := range l.server.mounts {
		shortest = min(shortest, m.Idle)
	}
	return min(max(shortest/8, 5*time.Millisecond), time.Second)
}

// wait waits for events, posts or the end of the timeout.
func (l *loop) wait(events []unix.EpollEvent, timeout time.Duration) int {
	// What the handlers made runnable runs first: a thread that sleeps in a
	// system call may keep its processor, and so their queue, for a while.
	runtime.Gosched()
	l.asleep.Store(true)
	defer l.asleep.Store(false)
	l.inbox.Lock()
	idle := len(l.posts) == 0 && len(l.again) == 0 && !l.stopping.Load()
	l.inbox.Unlock()
	millis := 0
	if idle {
		millis = int(max(0, (timeout + time.Millisecond - 1).Milliseconds()))
	}
	n, err := unix.EpollWait(l.epfd, events, millis)
	if err != nil { // interrupted by a signal
		return 0
	}
	return n
}

// event handles what epoll says about a connection.
func (l *loop) event(c *nativeConn, mask uint32) {
	const ends = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	c.mu.Lock()
	room := false
	if mask&(unix.EPOLLOUT|ends) != 0 {
		room, c.blocked = c.blocked, false
		c.edge = c.edge || c.writing
	}
	readable := c.ready && !c.parked && c.phase != gone
	c.mu.Unlock()
	if room {
		c.flusher.mark(c)
	}
	c.hangup = c.hangup || mask&ends != 0
	if readable && mask&(unix.EPOLLIN|ends) != 0 {
		l.read(c)
	}
}

func (l *loop) readAgain() {
	if len(l.again) == 0 {
		return
	}
	list := l.again
	l.again, l.spare = l.spare[:0], nil
	for _, c := range list {
		c.mu.Lock()
		readable := !c.parked && c.phase != gone
		c.mu.Unlock()
		if readable {
			l.read(c)
		}
	}
	clear(list)
	l.spare = list
}

// read takes one buffer of what a client sent. If it was full there may be
// more, which waits until the others had their turn.
func (l *loop) read(c *nativeConn) {
	for {
		n, err := unix.Read(int(c.fd), l.buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil:
			l.finish(c)
			return
		case n == 0:
			l.end(c)
			return
		}
		l.bytes += int64(n)
		if !l.input(c, l.buf[:n], false) {
			return
		}
		if n == len(l.buf) {
			l.again = append(l.again, c)
			return
		}
		if !c.hangup { // drained: the next byte makes an event
			return
		}
	}
}

// input parses and delivers bytes and reports whether to go on reading. owned
// says that data may be kept.
func (l *loop) input(c *nativeConn, data []byte, owned bool) bool {
	limits := c.mount.limits()
	var inflater *wsframe.Inflater
	if c.deflate {
		inflater = &l.inflater
	}
	for !c.deaf {
		m, rest, ok, err := c.decoder.Next(data, limits, inflater)
		if err != nil {
			l.refuse(c, err)
			return true
		}
		if !ok {
			return true
		}
		c.lastFrame.Store(l.now)
		l.frames++
		data = rest
		switch {
		case m.Op == wsframe.Close:
			c.deaf = true
			c.peerClose(m.Payload)
			l.attend(c)
			return false // attend has read on
		case m.Op.IsControl():
			c.control(m)
		case m.Op == wsframe.Continuation || c.told:
		case !c.deliver(m):
			if !owned {
				rest = bytes.Clone(rest)
			}
			c.held = rest
			return false
		}
	}
	return true
}

// refuse closes a connection whose client broke the protocol. What it sends on
// is swallowed: closing at once would reset the connection, and the client
// could lose the close frame.
func (l *loop) refuse(c *nativeConn, err error) {
	c.deaf = true
	code := wsframe.CodeProtocol
	if e, ok := errors.AsType[*wsframe.Error](err); ok {
		code = e.Code
	}
	c.mu.Lock()
	c.half = true
	if c.phase == open {
		c.beginClose(code, "", causeOf(code))
	}
	c.mu.Unlock()
	c.tell()
}

// end handles the end of what the client sends. If a close frame is still on
// its way out, it gets there first.
func (l *loop) end(c *nativeConn) {
	c.mu.Lock()
	c.peerDone = true
	wait := c.phase == closing && !c.settled() && !c.broken
	c.mu.Unlock()
	if !wait {
		l.finish(c)
	}
}

func (l *loop) attendPosts() {
	l.inbox.Lock()
	list := l.posts
	l.posts = l.attended
	l.inbox.Unlock()
	for _, c := range list {
		l.attend(c)
	}
	clear(list)
	l.attended = list[:0]
}

// attend acts on a state that another goroutine, or the handler, has changed.
func (l *loop) attend(c *nativeConn) {
	c.mu.Lock()
	if !c.ready || c.phase == gone {
		c.mu.Unlock()
		return
	}
	over := c.phase == closing
	c.parked = c.parked && c.paused && !over
	parked, finished := c.parked, c.broken || c.settled()
	c.mu.Unlock()
	if over {
		c.tell()
	}
	if finished {
		l.finish(c)
		return
	}
	if parked {
		return
	}
	held := c.held
	c.held = nil
	if len(held) > 0 && !l.input(c, held, true) {
		return
	}
	l.read(c) // what came meanwhile made its event in vain
}

// finish tears a connection down. Only the loop closes descriptors, so that it
// never reads from one that has become another connection's; and if the flusher
// is writing, it closes it instead.
func (l *loop) finish(c *nativeConn) {
	c.mu.Lock()
	if c.phase == gone {
		c.mu.Unlock()
		return
	}
	if c.phase == closing && !c.peerDone {
		// It did not answer: let the kernel forget what it did not read.
		_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	c.enter(gone)
	c.out = outbox{}
	writing := c.writing
	c.mu.Unlock()
	l.table.remove(c)
	if !writing {
		_ = unix.Close(int(c.fd)) // it is gone, whatever close says
	}
	c.held, c.decoder = nil, wsframe.Decoder{}
	c.tell()
	l.server.end(&c.Conn)
}

// scan ends what took too long and frees what idle connections hold.
func (l *loop) scan() {
	for from, more := 0, true; more; from += scanChunk {
		l.spare, more = l.table.chunk(l.spare[:0], from)
		for _, c := range l.spare {
			c.mu.Lock()
			c.out.trim()
			late := c.ready && c.phase == closing && l.now > c.deadline
			if c.phase == open && c.ready && l.now-c.lastFrame.Load() > int64(c.mount.Idle) {
				c.half = true // there is nothing to wait for from one that is silent
				c.beginClose(wsframe.CodeProtocol, "", causeIdle)
			}
			c.mu.Unlock()
			if late {
				l.finish(c)
			}
		}
		clear(l.spare)
	}
}
