package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// loop drives the sockets of a run. All its methods belong to one goroutine;
// others may only call [conn.write].
type loop struct {
	epoll  int
	conns  []*conn
	events []syscall.EpollEvent
	buf    []byte
	began  time.Time
	beats  int           // position of the heartbeat's walk over conns
	beaten time.Time     // when it went on last
	now    time.Duration // of the latest read, since began
	frames int           // received in all
	bytes  int           // of these, with their headers

	// Called for each event of a socket.
	onOpen    func(*conn)
	onMessage func(*conn, frame) error
	onClosed  func(*conn, error)
}

// readSize is the least room for one read.
const readSize = 64 << 10

// heartbeatEvery is the beat of phoenix.js.
const heartbeatEvery = 30 * time.Second

func newLoop(began time.Time) (*loop, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &loop{
		epoll: fd, events: make([]syscall.EpollEvent, 1024), buf: make([]byte, 256<<10), began: began, beaten: began,
	}, nil
}

// close drops all sockets without a word.
func (l *loop) close() {
	for _, c := range l.conns {
		c.drop()
	}
	_ = syscall.Close(l.epoll)
}

// resolve turns "host:port" into an address once, not for each socket.
func resolve(ctx context.Context, address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("edge %s: %w", address, err)
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("edge %s: %w", address, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("edge %s: %w", address, err)
	}
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(number)), nil
}

// dial begins to connect c to an address.
func (l *loop) dial(c *conn, to netip.AddrPort) error {
	family := syscall.AF_INET
	var sockaddr syscall.Sockaddr = &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().Unmap().As4()}
	if to.Addr().Is6() {
		family = syscall.AF_INET6
		sockaddr = &syscall.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) // only latency is at stake
	c.fd, c.index, c.state, c.began = fd, len(l.conns), connecting, time.Now()
	l.conns = append(l.conns, c)
	if err := syscall.Connect(fd, sockaddr); err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		c.drop()
		return fmt.Errorf("connect to %s: %w", to, err)
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLOUT, Fd: int32(c.index)}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
		c.drop()
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// poll waits for events, at most for the given time, and handles them.
func (l *loop) poll(wait time.Duration) error {
	l.beat()
	n, err := syscall.EpollWait(l.epoll, l.events, int(wait.Milliseconds()))
	if err != nil && !errors.Is(err, syscall.EINTR) {
		return fmt.Errorf("epoll: %w", err)
	}
	for i := range max(n, 0) {
		c := l.conns[l.events[i].Fd]
		if c.state == dropped {
			continue
		}
		if err := l.handle(c); err != nil {
			c.drop()
			l.onClosed(c, err)
		}
	}
	return nil
}

func (l *loop) handle(c *conn) error {
	if c.state == connecting {
		if code, err := syscall.GetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_ERROR); err != nil || code != 0 {
			return fmt.Errorf("connect: %w", errors.Join(err, errno(code)))
		}
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(c.index)}
		if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_MOD, c.fd, &event); err != nil {
			return fmt.Errorf("epoll: %w", err)
		}
		c.state = shaking
		return c.write(c.request())
	}
	if need := len(c.rest) + readSize; need > len(l.buf) {
		l.buf = make([]byte, 2*need)
	}
	n, err := rawRead(c.fd, l.buf[copy(l.buf, c.rest):])
	if err != nil {
		if errors.Is(err, syscall.EAGAIN) {
			return nil
		}
		return fmt.Errorf("read: %w", err)
	}
	if n == 0 {
		return errEnded
	}
	l.now = time.Since(l.began)
	return l.consume(c, l.buf[:len(c.rest)+n])
}

// consume handles all complete frames of b and keeps the rest.
func (l *loop) consume(c *conn, b []byte) error {
	if c.state == shaking {
		n, err := c.response(b)
		if n == 0 || err != nil {
			return c.keep(b, err)
		}
		b, c.state, c.opened = b[n:], open, true
		l.onOpen(c)
	}
	for {
		f, size, err := next(b)
		if size == 0 || err != nil {
			return c.keep(b, err)
		}
		b = b[size:]
		l.frames++
		l.bytes += size
		switch f.op {
		case opText, opBinary:
			err = l.onMessage(c, f)
		case opPing:
			err = c.write(appendFrame(nil, opPong, f.payload))
		case opClose:
			err = closed(f.payload)
		}
		if err != nil {
			return err
		}
	}
}

// beat sends the heartbeats that are due: a walk over all sockets takes
// [heartbeatEvery], so they are spread evenly.
func (l *loop) beat() {
	now := time.Now()
	due := int(float64(len(l.conns)) * now.Sub(l.beaten).Seconds() / heartbeatEvery.Seconds())
	if due == 0 {
		return
	}
	l.beaten = now
	for range due {
		l.beats = (l.beats + 1) % len(l.conns)
		if c := l.conns[l.beats]; c.state == open {
			_ = c.write(appendFrame(nil, opText, []byte(`[null,"hb","phoenix","heartbeat",{}]`))) // a broken socket says so when read
		}
	}
}

func errno(code int) error {
	if code == 0 {
		return nil
	}
	return syscall.Errno(code)
}

// rawRead reads without telling the scheduler: a descriptor that does not block
// needs no other thread to take over.
func rawRead(fd int, b []byte) (int, error) {
	return rawIO(syscall.SYS_READ, fd, b)
}

func rawWrite(fd int, b []byte) (int, error) {
	return rawIO(syscall.SYS_WRITE, fd, b)
}
