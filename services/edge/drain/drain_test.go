package drain

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestConfigIsValidated(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Delay: -1, Spread: -1, Wait: -1, MaxLifetime: time.Second}.Validate()
	for _, name := range []string{"drain-delay", "drain-spread", "drain-wait", "max-lifetime"} {
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+name+":") {
			t.Errorf("%s is missing in %v", name, err)
		}
	}
}

var minute = Config{Delay: 5 * time.Second, Spread: 20 * time.Second, Wait: 5 * time.Second}

func TestDrainIsPaced(t *testing.T) {
	inBubble(t, minute, func(t *testing.T, e *edge) {
		e.add(4000)
		e.Set(Order, true)
		wait(5*time.Second - time.Millisecond)
		if n := e.open(); n != 4000 || e.refuses() {
			t.Errorf("%d open before the delay is over, refuses: %t", n, e.refuses())
		}
		for second := range 15 {
			wait(time.Second)
			want := 4000 - (second+1)*4000/15
			if n := e.open(); n < want-100 || n > want+100 || !e.refuses() {
				t.Errorf("%d open after %d s, want %d", n, second+1, want)
			}
		}
		wait(time.Second)
		if n := e.open(); n > 0 || e.Moved() > 0 {
			t.Errorf("%d open, %d moved", n, e.Moved())
		}
	})
}

func TestFewAreDrainedSoon(t *testing.T) {
	inBubble(t, minute, func(t *testing.T, e *edge) {
		e.add(30)
		began := time.Now()
		e.Set(Stop, true)
		wait(6 * time.Second)
		ends := e.ends()
		if len(ends) != 30 {
			t.Fatalf("%d closed", len(ends))
		}
		if took := ends[29].closed.Sub(began.Add(minute.Delay)); took > 300*time.Millisecond {
			t.Errorf("30 took %s", took)
		}
	})
}

// A process that ends listens no more: a balancer without health checks must see
// that nobody is there. A drain that can be taken back goes on listening.
func TestOnlyWhoStopsShutsTheDoor(t *testing.T) {
	inBubble(t, minute, func(t *testing.T, e *edge) {
		e.add(100)
		e.Set(Order, true)
		wait(minute.Delay + time.Second)
		if !e.refuses() || !e.listens() {
			t.Errorf("ordered: refuses %t, listens %t", e.refuses(), e.listens())
		}
		e.Set(Order, false)
		e.Set(Stop, true)
		wait(minute.Delay - time.Second)
		if !e.listens() {
			t.Error("nobody listens before balancers have noticed")
		}
		wait(2 * time.Second)
		if e.listens() {
			t.Error("listens though the process ends")
		}
	})
}

// Who waits for an answer gets it, if it comes in time; and at the end there is
// no burst.
func TestBusyOnesAreLast(t *testing.T) {
	inBubble(t, minute, func(t *testing.T, e *edge) {
		conns := e.add(2000)
		for _, c := range conns[:1000] {
			c.set(func(c *conn) { c.busy = true })
		}
		e.Set(Request, true)
		began := time.Now().Add(minute.Delay)
		wait(minute.Delay + 16*time.Second)
		for _, c := range conns[:100] {
			if c.Look().Closing {
				t.Fatal("a busy one was closed while others could become quiet")
			}
			c.set(func(c *conn) { c.busy = false })
		}
		wait(time.Minute)
		ends := e.ends()
		if len(ends) != 2000 {
			t.Fatalf("%d closed", len(ends))
		}
		if last := ends[1999].closed.Sub(began); last > minute.Spread+tick {
			t.Errorf("the last was closed after %s", last)
		}
		for _, c := range conns[:100] {
			if c.closed.After(conns[500].closed) {
				t.Error("one that became quiet was closed behind a busy one")
			}
		}
		for i := range ends[100:] {
			if d := ends[i+100].closed.Sub(ends[i].closed); d < 150*time.Millisecond {
				t.Fatalf("100 were closed within %s", d)
			}
		}
	})
}

