package drain

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/telemetry"
)

// conn is a connection that does as the test says.
type conn struct {
	id   uint64
	poll bool
	born time.Time

	mu      sync.Mutex // guards the fields below
	busy    bool
	heard   time.Time
	closed  time.Time // zero while it is open
	reason  string
	lingers bool // the client does not answer the close
}

func (c *conn) Look() Look {
	c.mu.Lock()
	defer c.mu.Unlock()
	closing, now := !c.closed.IsZero(), time.Now()
	return Look{
		ID: c.id, Poll: c.poll, Closing: closing, Quiet: !closing && !c.busy, Age: now.Sub(c.born), Silence: now.Sub(c.heard),
	}
}

func (c *conn) Move(reason string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed.IsZero() {
		return false
	}
	c.closed, c.reason = time.Now(), reason
	return true
}

func (c *conn) set(change func(c *conn)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// edge is a drain with connections of the test.
type edge struct {
	*Drain

	mu       sync.Mutex // guards the fields below
	conns    []*conn
	refusing bool
	shut     bool
	changes  int
	until    uint64
	rate     float64
}

func newEdge(t *testing.T, cfg Config) *edge {
	t.Helper()
	e, tel := &edge{}, telemetry.Nop()
	var err error
	e.Drain, err = New(cfg, Deps{
		Conns: e.all, Open: e.open, Left: e.left, Refuse: e.refuse, Shut: e.shutDown, Goal: e.goal, Changed: e.changed, Log: tel.Log, Meter: tel.Meter,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// inBubble runs the test with a drain; it ends with a drain of what is left.
func inBubble(t *testing.T, cfg Config, test func(t *testing.T, e *edge)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		e := newEdge(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		test(t, e)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := e.open(); n > 0 {
			t.Errorf("%d connections are left open", n)
		}
	})
}

func (e *edge) shutDown() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shut = true
}

// listens reports whether clients may connect, if only to be refused.
func (e *edge) listens() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.shut
}

func (e *edge) add(n int) []*conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	added := make([]*conn, n)
	for i := range added {
		added[i] = &conn{id: uint64(len(e.conns) + i + 1), born: time.Now(), heard: time.Now()}
	}
	e.conns = append(e.conns, added...)
	return added
}

func (e *edge) snapshot() []*conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.conns)
}

func (e *edge) all(yield func(Conn) bool) {
	for _, c := range e.snapshot() {
		if !yield(c) {
			return
		}
	}
}

func (e *edge) open() int {
	n := 0
	for _, c := range e.snapshot() {
		if !c.Look().Closing {
			n++
		}
	}
	return n
}

func (e *edge) left() int {
	n := 0
	for _, c := range e.snapshot() {
		c.mu.Lock()
		if c.closed.IsZero() || c.lingers {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

func (e *edge) refuse(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refusing = on
}

func (e *edge) refuses() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.refusing
}

func (e *edge) changed() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changes++
}

func (e *edge) goal(time.Time) (uint64, float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.until, e.rate
}

// hint is what presence wants from now on.
func (e *edge) hint(until uint64, rate float64) {
	e.mu.Lock()
	e.until, e.rate = until, rate
	e.mu.Unlock()
	e.Wake()
}

// ends are those that were closed, in order.
func (e *edge) ends() []*conn {
	var closed []*conn
	for _, c := range e.snapshot() {
		if c.Look().Closing {
			closed = append(closed, c)
		}
	}
	slices.SortStableFunc(closed, func(a, b *conn) int { return a.closed.Compare(b.closed) })
	return closed
}

// wait lets virtual time pass.
func wait(d time.Duration) {
	time.Sleep(d) // virtual time
	synctest.Wait()
}
