package longpoll

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

func TestAPausePutsOffTheRestOfAPost(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		c.does(func(c *client, _ wsframe.Opcode, _ []byte) { c.conn.Pause() })
		time.AfterFunc(time.Second, c.conn.Resume)
		time.AfterFunc(3*time.Second, c.conn.Resume)
		e.post(token, "[1]", "[2]").want(t, 3*time.Second, `{"status":200}`)
	})
}

func TestAPostThatIsNotTakenInInTime(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		c.does(func(c *client, _ wsframe.Opcode, _ []byte) { c.conn.Pause() })
		e.post(token, "[1]", "[2]").want(t, 10*time.Second, `{"status":408}`)
		if got := c.received(); len(got) != 1 {
			t.Errorf("got %q", got)
		}
		c.does(nil)
		c.conn.Resume()
		e.post(token, "[3]").want(t, 0, `{"status":200}`)
	})
}

func TestAPausedPostEndsWithItsSession(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		c.does(func(c *client, _ wsframe.Opcode, _ []byte) { c.conn.Pause() })
		time.AfterFunc(time.Second, func() { c.conn.Close(wsframe.CodeGoingAway, "") })
		e.post(token, "[1]", "[2]").want(t, time.Second, `{"status":410}`)
		synctest.Wait()
		if c.closed() != 1 {
			t.Errorf("closed %d times", c.closed())
		}
	})
}

func TestOnlySomePostsAtOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		c.does(func(c *client, _ wsframe.Opcode, _ []byte) { c.conn.Pause() })
		statuses := make(chan int, maxPosts)
		for range maxPosts {
			go func() { statuses <- e.post(token, "[]").Status }()
		}
		synctest.Wait()
		e.post(token, "[]").want(t, 0, `{"status":429}`)
		c.does(nil)
		c.conn.Resume()
		for range maxPosts {
			if s := <-statuses; s != http.StatusOK {
				t.Errorf("status %d", s)
			}
		}
	})
}

func TestASecondPollReplacesTheFirst(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		first := make(chan answer, 1)
		go func() { first <- e.get(token) }()
		time.Sleep(time.Second) // virtual time
		time.AfterFunc(time.Second, func() { c.send("[]") })
		second := e.get(token)
		(<-first).want(t, time.Second, `{"messages":[],"status":204,"token":"`+token+`"}`)
		second.want(t, time.Second, `{"messages":["[]"],"status":200,"token":"`+token+`"}`)
	})
}

func TestAPollWhoseClientIsGoneTakesNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		e.do(ctx, http.MethodGet, "vsn=2.0.0&token="+token, "")
		c.send("[1]")
		e.do(ctx, http.MethodGet, "vsn=2.0.0&token="+token, "")
		if a := e.get(token); len(a.Messages) != 1 {
			t.Errorf("got %s", a.Body)
		}
	})
}

func TestASlowClientLosesItsSessionAndConnectsAgain(t *testing.T) {
	inBubble(t, func(o *Options) { o.Limits.OutboxBytes = 1000 }, func(t *testing.T, e *edge) {
		token, c := e.open()
		c.send(strings.Repeat("x", 2000)) // alone it always fits
		if a := e.get(token); len(a.Messages) != 1 {
			t.Errorf("got %s", a.Body)
		}
		for range 3 {
			c.send(strings.Repeat("x", 400))
		}
		synctest.Wait()
		if c.closed() != 1 || e.count.dropped[dropSlow].Load() != 3 || e.count.ends[causeSlow].Load() != 1 {
			t.Errorf("closed %d times, %d drops", c.closed(), e.count.dropped[dropSlow].Load())
		}
		e.get(token).want(t, 0, `{"messages":[],"status":500,"token":"`+token+`"}`)
	})
}

func TestAnAnswerIsBounded(t *testing.T) {
	inBubble(t, func(o *Options) { o.Limits.OutboxBytes = 4 << 20 }, func(t *testing.T, e *edge) {
		token, c := e.open()
		for range 5 {
			c.send(strings.Repeat("x", 100<<10))
		}
		c.send(strings.Repeat("y", 1<<20))
		for _, want := range []int{2, 2, 1, 1} {
			if a := e.get(token); len(a.Messages) != want {
				t.Errorf("%d messages, want %d", len(a.Messages), want)
			}
		}
	})
}

