package socket_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/socket"
)

// recorder pauses on "pause" and writes down what it is told.
type recorder struct {
	tape
	conn *socket.Conn
}

func (r *recorder) Message(_ wsframe.Opcode, data []byte) {
	r.add(string(data))
	if strings.HasPrefix(string(data), "pause") {
		r.conn.Pause()
	}
}

func (r *recorder) Closed() { r.add("closed") }

// record makes servers whose handlers are recorders, handed out one by one.
func record(t *testing.T, opts socket.Options) (*server, func() *recorder) {
	opened := make(chan *recorder, 16)
	if opts.Mounts == nil {
		opts.Mounts = at(nil)
	}
	opts.Mounts[0].Admit = admit(func(c *socket.Conn) socket.Handler {
		r := &recorder{conn: c}
		opened <- r
		return r
	})
	return start(t, opts), func() *recorder { return <-opened }
}

func TestPause(t *testing.T) {
	onConns(t, func(t *testing.T, e mode, dial dialer) {
		s, opened := record(t, socket.Options{Engine: e.engine, Writer: e.writer})
		c := dial(t, s)
		r := opened()
		c.text("a")
		c.write(append(frame(1, true, "pause1"), append(frame(1, true, "pause2"), frame(1, true, "b")...)...))
		eventually(t, "the first pause", func() bool { return r.String() == "a pause1" })
		c.text("c")
		r.conn.Send(wsframe.New(wsframe.Text, []byte("pushed")))
		c.expect("pushed") // sending goes on
		if got := r.String(); got != "a pause1" {
			t.Fatalf("got %q while paused", got)
		}
		r.conn.Resume()
		eventually(t, "the second pause", func() bool { return r.String() == "a pause1 pause2" })
		r.conn.Resume()
		eventually(t, "the rest", func() bool { return r.String() == "a pause1 pause2 b c" })
		_ = c.Close()
		eventually(t, "the end", func() bool { return r.String() == "a pause1 pause2 b c closed" })
	})
}

// A pause that ends before the message's handler returns changes nothing.
func TestPauseAndResumeAtOnce(t *testing.T) {
	onConns(t, func(t *testing.T, e mode, dial dialer) {
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Mounts: at(func(c *socket.Conn) socket.Handler {
			return handlerFunc(func(op wsframe.Opcode, data []byte) {
				c.Pause()
				c.Send(wsframe.New(op, data))
				c.Resume()
			})
		})})
		c := dial(t, s)
		for i := range 100 {
			c.text(fmt.Sprint(i))
			c.expect(fmt.Sprint(i))
		}
	})
}

type handlerFunc func(op wsframe.Opcode, data []byte)

func (f handlerFunc) Message(op wsframe.Opcode, data []byte) { f(op, data) }
func (handlerFunc) Closed()                                  {}

// A long stream survives pauses at any place of it, resumed by another goroutine.
func TestPausesLoseNothing(t *testing.T) {
	onConns(t, func(t *testing.T, e mode, dial dialer) {
		limits := socket.Limits{OutboxBytes: 16 << 20} // the client writes ahead of its reading
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Limits: limits, Mounts: at(func(c *socket.Conn) socket.Handler {
			n := 0
			return handlerFunc(func(op wsframe.Opcode, data []byte) {
				if n++; n%7 == 0 {
					c.Pause()
					go c.Resume()
				}
				c.Send(wsframe.New(op, data))
			})
		})})
		c := dial(t, s)
		const messages = 3000
		go func() {
			for i := range messages {
				if _, err := c.Write(frame(1, true, fmt.Sprintf("%d %s", i, strings.Repeat("x", i%200)))); err != nil {
					return
				}
			}
		}()
		for i := range messages {
			c.expect(fmt.Sprintf("%d %s", i, strings.Repeat("x", i%200)))
		}
	})
}

func TestCloseWhilePaused(t *testing.T) {
	onConns(t, func(t *testing.T, e mode, dial dialer) {
		s, opened := record(t, socket.Options{Engine: e.engine, Writer: e.writer})
		c := dial(t, s)
		r := opened()
		c.write(append(frame(1, true, "pause"), frame(1, true, "never")...))
		eventually(t, "the pause", func() bool { return r.String() == "pause" })
		r.conn.Close(wsframe.CodeRestart, "")
		c.expect("close 1012")
		eventually(t, "the end", func() bool { return r.String() == "pause closed" })
		c.write(frame(wsframe.Close, true, "\x03\xf4"))
		c.expect("end")
	})
}

