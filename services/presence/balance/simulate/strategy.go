package simulate

import (
	"math"
	"slices"
	"time"
)

// strategy decides each second whose connections are closed.
type strategy interface {
	step(w *world)
}

func strategies() []named[func(Options) strategy] {
	return []named[func(Options) strategy]{
		{"skein", "the planner: exact surplus, after balancers were told where to send it", func(o Options) strategy { return newPlanners(o) }},
		{"drain", "nobody levels: edges only drain when they stop", func(Options) strategy { return idle{} }},
		{"half", "when an edge joins, all others close half of their connections at once", func(Options) strategy { return &half{} }},
		{"threshold", "whoever is 20 % above average closes 0.5 % of the average each second, as Piko", func(Options) strategy { return threshold{over: 0.2} }},
		{"narrow", "the same at 2 % above average", func(Options) strategy { return threshold{over: 0.02} }},
		{"once", "when an edge joins, each closes what it has above average once, in 30 s, as nats server cluster balance", func(Options) strategy { return &once{} }},
		{"surplus", "what is above average, 1 % a second, until 2 % are left; balancers are told nothing", func(Options) strategy { return exact{} }},
	}
}

// idle leaves connections where they are.
type idle struct{}

func (idle) step(*world) {}

// joined says how many edges are new since it was asked last, and known to
// balancers by now.
type joined struct{ known map[string]uint64 }

// introduction is how long balancers have to get to know a new edge.
const introduction = 10 * time.Second

func (j *joined) count(w *world) int {
	first, n := j.known == nil, 0
	if first {
		j.known = map[string]uint64{}
	}
	for _, e := range w.edges {
		if e.state == ready && w.now >= e.began+introduction && j.known[e.id] != e.incarnation {
			j.known[e.id] = e.incarnation
			n++
		}
	}
	if first {
		return 0
	}
	return n
}

// half is the advice of the first book on the subject.
type half struct{ joined joined }

func (h *half) step(w *world) {
	if h.joined.count(w) == 0 {
		return
	}
	shed := map[*edge]int{}
	for _, e := range w.edges {
		if e.state == ready {
			shed[e] = e.count / 2
		}
	}
	for _, e := range w.edges {
		w.shed(e, shed[e], false, &w.tally.moved)
	}
}

// threshold sheds above a threshold, and never below it.
type threshold struct{ over float64 }

func (t threshold) step(w *world) {
	const (
		shed  = 0.005 // of the average, in a second
		least = 50    // connections of an edge that sheds
	)
	mean := average(w)
	for _, e := range readyEdges(w) {
		count := float64(e.count)
		if e.count < least || count <= mean*(1+t.over) {
			continue
		}
		w.shed(e, int(min(count*(count-mean)/mean, math.Ceil(shed*mean))), false, &w.tally.moved)
	}
}

// once computes the surplus when an edge joins, and closes it blindly.
type once struct {
	joined joined
	left   map[*edge]int
	rate   map[*edge]int
}

func (o *once) step(w *world) {
	const seconds = 30
	if o.joined.count(w) > 0 {
		o.left, o.rate = map[*edge]int{}, map[*edge]int{}
		edges := readyEdges(w)
		mean := int(math.Ceil(average(w)))
		for _, e := range edges {
			o.left[e] = max(0, e.count-mean)
			o.rate[e] = (o.left[e] + seconds - 1) / seconds
		}
	}
	for _, e := range readyEdges(w) {
		if n := min(o.left[e], o.rate[e]); n > 0 {
			o.left[e] -= n
			w.shed(e, n, false, &w.tally.moved)
		}
	}
}

// exact closes the surplus as it is observed.
type exact struct{}

func (exact) step(w *world) {
	const (
		pace = 0.01 // of its connections, in a second
		band = 0.02
	)
	mean := average(w)
	for _, e := range readyEdges(w) {
		if over := float64(e.count) - mean; over > band*mean {
			w.shed(e, int(min(over, math.Ceil(pace*float64(e.count)))), false, &w.tally.moved)
		}
	}
}

func readyEdges(w *world) []*edge {
	return slices.DeleteFunc(slices.Clone(w.edges), func(e *edge) bool { return e.state != ready })
}

// average is the number of connections of a ready edge.
func average(w *world) float64 {
	edges := readyEdges(w)
	return float64(connected(edges)) / float64(max(1, len(edges)))
}
