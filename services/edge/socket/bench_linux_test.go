package socket_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/socket"
)

// The clients of a benchmark are another process, so that what this one spends
// is the server's alone. The test binary is run again with this variable set to
// "address number-of-connections first-bytes".
const clientsEnv = "SKEIN_SOCKET_BENCH_CLIENTS"

// runClients connects, says so, and then swallows whatever comes until its
// standard input ends.
func runClients(spec string) error {
	part := strings.SplitN(spec, " ", 3)
	n, err := strconv.Atoi(part[1])
	if err != nil {
		return err
	}
	epfd, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	for range n {
		fd, err := connect(part[0], part[2])
		if err != nil {
			return err
		}
		if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	_, _ = os.Stdout.WriteString("ready\n")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return swallow(epfd)
}

// connect returns a descriptor of its own of a connection that has sent its
// first bytes and read a whole HTTP answer, if it sent any.
func connect(addr, first string) (int, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if first != "" {
		if _, err := io.WriteString(conn, first); err != nil {
			return 0, err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return 0, err
		}
		_ = resp.Body.Close()
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	fd := 0
	ctlErr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, ctlErr)
}

func swallow(epfd int) error {
	buf := make([]byte, 256<<10)
	events := make([]unix.EpollEvent, 512)
	for {
		n, err := unix.EpollWait(epfd, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range events[:max(0, n)] {
			if n, _ := unix.Read(int(e.Fd), buf); n <= 0 {
				_ = unix.Close(int(e.Fd))
			}
		}
	}
}

// clients starts a process with n connections and waits until all are there.
func clients(b *testing.B, addr string, n int, first string) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s", clientsEnv, addr, n, first))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatal(err)
	}
}

func listen(b *testing.B) net.Listener {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	return ln
}

// hold runs a server with n sockets and returns it and them.
func hold(b *testing.B, n int, opts socket.Options) (*socket.Server, []*socket.Conn) {
	b.Helper()
	return holdBy(b, n, opts, hello)
}

func holdBy(b *testing.B, n int, opts socket.Options, hello string) (*socket.Server, []*socket.Conn) {
	b.Helper()
	var mu sync.Mutex
	var conns []*socket.Conn
	opts.Listener = listen(b)
	opts.Limits.OutboxBytes = 64 << 20
	opts.Mounts = at(func(c *socket.Conn) socket.Handler {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
		return idle{}
	})
	s := socket.New(opts)
	abort := make(chan struct{})
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		close(abort)
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	clients(b, opts.Listener.Addr().String(), n, hello)
	for {
		mu.Lock()
		all := len(conns) == n
		mu.Unlock()
		if all {
			return s, conns
		}
		runtime.Gosched()
	}
}

type idle struct{}

func (idle) Message(wsframe.Opcode, []byte) {}
func (idle) Closed()                        {}

// cpu is what this process has used so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// payload is 200 bytes, as in the other comparisons.
var payload = []byte(strings.Repeat("p", 200))

// fanOut sends one message per operation to every socket, at 50 messages per
// second, or as fast as the sockets take them, and reports the processor time
// of one delivery.
func fanOut(b *testing.B, n int, paced bool, send func(), sent func() int64) {
	b.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	before, base := cpu(b), sent()
	total := int64(0)
	for b.Loop() {
		if paced {
			<-tick.C
		}
		send()
		for total += int64(n); total-(sent()-base) > int64(64*n); {
			runtime.Gosched()
		}
	}
	for sent()-base < total {
		runtime.Gosched()
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(total)/1e3, "cpu-us/delivery")
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "deliveries/s")
}

// Run with -benchtime=250x: an operation is one message to all sockets.
func BenchmarkFanOut(b *testing.B) {
	f := wsframe.New(wsframe.Text, payload)
	for _, n := range []int{1000, 5000} {
		for _, paced := range []bool{true, false} {
			name := fmt.Sprintf("sockets=%d/paced=%t/", n, paced)
			b.Run(name+"floor", func(b *testing.B) { floor(b, n, paced, f.Wire()) })
			for _, e := range modes() {
				b.Run(name+e.name, func(b *testing.B) {
					s, conns := hold(b, n, socket.Options{Engine: e.engine, Writer: e.writer})
					fanOut(b, n, paced, func() {
						f := wsframe.New(wsframe.Text, payload) // one encoding per message
						for _, c := range conns {
							c.Send(f)
						}
					}, func() int64 { return int64(s.Stats().FramesOut) })
					st := s.Stats()
					b.ReportMetric(float64(st.FramesOut)/float64(st.WriteCalls), "frames/write")
				})
			}
		}
	}
}

