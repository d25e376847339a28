package drain

import (
	"iter"
	"math/rand/v2"
	"time"
)

const (
	walkPause = 250 * time.Millisecond // between two walks over all connections
	walkKeeps = 10 * time.Second       // after which what a walk found is out of date
	walkTakes = 1024                   // candidates of one walk
)

// line closes quiet connections one after the other, for one reason.
type line struct {
	// Static after construction.
	reason reason
	conns  iter.Seq[Conn]
	end    func(Conn, reason) bool
	pause  time.Duration // between two walks at least
	most   int           // candidates of one walk

	pace    pace
	waiting []Conn    // candidates, best first
	walked  time.Time // when they were found
}

// step closes what is due, at most so many, of those that it may, and returns
// when to look again if there are more.
func (l *line) step(now time.Time, most uint64, rate float64, may func(Look) bool) time.Duration {
	for ; most > 0; most-- {
		if wait := l.pace.wait(now, rate); wait > 0 {
			return wait
		}
		if !l.closeOne(now, most, may) {
			return l.pause
		}
		l.pace.took(now, rate, 0.5+rand.Float64()) //nolint:gosec // jitter
	}
	return forever
}

// closeOne closes the best candidate that is still quiet. It looks for others if
// there is none, but not all the time.
func (l *line) closeOne(now time.Time, most uint64, may func(Look) bool) bool {
	if now.Sub(l.walked) > walkKeeps {
		l.waiting = nil
	}
	for {
		for len(l.waiting) > 0 {
			c := l.waiting[0]
			l.waiting[0] = nil
			l.waiting = l.waiting[1:]
			if c.Look().Quiet && l.end(c, l.reason) {
				return true
			}
		}
		if now.Sub(l.walked) < l.pause {
			return false
		}
		l.walked, l.waiting = now, pick(l.conns, may, int(min(most, uint64(l.most)))) //nolint:gosec // not negative
		if len(l.waiting) == 0 {
			return false
		}
	}
}

// forget drops the candidates: there is no need for them.
func (l *line) forget() { l.waiting = nil }
