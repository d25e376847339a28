package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// world is a fleet in the smallest words: edges that do as they are hinted, and
// balancers that heed or ignore weights. A tick is a second.
type world struct {
	now     time.Time
	random  *rand.Rand
	edges   []*presencev1.Edge
	orders  *presencev1.Orders
	planner *Planner
	last    Decision

	perfect bool // balancers send nobody to an edge at the floor if there is another
	ignore  bool // balancers ignore weights
	hidden  float64
	moves   int                // so far
	carry   map[string]float64 // moves that an edge may make yet
	credit  map[string]float64 // of an edge at the balancer
}

func newWorld(seed uint64, counts ...int) *world {
	w := &world{
		now: time.Unix(1_000_000, 0), random: rand.New(rand.NewPCG(seed, 1)),
		planner: New(Default(), "p1"), carry: map[string]float64{}, credit: map[string]float64{},
	}
	for _, c := range counts {
		w.add(c)
	}
	return w
}

// add starts an edge that serves.
func (w *world) add(count int) *presencev1.Edge {
	e := &presencev1.Edge{
		Id: fmt.Sprintf("e%02d", len(w.edges)+1), Incarnation: uint64(w.now.UnixMilli()), Version: "1",
		State: presencev1.EdgeState_EDGE_STATE_READY, Connections: uint64(count), Weight: 100, Polled: true,
	}
	if len(w.edges) > 0 || count > 0 {
		e.UptimeMs = 3_600_000
	}
	w.edges = append(w.edges, e)
	return e
}

// tick lets a second pass.
func (w *world) tick() {
	w.now = w.now.Add(StepInterval)
	sample := Sample{At: w.now, Orders: w.orders}
	for _, e := range w.edges {
		e.UptimeMs += 1000
		e.WeightAgeMs += 1000
		sample.Edges = append(sample.Edges, proto.CloneOf(e))
	}
	w.last = w.planner.Step(sample)
	returning := 0
	for _, e := range w.edges {
		if h := w.last.Hints[e.GetId()]; h != nil {
			if h.GetWeight() != e.GetWeight() {
				e.Weight, e.WeightAgeMs = h.GetWeight(), 0
			}
			returning += w.move(e, h)
		}
	}
	for range returning {
		if w.random.Float64() >= w.hidden {
			w.arrive()
		}
	}
}

// move closes what a hint wants, and returns how many that were.
func (w *world) move(e *presencev1.Edge, h *presencev1.Hint) int {
	w.carry[e.GetId()] += h.GetRate()
	n := int(min(float64(h.GetMovedUntil()-min(e.GetMoved(), h.GetMovedUntil())), w.carry[e.GetId()], float64(e.GetConnections())))
	w.carry[e.GetId()] = min(w.carry[e.GetId()]-float64(n), 1)
	e.Moved += uint64(n)
	e.Connections -= uint64(n)
	w.moves += n
	return n
}

// arrive connects one client, by smooth weighted round robin as HAProxy and nginx
// have it.
func (w *world) arrive() {
	weight := func(e *presencev1.Edge) float64 {
		switch {
		case e.GetState() != presencev1.EdgeState_EDGE_STATE_READY:
			return 0
		case w.ignore:
			return 1
		case w.perfect && e.GetWeight() == floor:
			return 1e-9
		}
		return float64(e.GetWeight())
	}
	var next *presencev1.Edge
	sum := 0.0
	for _, e := range w.edges {
		if weight(e) == 0 {
			continue
		}
		sum += weight(e)
		w.credit[e.GetId()] += weight(e)
		if next == nil || w.credit[e.GetId()] > w.credit[next.GetId()] {
			next = e
		}
	}
	if next != nil {
		w.credit[next.GetId()] -= sum
		next.Connections++
		next.Opened++
	}
}

// until lets time pass until the planner has nothing to do, and reports whether
// that was within so many seconds.
func (w *world) until(seconds int) bool {
	for range seconds {
		w.tick()
		if w.last.Hints != nil && w.last.Status.GetPhase() == presencev1.Phase_PHASE_LEVEL {
			return true
		}
	}
	return false
}

// surplus is the least number of moves that levels the edges, by their capacity.
func (w *world) surplus() int {
	total := 0
	var have []int
	var weights []float64
	for _, e := range w.edges {
		have = append(have, int(e.GetConnections()))
		weights = append(weights, float64(max(e.GetCapacity(), 1)))
		total += int(e.GetConnections())
	}
	sum := 0
	for i, target := range apportion(total, weights, have) {
		sum += max(0, have[i]-target)
	}
	return sum
}

// counts are the connections of every edge.
func (w *world) counts() []int {
	var counts []int
	for _, e := range w.edges {
		counts = append(counts, int(e.GetConnections()))
	}
	return counts
}

// spreadOf is the difference between the most and the fewest connections.
func (w *world) spreadOf() int { return slices.Max(w.counts()) - slices.Min(w.counts()) }

// restart drains an edge over some seconds and starts it again in another
// version. It returns how many clients had to move.
func (w *world) restart(e *presencev1.Edge, seconds int, version string) int {
	e.State = presencev1.EdgeState_EDGE_STATE_DRAINING
	for range 3 { // balancers notice
		w.tick()
	}
	moves := int(e.GetConnections())
	for left := seconds; left > 0; left-- {
		for range int(e.GetConnections()) / left {
			e.Connections--
			w.arrive()
		}
		w.tick()
	}
	e.State, e.Version, e.Incarnation = presencev1.EdgeState_EDGE_STATE_READY, version, uint64(w.now.UnixMilli())
	e.UptimeMs, e.Opened, e.Moved, e.Weight, e.WeightAgeMs = 0, 0, 0, 100, 0
	for range 10 { // as an orchestrator waits for it to be ready for a while
		w.tick()
	}
	return moves
}

// replacePlanner lets another instance plan from now on.
func (w *world) replacePlanner(id string) { w.planner = New(Default(), id) }
