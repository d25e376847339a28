package socket_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/handshake"
	"github.com/skein-mesh/skein/services/edge/socket"
)

func TestCheckPath(t *testing.T) {
	for path, good := range map[string]bool{
		"/socket":          true,
		"/api/v1.0/socket": true,
		"/ws/:user_id":     true,
		"/:tenant/ws/:id":  true,
		"/So_cket~-":       true,
		"":                 false,
		"/":                false,
		"socket":           false,
		"/socket/":         false,
		"//socket":         false,
		"/socket?":         false,
		"/socket*":         false,
		"/a b":             false,
		"/ws/:":            false,
		"/ws/:user-id":     false,
		"/ws/:User":        false,
		"/ws/:a/:a":        false,
		"/ws/:a?":          false,
		"/ws/x:a":          false,
		"/ü":               false,
	} {
		if err := socket.CheckPath(path); (err == nil) != good {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// Each mount has its own limits; all drain together.
func TestMountsHaveTheirOwnLimits(t *testing.T) {
	onEngines(t, func(t *testing.T, e mode) {
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Mounts: []socket.Mount{
			{Path: "/socket", Admit: admit(echoes), FrameBytes: 1024},
			{Path: "/hasty", Admit: admit(echoes), Idle: 50 * time.Millisecond},
		}})
		other := strings.Replace(hello, "/socket/", "/hasty/", 1)
		small, large, hasty := dial(t, s), dialBy(t, s, other), dialBy(t, s, other)
		large.text(strings.Repeat("x", 5000))
		large.expect(strings.Repeat("x", 5000))
		hasty.expect("close 1002", "end")
		small.text(strings.Repeat("x", 5000))
		small.expect("close 1009", "end")
		quiet := dial(t, s)
		quiet.text("a")
		quiet.expect("a")
		s.stop()
		quiet.expect("close 1012")
	})
}

// named is a handler that can be found again.
type named struct {
	echo

	name string
}

// Whoever walks the sockets finds the handler of each.
func TestHandler(t *testing.T) {
	onEngines(t, func(t *testing.T, e mode) {
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Mounts: []socket.Mount{{
			Path: "/socket",
			Admit: func(_ context.Context, r *handshake.Request) (func(*socket.Conn) socket.Handler, handshake.Refusal) {
				return func(c *socket.Conn) socket.Handler {
					if c.Handler() != nil {
						t.Error("there is a handler before there is one")
					}
					return &named{echo{conn: c}, r.Params.Get("name")}
				}, handshake.Refusal{}
			},
		}}})
		clients := map[string]*client{}
		for _, name := range []string{"alice", "bob"} {
			clients[name] = dialBy(t, s, strings.Replace(hello, "vsn=", "name="+name+"&vsn=", 1))
			clients[name].text("a")
			clients[name].expect("a")
		}
		for c := range s.All() {
			if h, ok := c.Handler().(*named); ok && h.name == "bob" {
				c.Close(wsframe.CodeGoingAway, "")
			}
		}
		clients["bob"].expect("close 1001")
		clients["alice"].text("still here")
		clients["alice"].expect("still here")
	})
}

// askIn sends a request over an in-memory connection and returns the status of
// the answer and when it came, in virtual time.
func askIn(t *testing.T, ln *fasthttputil.InmemoryListener, request string) (status string, after time.Duration) {
	t.Helper()
	begin := time.Now()
	conn, err := ln.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, request); err != nil {
		return "", time.Since(begin)
	}
	answer := make([]byte, 12)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return "", time.Since(begin)
	}
	return string(answer[9:]), time.Since(begin)
}

// inMemory runs a server in virtual time.
func inMemory(t *testing.T, opts socket.Options, test func(t *testing.T, ln *fasthttputil.InmemoryListener, s *server)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		ln := fasthttputil.NewInmemoryListener()
		opts.Listener = ln
		ctx, stop := context.WithCancel(t.Context())
		s := &server{Server: socket.New(opts), t: t, stop: stop, done: make(chan error, 1)}
		go func() { s.done <- s.Run(ctx) }()
		test(t, ln, s)
		s.end()
	})
}

func refuseAfter(wait time.Duration) []socket.Mount {
	return []socket.Mount{{
		Path: "/socket",
		Admit: func(context.Context, *handshake.Request) (func(*socket.Conn) socket.Handler, handshake.Refusal) {
			return nil, handshake.Refusal{Status: http.StatusForbidden, After: wait}
		},
	}}
}

func TestRefusalIsDelayed(t *testing.T) {
	inMemory(t, socket.Options{Mounts: refuseAfter(time.Second)}, func(t *testing.T, ln *fasthttputil.InmemoryListener, s *server) {
		if status, after := askIn(t, ln, hello); status != "403" || after != time.Second {
			t.Errorf("got %s after %s", status, after)
		}
		if n := s.Stats().Refused; n != 1 {
			t.Errorf("%d refused", n)
		}
	})
}

