package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"
)

// floor is the least a server can do: one epoll loop, one write for each
// message and socket, no limits, no checks, nothing that could fail well. It
// knows of the protocol only what makes the same load run against it.
type floor struct {
	epoll    int
	listener int
	conns    []*floorConn // by descriptor
	topics   map[string]*floorTopic
	coalesce time.Duration // 0 writes each message at once
	flushAt  time.Time     // when what was collected is written; zero if nothing was
	buf      []byte
	frame    []byte
}

type floorConn struct {
	fd    int
	open  bool   // the upgrade is done
	rest  []byte // of an incomplete frame
	out   []byte // what the socket did not take
	topic *floorTopic
}

type floorTopic struct {
	subscribers []*floorConn
	pending     []byte
}

// Floor serves on a free port of the loopback, which it prints, until input
// ends. A coalesce above 0 collects messages for so long.
func Floor(input int, out io.Writer, coalesce time.Duration) error {
	f := &floor{topics: map[string]*floorTopic{}, coalesce: coalesce, buf: make([]byte, 256<<10)}
	port, err := f.listen(input)
	if err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	if _, err := fmt.Fprintf(out, "%s127.0.0.1:%d\n", floorGreeting, port); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	events := make([]syscall.EpollEvent, 1024)
	for {
		n, err := syscall.EpollWait(f.epoll, events, f.timeout())
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("floor: epoll: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			switch fd := int(e.Fd); fd {
			case input:
				return nil
			case f.listener:
				f.accept()
			default:
				f.handle(f.conns[fd], e.Events)
			}
		}
		f.flushDue()
	}
}

func (f *floor) listen(input int) (port int, err error) {
	if f.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return 0, err
	}
	if f.listener, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0); err != nil {
		return 0, err
	}
	if err := syscall.Bind(f.listener, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	if err := syscall.Listen(f.listener, 1024); err != nil {
		return 0, err
	}
	name, err := syscall.Getsockname(f.listener)
	if err != nil {
		return 0, err
	}
	if in, ok := name.(*syscall.SockaddrInet4); ok {
		port = in.Port
	}
	return port, errors.Join(f.watch(f.listener, syscall.EPOLL_CTL_ADD, syscall.EPOLLIN), f.watch(input, syscall.EPOLL_CTL_ADD, syscall.EPOLLIN))
}