// The close frame comes behind what is queued; nothing comes behind it.
func TestCloseIsLast(t *testing.T) {
	onConns(t, func(t *testing.T, e mode, dial dialer) {
		s, opened := record(t, socket.Options{Engine: e.engine, Writer: e.writer})
		c := dial(t, s)
		r := opened()
		want := make([]string, 0, 101)
		for i := range 100 {
			want = append(want, fmt.Sprint(i))
			r.conn.Send(wsframe.New(wsframe.Text, []byte(want[i])))
		}
		r.conn.Close(wsframe.CodeRestart, "bye")
		r.conn.Send(wsframe.New(wsframe.Text, []byte("late")))
		r.conn.Close(wsframe.CodeInternal, "")
		c.expect(append(want, "close 1012")...)
		c.text("ignored")
		c.write(frame(wsframe.Close, true, "\x03\xf4"))
		c.expect("end")
		eventually(t, "the end", func() bool { return s.Count() == 0 })
		if got := r.String(); got != "closed" {
			t.Errorf("the handler got %q", got)
		}
	})
}

// A client that does not answer a close is dropped.
func TestUnansweredClose(t *testing.T) {
	onConns(t, func(t *testing.T, e mode, dial dialer) {
		s, opened := record(t, socket.Options{Engine: e.engine, Writer: e.writer, Limits: socket.Limits{CloseWait: 50 * time.Millisecond}})
		c := dial(t, s)
		opened().conn.Close(wsframe.CodeRestart, "")
		c.expect("close 1012", "end")
		eventually(t, "the end", func() bool { return s.Count() == 0 })
	})
}

func TestIdle(t *testing.T) {
	onEngines(t, func(t *testing.T, e mode) {
		s, opened := record(t, socket.Options{Engine: e.engine, Writer: e.writer, Mounts: []socket.Mount{{Path: "/socket", Idle: 50 * time.Millisecond}}})
		quiet := dial(t, s)
		paused := dial(t, s)
		a, b := opened(), opened()
		paused.text("pause")
		quiet.expect("close 1002", "end")
		paused.expect("close 1002")
		eventually(t, "both ends", func() bool {
			return strings.HasSuffix(a.String(), "closed") && strings.HasSuffix(b.String(), "closed")
		})
	})
}

// A client that reads nothing is closed; the others do not notice.
func TestSlowReader(t *testing.T) {
	onEngines(t, func(t *testing.T, e mode) {
		const sockets, messages = 20, 600
		var mu sync.Mutex
		var conns []*socket.Conn
		s := start(t, socket.Options{
			Engine: e.engine, Writer: e.writer,
			Limits: socket.Limits{CloseWait: 50 * time.Millisecond},
			Mounts: at(func(c *socket.Conn) socket.Handler {
				mu.Lock()
				defer mu.Unlock()
				conns = append(conns, c)
				return &echo{conn: c}
			}),
		})
		clients := make([]*client, sockets)
		for i := range clients {
			clients[i] = dial(t, s)
		}
		eventually(t, "all are open", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(conns) == sockets
		})
		if err := clients[0].Conn.(*net.TCPConn).SetReadBuffer(32 << 10); err != nil {
			t.Fatal(err)
		}
		payload := strings.Repeat("x", 8<<10)
		f := wsframe.New(wsframe.Text, []byte(payload))
		got := make([]atomic.Int64, sockets)
		var readers sync.WaitGroup
		for i, c := range clients[1:] {
			readers.Go(func() {
				for range messages {
					if c.next() != payload {
						return
					}
					got[i].Add(1)
				}
			})
		}
		for i := range messages {
			for _, c := range conns {
				c.Send(f)
			}
			// A publisher that is far ahead of a healthy one would make it slow.
			for n := range sockets - 1 {
				eventually(t, "the healthy ones read", func() bool { return got[n].Load() >= int64(i-4) })
			}
		}
		readers.Wait()
		for n := range sockets - 1 {
			if got[n].Load() != messages {
				t.Errorf("client %d got %d of %d", n, got[n].Load(), messages)
			}
		}
		eventually(t, "the slow one is gone", func() bool { return s.Count() == sockets-1 })
		if st := s.Stats(); st.SlowClosed != 1 {
			t.Errorf("got %+v", st)
		}
	})
}