func TestDrainIsTakenBack(t *testing.T) {
	inBubble(t, minute, func(t *testing.T, e *edge) {
		e.add(4000)
		e.hint(1_000_000, 100)
		e.Set(Order, true)
		e.Set(Request, true)
		if draining, since := e.Draining(); !draining || !since.Equal(time.Now()) {
			t.Errorf("draining %t since %s", draining, since)
		}
		wait(10 * time.Second)
		moved := e.Moved()
		e.Set(Order, false)
		wait(time.Second)
		if draining, _ := e.Draining(); !draining || !e.refuses() || e.Moved() != moved {
			t.Error("one cause is left")
		}
		e.hint(moved, 0)
		e.Set(Request, false)
		synctest.Wait()
		left := e.open()
		wait(time.Minute)
		if draining, since := e.Draining(); draining || time.Since(since) != time.Minute || e.refuses() {
			t.Errorf("draining %t for %s", draining, time.Since(since))
		}
		if e.changes != 2 || left < 1000 || e.open() != left {
			t.Errorf("%d changes, %d of %d left", e.changes, e.open(), left)
		}
		e.Set(Order, true) // and once more
		e.Set(Order, false)
		e.Set(Order, true)
		wait(30 * time.Second)
		if e.open() != 0 || !e.refuses() {
			t.Errorf("%d left", e.open())
		}
	})
}

// A connection that opens just as the drain begins is closed as well, and clients
// that do not answer hold the drain for as long as they may.
func TestLateAndSilentOnes(t *testing.T) {
	inBubble(t, minute, func(t *testing.T, e *edge) {
		e.add(1)[0].lingers = true
		began := time.Now()
		e.Set(Request, true)
		time.AfterFunc(minute.Delay+time.Second, func() { e.add(1) })
		d := e.ask(http.MethodPost)
		if d.Code != http.StatusServiceUnavailable || !strings.Contains(d.Body.String(), `"connections":1,`) {
			t.Errorf("%d %s", d.Code, d.Body)
		}
		if took := time.Since(began); took > e.budget() {
			t.Errorf("answered after %s", took)
		}
		if n := e.open(); n != 0 {
			t.Errorf("%d open", n)
		}
	})
}

func (e *edge) ask(method string, header ...string) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest(method, "/drain", nil)
	for _, h := range header {
		r.Header.Set(h, "x")
	}
	e.ServeHTTP(w, r)
	return w
}

func TestDrainByHTTP(t *testing.T) {
	inBubble(t, minute, func(t *testing.T, e *edge) {
		e.add(100)
		is := func(w *httptest.ResponseRecorder, status int, body string) {
			t.Helper()
			if w.Code != status || strings.TrimSpace(w.Body.String()) != body {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, status, body)
			}
		}
		began := time.Now()
		is(e.ask(http.MethodGet), 200, `{"connections":0,"draining":true,"causes":["request"]}`)
		if took := time.Since(began); took < minute.Delay+900*time.Millisecond || took > minute.Delay+2*time.Second {
			t.Errorf("answered after %s", took)
		}
		began = time.Now()
		is(e.ask(http.MethodPost), 200, `{"connections":0,"draining":true,"causes":["request"]}`)
		if time.Since(began) != 0 {
			t.Error("the second waits")
		}
		is(e.ask(http.MethodDelete), 200, `{"connections":0,"draining":false,"causes":[]}`)
		wait(time.Second)
		e.add(10)
		answered := make(chan *httptest.ResponseRecorder)
		go func() { answered <- e.ask(http.MethodPost) }()
		wait(time.Second)
		is(e.ask(http.MethodDelete), 200, `{"connections":10,"draining":false,"causes":[]}`)
		is(<-answered, 503, `{"connections":10,"draining":false,"causes":[]}`)
		e.Set(Order, true)
		is(e.ask(http.MethodDelete), 409, `{"connections":10,"draining":true,"causes":["order"]}`)
	})
}

func TestDrainIsNotForWebPages(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, e *edge) {
		for _, header := range []string{"Origin", "Sec-Fetch-Site"} {
			if w := e.ask(http.MethodPost, header); w.Code != http.StatusForbidden {
				t.Errorf("%s: %d", header, w.Code)
			}
		}
		if w := e.ask(http.MethodHead); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("HEAD: %d", w.Code)
		}
		if draining, _ := e.Draining(); draining {
			t.Error("drains")
		}
	})
}

// BenchmarkWalk is one search for candidates over 10,000 connections.
func BenchmarkWalk(b *testing.B) {
	e := &edge{}
	e.add(10_000)
	for b.Loop() {
		pick(e.all, func(Look) bool { return true }, walkTakes)
	}
}