func (f *floor) watch(fd, how int, events uint32) error {
	return syscall.EpollCtl(f.epoll, how, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
}

// accept takes every connection that waits.
func (f *floor) accept() {
	for {
		fd, _, err := syscall.Accept4(f.listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) // only latency is at stake
		if missing := fd + 1 - len(f.conns); missing > 0 {
			f.conns = append(f.conns, make([]*floorConn, missing)...)
		}
		f.conns[fd] = &floorConn{fd: fd}
		if f.watch(fd, syscall.EPOLL_CTL_ADD, syscall.EPOLLIN) != nil {
			f.drop(f.conns[fd])
		}
	}
}

func (f *floor) drop(c *floorConn) {
	_ = syscall.Close(c.fd)
	f.conns[c.fd] = nil
	if t := c.topic; t != nil {
		t.subscribers = slices.DeleteFunc(t.subscribers, func(s *floorConn) bool { return s == c })
	}
}

func (f *floor) handle(c *floorConn, events uint32) {
	if c == nil {
		return
	}
	if events&syscall.EPOLLOUT != 0 {
		out := c.out
		c.out = nil
		_ = f.watch(c.fd, syscall.EPOLL_CTL_MOD, syscall.EPOLLIN) // a broken socket says so when read
		f.write(c, out)
	}
	if events&^syscall.EPOLLOUT == 0 {
		return
	}
	n, err := rawRead(c.fd, f.buf[copy(f.buf, c.rest):])
	switch {
	case errors.Is(err, syscall.EAGAIN):
	case err != nil || n == 0 || f.consume(c, f.buf[:len(c.rest)+n]) != nil:
		f.drop(c)
	}
}

func (f *floor) consume(c *floorConn, b []byte) error {
	if !c.open {
		head, rest, complete := bytes.Cut(b, []byte("\r\n\r\n"))
		if !complete {
			c.rest = bytes.Clone(b)
			return nil
		}
		_, key, _ := bytes.Cut(head, []byte("Sec-WebSocket-Key: "))
		key, _, _ = bytes.Cut(key, []byte("\r\n"))
		f.write(c, fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: %s\r\n\r\n", acceptance(string(key))))
		b, c.open, c.rest = rest, true, nil
	}
	for {
		fr, size, err := next(b)
		if err != nil || fr.op == opClose {
			return errors.Join(err, errEnded)
		}
		if size == 0 {
			break
		}
		f.message(c, fr.payload)
		b = b[size:]
	}
	if c.rest = c.rest[:0]; len(b) > 0 {
		c.rest = append(c.rest, b...)
	} else {
		c.rest = nil
	}
	return nil
}

// message fans a push out, or answers what else a client says.
func (f *floor) message(c *floorConn, text []byte) {
	if i := bytes.Index(text, []byte(`,{"p":`)); i > 0 && c.topic != nil {
		parts := bytes.SplitN(text, []byte(`"`), 7) // [ 1 , ref , topic ,
		ref, topic := parts[3], parts[5]
		body := fmt.Appendf(nil, `[null,null,"%s","%s"`, topic, event)
		f.frame = appendServerFrame(f.frame[:0], opText, append(body, text[i:]...))
		f.fanOut(c.topic, f.frame)
		f.write(c, reply("1", string(ref), string(topic)))
		return
	}
	m, err := decode(text)
	if err != nil {
		return
	}
	if m.event == "phx_join" {
		t := f.topics[m.topic]
		if t == nil {
			t = &floorTopic{}
			f.topics[m.topic] = t
		}
		t.subscribers = append(t.subscribers, c)
		c.topic = t
	}
	f.write(c, reply(m.joinRef, m.ref, m.topic))
}

func reply(joinRef, ref, topic string) []byte {
	text := fmt.Appendf(nil, `[%q,%q,%q,"phx_reply",{"status":"ok","response":{}}]`, joinRef, ref, topic)
	return appendServerFrame(nil, opText, text)
}

func (f *floor) fanOut(t *floorTopic, frame []byte) {
	if f.coalesce == 0 {
		for _, s := range t.subscribers {
			f.write(s, frame)
		}
		return
	}
	t.pending = append(t.pending, frame...)
	if f.flushAt.IsZero() {
		f.flushAt = time.Now().Add(f.coalesce)
	}
}

// flushDue writes what was collected, once its time has come.
func (f *floor) flushDue() {
	if f.flushAt.IsZero() || time.Now().Before(f.flushAt) {
		return
	}
	f.flushAt = time.Time{}
	for _, t := range f.topics {
		for _, s := range t.subscribers {
			f.write(s, t.pending)
		}
		t.pending = t.pending[:0]
	}
}

// timeout is how long to wait for events, in milliseconds.
func (f *floor) timeout() int {
	if f.flushAt.IsZero() {
		return -1
	}
	return max(0, int((time.Until(f.flushAt)+time.Millisecond-1)/time.Millisecond))
}

// write sends at once what the socket takes, and the rest when it takes more.
func (f *floor) write(c *floorConn, b []byte) {
	if len(b) == 0 {
		return
	}
	if len(c.out) > 0 {
		c.out = append(c.out, b...)
		return
	}
	n, err := rawWrite(c.fd, b)
	if errors.Is(err, syscall.EAGAIN) || err == nil && n < len(b) {
		c.out = append(c.out, b[n:]...)
		_ = f.watch(c.fd, syscall.EPOLL_CTL_MOD, syscall.EPOLLIN|syscall.EPOLLOUT) // a broken socket says so when read
	}
}
