package socket_test

import (
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/socket"
)

// status is the answer to a request on a connection of its own, and whether the
// server closes that.
func status(t *testing.T, s *server, request string) (code int, closes bool) {
	t.Helper()
	resp, _ := ask(t, s, request)
	return resp.StatusCode, resp.Close
}

func TestRefusesUntilTakenBack(t *testing.T) {
	onEngines(t, func(t *testing.T, e mode) {
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer})
		before := dial(t, s)
		before.text("it is there")
		before.expect("it is there")
		s.Refuse(true)
		if code, closes := status(t, s, hello); code != http.StatusServiceUnavailable || !closes {
			t.Errorf("status %d, closes %t", code, closes)
		}
		before.text("a")
		before.expect("a")
		s.Refuse(false)
		after := dial(t, s)
		after.text("b")
		after.expect("b")
	})
}

func TestWhoShutsKeepsItsSockets(t *testing.T) {
	onEngines(t, func(t *testing.T, e mode) {
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer})
		before := dial(t, s)
		before.text("it is there")
		before.expect("it is there")
		s.Shut()
		s.Shut()
		if conn, err := net.Dial("tcp", s.addr); err == nil {
			_ = conn.Close()
			t.Error("somebody listens")
		}
		before.text("a")
		before.expect("a")
	})
}

// A socket whose client has not answered our close is not open, but still there.
func TestClosingSocketsAreNotOpen(t *testing.T) {
	onConns(t, func(t *testing.T, e mode, dial dialer) {
		s, opened := record(t, socket.Options{Engine: e.engine, Writer: e.writer})
		c := dial(t, s)
		conn := opened().conn
		if s.Open() != 1 || conn.Look().Closing {
			t.Errorf("%d open, %+v", s.Open(), conn.Look())
		}
		if !conn.Close(wsframe.CodeRestart, "rebalance") || conn.Close(wsframe.CodeRestart, "rebalance") {
			t.Error("only the first Close counts")
		}
		if look := conn.Look(); s.Open() != 0 || s.Count() != 1 || !look.Closing || look.Quiet {
			t.Errorf("%d open of %d, %+v", s.Open(), s.Count(), look)
		}
		c.expect("close 1012")
		c.write(frame(wsframe.Close, true, "\x03\xf4"))
		c.expect("end")
		eventually(t, "the end", func() bool { return s.Count() == 0 })
		c = dial(t, s)
		opened()
		_ = c.Close() // without a close frame
		eventually(t, "the end", func() bool { return s.Count() == 0 })
		if n := s.Open(); n != 0 {
			t.Errorf("%d open", n)
		}
		dial(t, s)
		opened()
		if n := s.Open(); n != 1 {
			t.Errorf("%d open", n)
		}
	})
}

func TestLook(t *testing.T) {
	var opened atomic.Pointer[socket.Conn]
	opts := socket.Options{Mounts: at(func(c *socket.Conn) socket.Handler {
		opened.Store(c)
		return &echo{conn: c}
	})}
	inBubble(t, opts, func(t *testing.T, _ *server, dial func() *client) {
		c := dial()
		looks := func(age, silence time.Duration) {
			t.Helper()
			if got, want := opened.Load().Look(), (socket.Look{Quiet: true, Age: age, Silence: silence}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		time.Sleep(20 * time.Second) // virtual time
		looks(20*time.Second, 20*time.Second)
		c.write(frame(wsframe.Ping, true, ""))
		c.expect("pong ")
		time.Sleep(40 * time.Second) // virtual time
		looks(60*time.Second, 40*time.Second)
		conn := opened.Load()
		conn.Send(wsframe.New(wsframe.Text, []byte("pushed")))
		if conn.Look().Quiet {
			t.Error("quiet with a full outbox")
		}
		c.expect("pushed")
		conn.Pause()
		if conn.Look().Quiet {
			t.Error("quiet while paused")
		}
		conn.Resume()
		_ = c.Close()
	})
}