// A flood of refused requests does not make the server wait for all of them.
func TestDelayedRefusalsAreBounded(t *testing.T) {
	inMemory(t, socket.Options{Mounts: refuseAfter(time.Second)}, func(t *testing.T, ln *fasthttputil.InmemoryListener, _ *server) {
		const flood, bound = 1100, 1024
		waits := make(chan time.Duration, flood)
		for range flood {
			go func() {
				_, after := askIn(t, ln, hello)
				waits <- after
			}()
		}
		late := 0
		for range flood {
			if <-waits == time.Second {
				late++
			}
		}
		if late != bound {
			t.Errorf("%d waited", late)
		}
		if _, after := askIn(t, ln, hello); after != time.Second {
			t.Errorf("after the flood a refusal came after %s", after)
		}
	})
}

// A drain cuts the delay of a refusal short, and the client still gets it.
func TestDrainAnswersDelayedRefusals(t *testing.T) {
	inMemory(t, socket.Options{Mounts: refuseAfter(time.Hour)}, func(t *testing.T, ln *fasthttputil.InmemoryListener, s *server) {
		time.AfterFunc(3*time.Second, s.stop)
		if status, after := askIn(t, ln, hello); status != "403" || after != 3*time.Second {
			t.Errorf("got %q after %s", status, after)
		}
	})
}

// Admit may block: until the server drains, or for the time of a handshake.
func TestAdmitBlocks(t *testing.T) {
	opts := socket.Options{Mounts: []socket.Mount{{
		Path: "/socket",
		Admit: func(ctx context.Context, _ *handshake.Request) (func(*socket.Conn) socket.Handler, handshake.Refusal) {
			<-ctx.Done()
			return nil, handshake.Refusal{Status: http.StatusServiceUnavailable}
		},
	}}}
	inMemory(t, opts, func(t *testing.T, ln *fasthttputil.InmemoryListener, s *server) {
		if status, after := askIn(t, ln, hello); status != "503" || after != 10*time.Second {
			t.Errorf("got %q after %s", status, after)
		}
		time.AfterFunc(time.Second, s.stop)
		if status, after := askIn(t, ln, hello); status != "503" || after != time.Second {
			t.Errorf("got %q after %s", status, after)
		}
	})
}

// A request under way is answered during a drain; an idle connection is closed.
func TestDrainAnswersRequests(t *testing.T) {
	opts := socket.Options{
		Mounts: at(echoes),
		Fallback: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				time.Sleep(4 * time.Second) // virtual time
			}
			_, _ = fmt.Fprint(w, "done")
		}),
	}
	inMemory(t, opts, func(t *testing.T, ln *fasthttputil.InmemoryListener, s *server) {
		idle, err := ln.Dial()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = idle.Close() }()
		if _, err := io.WriteString(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		ended := make(chan time.Duration, 1)
		begin := time.Now()
		go func() {
			_, _ = io.Copy(io.Discard, idle)
			ended <- time.Since(begin)
		}()
		time.AfterFunc(time.Second, s.stop)
		status, after := askIn(t, ln, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
		if status != "200" || after != 4*time.Second {
			t.Errorf("got %q after %s", status, after)
		}
		if d := <-ended; d != time.Second {
			t.Errorf("the idle connection ended after %s", d)
		}
	})
}

// Bytes that are no frame yet do not keep a socket alive, compressed or not.
func TestDrippingIsIdle(t *testing.T) {
	for _, hello := range []string{hello, deflating} {
		opts := socket.Options{Mounts: []socket.Mount{{Path: "/socket", Admit: admit(echoes), Compress: true}}}
		inMemory(t, opts, func(t *testing.T, ln *fasthttputil.InmemoryListener, _ *server) {
			conn, err := ln.Dial()
			if err != nil {
				t.Fatal(err)
			}
			c := upgradeBy(t, conn, hello)
			_ = conn.SetDeadline(time.Time{}) // the clock is virtual
			begin := time.Now()
			var drip sync.WaitGroup
			drip.Go(func() {
				for _, b := range frame(wsframe.Text, true, strings.Repeat("x", 20)) {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(7 * time.Second) // virtual time
				}
			})
			c.expect("close 1002")
			if d := time.Since(begin); d != 60*time.Second {
				t.Errorf("closed after %s", d)
			}
			_ = c.Close()
			drip.Wait()
		})
	}
}

func TestFallbackMayPanic(t *testing.T) {
	s := start(t, socket.Options{
		Limits: socket.Limits{BodyBytes: 100},
		Fallback: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			panic("asked to")
		}),
	})
	if resp, _ := ask(t, s, "GET /demo HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("got %s", resp.Status)
	}
	long := "POST /demo HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n" + strings.Repeat("x", 101)
	if resp, _ := ask(t, s, long); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %s", resp.Status)
	}
	c := dial(t, s)
	c.text("still here")
	c.expect("still here")
}

// Another transport can share the count of an address.
func TestAddressesAreShared(t *testing.T) {
	addresses := socket.NewAddresses(2)
	s := start(t, socket.Options{Mounts: at(echoes), Addresses: addresses})
	local := net.IPv4(127, 0, 0, 1)
	addr := (&net.TCPAddr{IP: local}).AddrPort().Addr().Unmap()
	if !addresses.Enter(addr) {
		t.Fatal("refused the first")
	}
	c := dial(t, s)
	c.text("a")
	c.expect("a") // it is counted
	if resp, _ := ask(t, s, hello); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("got %s", resp.Status)
	}
	addresses.Leave(addr)
	dial(t, s)
}