// What compression costs if a broadcast is compressed once for all, as the hub
// does it, and if each connection did it for itself, as the package would. Run
// with -benchtime=250x.
func BenchmarkFanOutDeflated(b *testing.B) {
	const n = 1000
	chat := []byte(strings.Repeat(`{"id":12345,"user":"user-1","body":"a message"},`, 21)) // 1 KB
	for name, encode := range map[string]func(wsframe.Frame) (shared wsframe.Frame, each func() wsframe.Frame){
		"plain": func(f wsframe.Frame) (wsframe.Frame, func() wsframe.Frame) { return f, nil },
		"once":  func(f wsframe.Frame) (wsframe.Frame, func() wsframe.Frame) { return wsframe.Deflate(f), nil },
		"each": func(f wsframe.Frame) (wsframe.Frame, func() wsframe.Frame) {
			return f, func() wsframe.Frame { return wsframe.Deflate(f) }
		},
	} {
		b.Run(name, func(b *testing.B) {
			s, conns := holdBy(b, n, socket.Options{Writer: socket.WriteCalls}, deflating)
			fanOut(b, n, true, func() {
				f, each := encode(wsframe.New(wsframe.Text, chat))
				for _, c := range conns {
					if each != nil {
						f = each()
					}
					c.Send(f)
				}
			}, func() int64 { return int64(s.Stats().FramesOut) })
			st := s.Stats()
			b.ReportMetric(float64(st.BytesOut)/float64(st.FramesOut), "B/delivery")
		})
	}
}

// floor is one goroutine that does nothing but write(2).
func floor(b *testing.B, n int, paced bool, wire []byte) {
	b.Helper()
	ln := listen(b)
	defer func() { _ = ln.Close() }()
	fds := make(chan int, n)
	go func() {
		for range n {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			raw, _ := conn.(*net.TCPConn).SyscallConn()
			_ = raw.Control(func(old uintptr) {
				fd, _ := unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
				fds <- fd
			})
			_ = conn.Close()
		}
	}()
	clients(b, ln.Addr().String(), n, "")
	all := make([]int, n)
	for i := range all {
		all[i] = <-fds
	}
	written := int64(0)
	fanOut(b, n, paced, func() {
		for _, fd := range all {
			for {
				if _, err := unix.Write(fd, wire); err == nil {
					break
				}
				runtime.Gosched()
			}
			written++
		}
	}, func() int64 { return written })
	for _, fd := range all {
		_ = unix.Close(fd)
	}
}

// Run with -benchtime=1x.
func BenchmarkIdleSocket(b *testing.B) {
	for _, e := range modes() {
		b.Run(e.name+"/plain", func(b *testing.B) { idleSockets(b, e, hello) })
		b.Run(e.name+"/deflating", func(b *testing.B) { idleSockets(b, e, deflating) })
	}
}

func idleSockets(b *testing.B, e mode, hello string) {
	b.Helper()
	const n = 10000
	for b.Loop() {
		before, rss, spent := heap(), resident(b), cpu(b)
		s, conns := holdBy(b, n, socket.Options{Engine: e.engine, Writer: e.writer}, hello)
		spent = cpu(b) - spent
		after := heap()
		b.ReportMetric(float64(spent.Microseconds())/n, "cpu-us/connect")
		b.ReportMetric(float64(after-before)/n, "heap-B/socket")
		b.ReportMetric(float64(resident(b)-rss)/n, "rss-B/socket")
		runtime.KeepAlive(s)
		runtime.KeepAlive(conns)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the second empties the pools
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// resident is the process's memory in bytes.
func resident(b *testing.B) int64 {
	b.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
