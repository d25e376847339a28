package drain

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestMovesWhatHintsSay(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, e *edge) {
		e.add(1000)
		e.hint(50, 10)
		wait(time.Minute)
		ends := e.ends()
		if len(ends) != 50 || e.Moved() != 50 {
			t.Fatalf("%d closed, %d moved", len(ends), e.Moved())
		}
		if took := ends[49].closed.Sub(ends[0].closed); took < 4900*time.Millisecond || took > 7*time.Second {
			t.Errorf("50 at 10 a second took %s", took)
		}
		if ends[0].reason != "rebalance" {
			t.Errorf("reason %q", ends[0].reason)
		}
		e.hint(50, 10) // it came twice
		wait(time.Minute)
		e.hint(40, 10)
		wait(time.Minute)
		e.hint(60, 0)
		wait(time.Minute)
		if e.Moved() != 50 {
			t.Errorf("%d moved", e.Moved())
		}
	})
}

// No second has more than the rate, not even the one after a pause.
func TestNoSecondHasMoreThanTheRate(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, e *edge) {
		conns := e.add(3000)
		for _, c := range conns {
			c.set(func(c *conn) { c.busy = true })
		}
		e.hint(2000, 100)
		wait(10 * time.Second)
		for _, c := range conns {
			c.set(func(c *conn) { c.busy = false })
		}
		wait(5 * time.Second)
		e.hint(2000, 20)
		wait(5 * time.Second)
		e.hint(2000, 100)
		wait(30 * time.Second)
		ends := e.ends()
		if len(ends) != 2000 {
			t.Errorf("%d closed", len(ends))
		}
		for i := range ends[100:] {
			if d := ends[i+100].closed.Sub(ends[i].closed); d < time.Second {
				t.Fatalf("101 closed within %s", d)
			}
		}
	})
}

func TestOnlyQuietOnesMove(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, e *edge) {
		conns := e.add(10)
		for _, c := range conns[:8] {
			c.set(func(c *conn) { c.busy = true })
		}
		e.hint(5, 100)
		wait(10 * time.Second)
		if e.Moved() != 2 {
			t.Errorf("%d moved", e.Moved())
		}
		conns[3].set(func(c *conn) { c.busy = false })
		wait(time.Second)
		if e.Moved() != 3 || !conns[3].Look().Closing {
			t.Errorf("%d moved", e.Moved())
		}
		e.hint(3, 0)
		for _, c := range conns {
			c.set(func(c *conn) { c.busy = false })
		}
	})
}

// Recently active sockets first, then polls, then who may be a hidden tab; of
// equals who was opened first.
func TestOrderOfMoves(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, e *edge) {
		conns := e.add(8)
		conns[0].poll = true
		conns[3].poll = true
		wait(36 * time.Second)
		for _, i := range []int{0, 2, 3, 4, 5} {
			conns[i].set(func(c *conn) { c.heard = time.Now() })
		}
		e.hint(8, 2)
		wait(10 * time.Second)
		var order []uint64
		for _, c := range e.ends() {
			order = append(order, c.id)
		}
		if want := []uint64{3, 5, 6, 1, 4, 2, 7, 8}; !slices.Equal(order, want) {
			t.Errorf("moved %d, want %d", order, want)
		}
	})
}

func TestOldOnesAreRecycled(t *testing.T) {
	inBubble(t, Config{MaxLifetime: time.Hour}, func(t *testing.T, e *edge) {
		const n = 2000
		e.add(n)
		wait(53 * time.Minute)
		if got := e.open(); got != n {
			t.Errorf("%d of %d after 53 minutes", got, n)
		}
		wait(8 * time.Minute)
		if got := e.open(); got < n*4/10 || got > n*6/10 {
			t.Errorf("%d of %d after an hour", got, n)
		}
		wait(6 * time.Minute)
		ends := e.ends()
		if len(ends) != n || e.Moved() != 0 || ends[0].reason != "lifetime" {
			t.Errorf("%d recycled, %d moved, reason %q", len(ends), e.Moved(), ends[0].reason)
		}
	})
}

func TestLifetimesDifferByATenth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, d := rapid.Uint64().Draw(t, "id"), time.Duration(rapid.Int64Range(int64(time.Minute), int64(1000*time.Hour)).Draw(t, "lifetime"))
		if got := lifetime(id, d); got < d*9/10-time.Microsecond || got > d*11/10 {
			t.Fatalf("%s for %s", got, d)
		}
	})
}

// TestPace checks the promise of [pace] for rates that change and looks that come
// late.
func TestPace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p pace
		var taken []time.Time
		now := time.Unix(1000, 0)
		most := 0
		for range 300 {
			rate := rapid.SampledFrom([]float64{0.5, 1, 3, 3.9, 20, 100}).Draw(t, "rate")
			most = max(most, int(rate), 1)
			if wait := p.wait(now, rate); wait > 0 {
				if rapid.IntRange(0, 9).Draw(t, "other") == 0 {
					now = now.Add(wait / 2) // woken for something else
					continue
				}
				now = now.Add(wait + time.Duration(rapid.SampledFrom([]int{0, 1, 15, 5000}).Draw(t, "late"))*time.Millisecond)
			}
			if p.wait(now, rate) > 0 {
				t.Fatal("waits again")
			}
			p.took(now, rate, rapid.Float64Range(0.5, 1.5).Draw(t, "spread"))
			taken = append(taken, now)
			if n := len(taken) - 1 - max(int(rate), 1); n >= 0 && now.Sub(taken[n]) < time.Second {
				t.Fatalf("%d within %s at %v a second", max(int(rate), 1)+1, now.Sub(taken[n]), rate)
			}
		}
	})
}