// Clients that stop for a while and then read get every byte in order.
func TestStalledReadersCatchUp(t *testing.T) {
	onConns(t, func(t *testing.T, e mode, dial dialer) {
		s, opened := record(t, socket.Options{Engine: e.engine, Writer: e.writer, Limits: socket.Limits{OutboxBytes: 64 << 20}})
		const sockets, messages = 6, 800
		var clients []*client
		var conns []*socket.Conn
		for range sockets {
			clients = append(clients, dial(t, s))
			conns = append(conns, opened().conn)
		}
		text := func(i int) string { return fmt.Sprintf("%d %s", i, strings.Repeat("y", i*13%5000)) }
		for i := range messages {
			for _, c := range conns {
				c.Send(wsframe.New(wsframe.Text, []byte(text(i))))
			}
		}
		if e.engine == socket.Auto {
			eventually(t, "the kernel's buffers are full", func() bool { return s.Stats().WriteStalls >= sockets })
		}
		for i := range messages {
			for _, c := range clients {
				c.expect(text(i))
			}
		}
	})
}

// Closed comes exactly once, however a connection ends.
func TestThousandsOfConnects(t *testing.T) {
	onConns(t, func(t *testing.T, e mode, dial dialer) {
		var opened, closed atomic.Int64
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Mounts: at(func(c *socket.Conn) socket.Handler {
			opened.Add(1)
			return &echo{conn: c, closed: func() { closed.Add(1) }}
		})})
		const workers, rounds = 8, 250
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range rounds {
					c := dial(t, s, frame(1, true, "early")...)
					c.expect("early")
					switch (w + i) % 4 {
					case 0:
						c.write(frame(wsframe.Close, true, "\x03\xe8"))
						c.expect("close 1000", "end")
					case 1:
						c.text("restart")
					case 2:
						c.write([]byte{0xff})
					}
					_ = c.Close()
				}
			})
		}
		wg.Wait()
		eventually(t, "all are gone", func() bool { return s.Count() == 0 })
		if opened.Load() != workers*rounds || closed.Load() != workers*rounds {
			t.Errorf("%d opened, %d closed", opened.Load(), closed.Load())
		}
	})
}

func TestDrain(t *testing.T) {
	onEngines(t, func(t *testing.T, e mode) {
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer})
		clients := make([]*client, 100)
		for i := range clients {
			clients[i] = dial(t, s)
		}
		eventually(t, "all are open", func() bool { return s.Count() == len(clients) })
		seen := 0
		for range s.All() {
			seen++
		}
		if seen != len(clients) {
			t.Errorf("All yields %d of %d", seen, len(clients))
		}
		s.stop()
		for _, c := range clients {
			c.expect("close 1012")
			c.write(frame(wsframe.Close, true, "\x03\xf4"))
			c.expect("end")
		}
		s.end()
	})
}

// Abort ends a drain whose clients do not answer.
func TestAbort(t *testing.T) {
	onConns(t, func(t *testing.T, e mode, dial dialer) {
		abort := make(chan struct{})
		s := start(t, socket.Options{
			Engine: e.engine, Writer: e.writer, Abort: abort,
			Limits: socket.Limits{CloseWait: time.Hour},
		})
		c := dial(t, s)
		c.text("a")
		c.expect("a")
		s.stop()
		c.expect("close 1012")
		close(abort)
		c.expect("end")
		s.end()
	})
}

func TestBadOptions(t *testing.T) {
	err := socket.New(socket.Options{
		Engine: "steam", Writer: "quill",
		Mounts: []socket.Mount{{Path: "socket", Admit: admit(echoes)}, {Path: "/a"}, {Path: "/a", Admit: admit(echoes)}},
	}).Run(t.Context())
	if err == nil {
		t.Fatal("runs")
	}
	for _, problem := range []string{"no listener", "steam", "quill", "begin with a slash", "admits nobody", "two mounts at /a"} {
		if !strings.Contains(err.Error(), problem) {
			t.Errorf("%v does not say %q", err, problem)
		}
	}
}
