package balance

import (
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// flow follows connections over the last seconds: how many were moved, and where
// they came back.
type flow struct {
	window time.Duration
	last   map[string]life // by id of the edge
	ticks  []tick          // oldest first, within the window
	usual  float64         // arrivals of the fleet in a second while nobody is moved
	idle   int             // ticks in a row without a move

	// How balancers respond to weights.
	high, low float64 // arrivals at edges that should get them, and at those that should not; since the last verdict
	expected  float64 // how many of them the former should have got
	verdict   verdict
	seen      float64 // share of arrivals that went where they should, at the last verdict
	wanted    float64 // the share that was expected then
}

// life is what an edge counted in one life of its id.
type life struct {
	incarnation   uint64
	moved, opened uint64
}

// tick is what happened between two steps.
type tick struct {
	at            time.Time
	moved, opened map[string]int // by id of the edge; only those with any
}

// lateReturn is how long a client that comes back at once may take until it is
// counted: edges report once a second.
const lateReturn = 2 * time.Second

// step takes in a sample.
func (f *flow) step(at time.Time, edges []*presencev1.Edge) {
	t := tick{at: at, moved: map[string]int{}, opened: map[string]int{}}
	lives := make(map[string]life, len(edges))
	moved, opened := 0, 0
	for _, e := range edges {
		now := life{e.GetIncarnation(), e.GetMoved(), e.GetOpened()}
		lives[e.GetId()] = now
		before, known := f.last[e.GetId()]
		if !known || before.incarnation != now.incarnation {
			before = now
			if f.last != nil && known { // its earlier life was seen: all of this one is news
				before = life{}
			}
		}
		if n := grown(before.moved, now.moved); n > 0 {
			t.moved[e.GetId()] = n
			moved += n
		}
		if n := grown(before.opened, now.opened); n > 0 {
			t.opened[e.GetId()] = n
			opened += n
		}
	}
	f.last = lives
	f.ticks = append(f.ticks, t)
	for len(f.ticks) > 0 && at.Sub(f.ticks[0].at) > f.window {
		f.ticks = f.ticks[1:]
	}
	f.settle(moved, opened)
}

// settle learns how many come anyway, once nobody who was moved is on the way.
func (f *flow) settle(moved, opened int) {
	if moved > 0 {
		f.idle = 0
		return
	}
	const learning = 0.2
	if f.idle++; time.Duration(f.idle)*StepInterval > f.window {
		f.usual += learning * (float64(opened) - f.usual)
	}
}

// grown is how much a count grew; one that shrinks is another's.
func grown(before, now uint64) int {
	if now <= before {
		return 0
	}
	return int(min(now-before, maxCount))
}

// away is how many that were moved from some edges are not back at one of them
// yet. After the window they count as gone.
func (f *flow) away(p *pool) int {
	moved, back := f.sum(p.nodes, f.window, 0)
	return min(max(moved-back, 0), moved)
}

// returned is how many of the fleet were moved, apart from the very last, and how
// many came back.
func (f *flow) returned(nodes []*node) (moved, back int) {
	return f.sum(nodes, f.window, lateReturn)
}

// sum adds up moves that are between least and most ago, and the arrivals since
// the first of them, but for those that come anyway.
func (f *flow) sum(nodes []*node, most, least time.Duration) (moved, back int) {
	if len(f.ticks) == 0 {
		return 0, 0
	}
	now := f.ticks[len(f.ticks)-1].at
	arrived, seconds := 0, 0.0
	for _, t := range f.ticks {
		age := now.Sub(t.at)
		if age > most {
			continue
		}
		opened := 0
		for _, n := range nodes {
			opened += t.opened[n.GetId()]
			if age >= least {
				moved += t.moved[n.GetId()]
			}
		}
		if moved > 0 {
			arrived += opened
			seconds += StepInterval.Seconds()
		}
	}
	return moved, max(0, arrived-int(f.usual*seconds))
}

// respond counts where the latest arrivals went, and judges by it. Edges that are
// told the floor should get few.
func (f *flow) respond(p *pool) {
	opened := f.ticks[len(f.ticks)-1].opened
	high, low, favoured, all := 0.0, 0.0, 0.0, 0.0
	for _, n := range p.nodes {
		all += float64(n.GetWeight())
		if n.GetWeight() > floor {
			high += float64(opened[n.GetId()])
			favoured += float64(n.GetWeight())
		} else {
			low += float64(opened[n.GetId()])
		}
	}
	if favoured == 0 || favoured == all {
		return // nobody is spared: arrivals say nothing
	}
	f.high, f.low, f.expected = f.high+high, f.low+low, f.expected+(high+low)*favoured/all
	if f.high+f.low < evidence {
		return
	}
	f.verdict, f.seen, f.wanted = heeded, f.high/(f.high+f.low), f.expected/(f.high+f.low)
	if f.seen < f.wanted*response {
		f.verdict = ignored
	}
	f.high, f.low, f.expected = 0, 0, 0
}

// verdict is what is known of balancers.
type verdict uint8

const (
	unknown verdict = iota
	heeded          // new connections go where they are told
	ignored         // they do not
)

const (
	evidence = 40  // arrivals from which on their shares say something
	response = 0.6 // least part of the share that was wanted that still is a response
)