func TestDrain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		waiting, _ := e.open()
		between, other := e.open()
		polled := make(chan answer, 1)
		go func() { polled <- e.get(waiting) }()
		synctest.Wait()
		other.send("[]")
		e.stop()
		time.Sleep(time.Second) // virtual time
		if a := <-polled; a.Status != http.StatusInternalServerError || a.after != 0 {
			t.Errorf("HTTP %d %s after %s", a.Code, a.Body, a.after)
		}
		if a := e.get(between); a.Status != http.StatusOK || a.Header().Get("Connection") != "close" {
			t.Errorf("what waited: %s", a.Body)
		}
		e.get(between).want(t, 0, `{"messages":[],"status":500,"token":"`+between+`"}`)
		e.post(between, "[]").want(t, 0, `{"status":410}`)
		if a := e.do(t.Context(), http.MethodGet, "vsn=2.0.0", ""); a.Code != http.StatusServiceUnavailable || a.Body.Len() != 0 {
			t.Errorf("a new one: HTTP %d %s", a.Code, a.Body)
		}
	})
}

func TestRefusesUntilTakenBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		e.Refuse(true)
		a := e.do(t.Context(), http.MethodGet, "vsn=2.0.0", "")
		if a.Code != http.StatusServiceUnavailable || a.Header().Get("Connection") != "close" {
			t.Errorf("a new one: HTTP %d", a.Code)
		}
		c.send("[]")
		if a := e.get(token); a.Status != http.StatusOK || a.Header().Get("Connection") != "close" {
			t.Errorf("one that was there: %s", a.Body)
		}
		e.Refuse(false)
		e.open()
		if e.Open() != 2 || e.Opened() != 2 {
			t.Errorf("%d of %d are open", e.Open(), e.Opened())
		}
	})
}

func TestLook(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		conn, ok := c.conn.(*Conn)
		if !ok {
			t.Fatal("no session")
		}
		looks := func(when string, want Look) {
			t.Helper()
			if got := conn.Look(); got != want {
				t.Errorf("%s: got %+v, want %+v", when, got, want)
			}
		}
		time.Sleep(time.Second) // virtual time
		looks("new", Look{Quiet: true, Age: time.Second, Silence: time.Second})
		go e.get(token)
		synctest.Wait()
		looks("polled", Look{Quiet: true, Age: time.Second})
		c.send("[]")
		synctest.Wait()
		c.send("[]")
		looks("something waits", Look{Age: time.Second, Queued: len("[]")})
		e.get(token)
		c.does(func(c *client, _ wsframe.Opcode, _ []byte) { c.conn.Pause() })
		go e.post(token, "[1]", "[2]")
		synctest.Wait()
		looks("a POST is under way", Look{Age: time.Second})
		c.does(nil)
		conn.Resume()
		synctest.Wait()
		looks("taken in", Look{Quiet: true, Age: time.Second})
		if !conn.Close(wsframe.CodeRestart, "") || conn.Close(wsframe.CodeRestart, "") {
			t.Error("only the first Close counts")
		}
		looks("ended", Look{Closing: true, Age: time.Second})
		if e.Open() != 0 {
			t.Errorf("%d are open", e.Open())
		}
	})
}

func TestTooManyOfOneAddress(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		for range maxSessions {
			e.open()
		}
		e.do(t.Context(), http.MethodGet, "vsn=2.0.0", "").want(t, 0, `{"status":403}`)
		time.Sleep(time.Minute) // virtual time
		e.open()
	})
}

func TestAHandlerThatPanicsLosesItsSessionOnly(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		c.does(func(*client, wsframe.Opcode, []byte) { panic("oh") })
		e.post(token, "[]").want(t, 0, `{"status":410}`)
		e.open()
	})
}

func TestAllAndRequiredOptions(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		_, c := e.open()
		for conn := range e.All() {
			if conn.ID() != c.conn.ID() {
				t.Errorf("id %d", conn.ID())
			}
		}
	})
	if err := New(Options{}).Run(t.Context()); err == nil || strings.Count(err.Error(), "longpoll: no ") != 4 {
		t.Errorf("got %v", err)
	}
}
