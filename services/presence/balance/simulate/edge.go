package simulate

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/load"
)

// state of an edge.
type state int

const (
	starting state = iota
	ready
	draining
	gone
)

// edge behaves towards presence, balancers and clients as a real one does.
type edge struct {
	// Static after construction.
	id       string
	group    string
	capacity int
	phase    time.Duration // in each second, when it reports
	cost     float64       // of a connection, as a share of its processors and memory

	// Of its present life.
	version     string
	incarnation uint64
	state       state
	began       time.Duration
	stops       bool // once it has drained, and says goodbye

	// Connections.
	count          int
	shown, hidden  line
	opened, moved  uint64
	arrivals       window
	moves          window
	move, close    pacer
	drainFrom      time.Duration // when closes of a drain begin
	drainPerSecond float64

	// What it tells and hears.
	weight      int
	weightSince time.Duration
	asked       time.Duration
	polled      bool
	hint        *presencev1.Hint
	planner     string
	hintUntil   time.Duration
	told        *presencev1.Edge // the last report
	toldAt      time.Duration
}

// window counts what happened in the last second, in steps.
type window struct {
	counts [int(time.Second / step)]int
	sum    int
}

// turn begins the next step.
func (w *window) turn(n int) {
	i := n % len(w.counts)
	w.sum -= w.counts[i]
	w.counts[i] = 0
}

func (w *window) add(n int) {
	w.counts[n%len(w.counts)]++
	w.sum++
}

// pacer spaces closes.
type pacer struct{ next time.Duration }

// take says whether another close is due, at most rate in a second. What was
// not used is not made up for. Factor spreads the closes: around 1.
func (p *pacer) take(now time.Duration, rate, factor float64) bool {
	if rate <= 0 || p.next > now {
		return false
	}
	p.next = max(p.next, now-step) + time.Duration(factor/rate*float64(time.Second))
	return true
}

// boot begins a new life.
func (e *edge) boot(version string, now time.Duration) {
	incarnation := e.incarnation + 1
	*e = edge{
		id: e.id, group: e.group, capacity: e.capacity, phase: e.phase, cost: e.cost,
		version: version, incarnation: incarnation, state: starting, began: now, weight: 100, weightSince: now,
		arrivals: e.arrivals, moves: e.moves,
	}
}

// start skips what is left of the boot.
func (e *edge) start() { e.state = ready }

// mayMove says whether a hint wants another connection moved now: not more in any
// second than its rate, or one if that is less. Factor is as of [pacer.take].
func (e *edge) mayMove(now time.Duration, factor float64) bool {
	if e.state != ready || e.count == 0 || e.moved >= e.hint.GetMovedUntil() {
		return false
	}
	rate := e.hint.GetRate()
	return e.moves.sum < max(int(rate), 1) && e.move.take(now, rate, factor)
}

// drain begins to close all connections; the edge stops when there are none.
func (e *edge) drain(now time.Duration, o *Operation) {
	spread := min(o.DrainSpread, time.Duration(e.count)*10*time.Millisecond)
	e.state, e.stops, e.drainFrom = draining, true, now+o.DrainDelay
	e.drainPerSecond = float64(e.count) / max(spread, step).Seconds()
	e.close.next = e.drainFrom
}

// accepts says whether it takes a new connection.
func (e *edge) accepts(now time.Duration) bool {
	return e.state == ready || e.state == draining && now < e.drainFrom
}

// agent is what its agent tells a balancer: the weight, 0 to get nothing new. A
// process that is gone, or that has not started, does not answer.
func (e *edge) agent(now time.Duration) (weight int, answered bool) {
	switch e.state {
	case ready:
		e.asked, e.polled = now, true
		return e.weight, true
	case draining:
		e.asked, e.polled = now, true
		return 0, true
	default:
		return 0, false
	}
}

// hear takes a hint, which counts for a lease. Of two instances it follows the
// one with the lower id.
func (e *edge) hear(hint *presencev1.Hint, planner string, now time.Duration) {
	if e.hint != nil && now < e.hintUntil && e.planner < planner {
		return
	}
	e.hint, e.planner, e.hintUntil = hint, planner, now+load.Lease
}

// follow lets a hint end with its lease, and tells balancers what it says. An
// edge that nobody hints at is neutral.
func (e *edge) follow(now time.Duration) {
	if e.hint != nil && now >= e.hintUntil {
		e.hint, e.planner = nil, ""
	}
	weight := 100
	if e.hint != nil {
		weight = int(min(max(e.hint.GetWeight(), 1), 256))
	}
	if weight != e.weight {
		e.weight, e.weightSince = weight, now
	}
}

// report is what it tells presence instances.
func (e *edge) report(now time.Duration) {
	states := map[state]presencev1.EdgeState{
		starting: presencev1.EdgeState_EDGE_STATE_STARTING, ready: presencev1.EdgeState_EDGE_STATE_READY,
		draining: presencev1.EdgeState_EDGE_STATE_DRAINING,
	}
	weight := e.weight
	if e.state == draining {
		weight = 0
	}
	busy := min(e.cost*float64(e.count), 1)
	e.toldAt = now
	e.told = &presencev1.Edge{
		Id: e.id, Incarnation: e.incarnation, Version: e.version, State: states[e.state], Group: e.group,
		Capacity: uint32(e.capacity), Connections: uint64(e.count), Opened: e.opened, Moved: e.moved, //nolint:gosec // not negative, and small
		Taken: timestamppb.New(epoch().Add(now)), UptimeMs: millis(now - e.began),
		Weight: uint32(weight), WeightAgeMs: millis(now - e.weightSince),
		Cpu: busy, CpuLimit: 1, Memory: uint64(busy * memory), MemoryLimit: memory,
		Polled: e.polled, PollAgeMs: millis(now - e.asked), Planner: e.planner,
	}
	if !e.polled {
		e.told.PollAgeMs = 0
	}
}

// memory of an edge, in bytes.
const memory = 1 << 30

func millis(d time.Duration) uint64 { return uint64(max(d, 0) / time.Millisecond) }

// victim is who is closed next: those whose tab is shown come first if careful,
// because they come back; of equals, whoever is connected longest.
func (e *edge) victim(careful bool) (*client, bool) {
	shown, some := e.shown.head(e)
	hidden, other := e.hidden.head(e)
	if some && (careful || !other || shown.seq < hidden.seq) {
		return shown.client, true
	}
	return hidden.client, other
}
