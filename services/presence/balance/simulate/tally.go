package simulate

import "time"

// near is how far from its share an edge may be that counts as level.
const near = 0.05

// tally is what happened in a run.
type tally struct {
	minimum              int
	moved, drained, lost int
	refused, never       int // attempts that nobody took, and clients that never come back
	most                 int // closes of one client
	peak                 float64
	arrivals             int           // at one edge in a second
	began                int           // clients at the start
	lastEvent            time.Duration // -1 before the first
	lastClosed           time.Duration
	levelSince           time.Duration // -1 while it is not level
	events               []Event
	series               Series
}

func newTally() tally { return tally{levelSince: -1, lastEvent: -1} }

// begin takes note of the fleet of the start.
func (t *tally) begin(w *world) {
	t.began = len(w.clients)
	t.look(w)
}

// happen takes note of an event. Whoever moves clients after it is compared with
// the least number of closes that it needed.
func (t *tally) happen(now time.Duration, what string) {
	t.lastEvent = now
	if what != "" {
		t.note(now, what)
		t.series.Marks = append(t.series.Marks, Event{At: now.Seconds(), What: what})
	}
}

func (t *tally) note(now time.Duration, what string) {
	t.events = append(t.events, Event{At: now.Seconds(), What: what})
}

// closed takes note of a connection that the server ended.
func (t *tally) closed(now time.Duration, c *client) {
	t.lastClosed = now
	t.most = max(t.most, c.closes)
}

// look takes note of how the fleet is after a step.
func (t *tally) look(w *world) {
	for _, e := range w.edges {
		t.arrivals = max(t.arrivals, e.arrivals.sum)
		if t.lastEvent >= 0 { // before, the start may have been anyhow
			t.peak = max(t.peak, w.strain(e))
		}
	}
	if w.level() {
		if t.levelSince < 0 {
			t.levelSince = w.now
		}
	} else {
		t.levelSince = -1
	}
	if w.now%time.Second == 0 {
		t.series.add(w)
	}
}
