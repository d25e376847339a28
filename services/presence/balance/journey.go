package balance

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// journey is the plan under way.
type journey struct {
	number    uint64
	trigger   presencev1.Trigger
	reason    string
	began     time.Time
	predicted int
	rate      float64             // moves of the fleet in a second
	before    []*presencev1.Share // nil until its first step is done
	moved     map[string]uint64   // what edges had moved as it began, by id/incarnation
	moving    int                 // steps that let edges move
	filled    map[string]bool     // edges that lacked some as it began, by id/incarnation
}

// keepRecords is how many past plans are remembered.
const keepRecords = 100

// needed reports whether a plan is worth its moves.
func (p *Planner) needed(f *fleet) bool {
	moves := movesOf(f.nodes)
	return moves > 0 && (moves > p.worth(f) || p.applied || f.emptying() || p.inherits(f))
}

// inherits reports whether another instance had begun to move what is left: edges
// that have too many tell balancers to spare them.
func (p *Planner) inherits(f *fleet) bool {
	return !p.looked && slices.ContainsFunc(f.serving(), func(n *node) bool {
		return n.moves > 0 && n.GetWeight() == floor && n.share > 0
	})
}

// begin begins a plan if one is worth it, and keeps the pace of the one under way.
func (p *Planner) begin(f *fleet) {
	moves := movesOf(f.nodes)
	held := f.paused || p.members.rolling(f.at, p.settings.Settle) || !p.members.known()
	switch {
	case p.plan != nil:
		p.plan.rate = max(p.plan.rate, p.rate(f, moves))
		if p.blind(f) || f.emptying() {
			p.plan.rate = p.rate(f, moves)
		}
	case !held && p.needed(f):
		p.plan = &journey{
			number: p.number() + 1, trigger: p.trigger(f), reason: p.because(f, moves), began: f.at,
			predicted: moves, rate: p.rate(f, moves), moved: map[string]uint64{}, filled: map[string]bool{},
		}
		for _, n := range f.nodes {
			p.plan.moved[lifeOf(n)] = n.GetMoved()
			p.plan.filled[lifeOf(n)] = n.takes && n.deficit() > 0
		}
		p.applied = false
	case moves == 0:
		p.applied = false
	}
}

// number of the last plan.
func (p *Planner) number() uint64 {
	if len(p.history) == 0 {
		return 0
	}
	return p.history[len(p.history)-1].GetNumber()
}

// lifeOf names one life of an edge.
func lifeOf(n *node) string { return fmt.Sprintf("%s/%d", n.GetId(), n.GetIncarnation()) }

// end ends the plan when there is nothing left to do, or another thing to do.
func (p *Planner) end(f *fleet, gates []*presencev1.Gate) {
	if p.plan == nil {
		return
	}
	outcome := p.outcome(f, gates)
	if outcome == "" {
		if len(gates) == 0 {
			p.plan.moving++
		}
		return
	}
	for _, n := range f.nodes {
		n.moves = 0 // what little is left is not worth it
	}
	record := p.plan.record(f)
	record.Ended, record.Outcome, record.After = timestamppb.New(f.at), outcome, shares(f)
	p.history = append(p.history, record)
	p.history = p.history[max(0, len(p.history)-keepRecords):]
	p.plan = nil
	p.weigh(f)
}

// outcome says how the plan ends, "" if it goes on.
func (p *Planner) outcome(f *fleet, gates []*presencev1.Gate) string {
	moves := movesOf(f.nodes)
	waits := slices.ContainsFunc(gates, func(g *presencev1.Gate) bool { return g.GetName() == GateSteering })
	switch {
	case f.paused:
		return "stopped: an operator paused it"
	case p.members.rolling(f.at, p.settings.Settle):
		return "stopped: an edge drains"
	case moves == 0 && f.away() > 0:
		return "" // if they do not come back, there are more to move
	case moves == 0 && p.flow.verdict == ignored:
		return fmt.Sprintf("stopped within %.0f%% of the targets: balancers ignore the weights", 100*blindExcess)
	case moves == 0:
		return "level"
	case f.emptying():
		return ""
	case waits && near(f) && p.plan.moves(f) > 0:
		return fmt.Sprintf("level but for %d", moves)
	case moves <= p.worth(f) && p.plan.late():
		return fmt.Sprintf("level but for %d: connections come and go", moves)
	}
	return ""
}

// late reports whether the plan takes much longer than predicted, though nothing
// held it.
func (j *journey) late() bool {
	const patience = 10 // steps
	return float64(j.moving) > 2*float64(j.predicted)/j.rate/StepInterval.Seconds()+patience
}

// near reports whether every edge is so close to its target that steering anew
// would not be worth it.
func near(f *fleet) bool {
	return !slices.ContainsFunc(f.serving(), func(n *node) bool { return n.moves > 0 && !n.close() })
}

// note notes how the fleet was when the plan began; j may be nil.
func (j *journey) note(f *fleet) {
	if j != nil && j.before == nil {
		j.before = shares(f)
	}
}

// mark marks the edges that the plan fills; j may be nil.
func (j *journey) mark(f *fleet) {
	for _, n := range f.nodes {
		n.filling = j != nil && j.filled[lifeOf(n)]
	}
}

// moves is how many connections were moved since the plan began.
func (j *journey) moves(f *fleet) uint64 {
	var sum uint64
	for _, n := range f.nodes {
		if before, known := j.moved[lifeOf(n)]; known && n.GetMoved() > before {
			sum += n.GetMoved() - before
		}
	}
	return sum
}

// record is the plan as operators see it.
func (j *journey) record(f *fleet) *presencev1.Record {
	return &presencev1.Record{
		Number: j.number, Trigger: j.trigger, Reason: j.reason, Began: timestamppb.New(j.began),
		Predicted: uint64(max(j.predicted, 0)), Moved: j.moves(f), Before: j.before,
	}
}

// History returns the plans so far, latest first. They are immutable.
func (p *Planner) History() []*presencev1.Record {
	records := slices.Clone(p.history)
	slices.Reverse(records)
	return records
}

// trigger is why there is something to move.
func (p *Planner) trigger(f *fleet) presencev1.Trigger {
	switch {
	case f.emptying():
		return presencev1.Trigger_TRIGGER_ROLLOUT
	case slices.ContainsFunc(f.serving(), func(n *node) bool { return n.moves > 0 && p.pressure.because(n.GetId()) != "" }):
		return presencev1.Trigger_TRIGGER_PRESSURE
	case p.applied && movesOf(f.nodes) <= p.worth(f):
		return presencev1.Trigger_TRIGGER_APPLIED
	default:
		return presencev1.Trigger_TRIGGER_DEFICIT
	}
}

// because is the reason of a plan in words.
func (p *Planner) because(f *fleet, moves int) string {
	if moves == 0 {
		return "every edge has its share"
	}
	switch p.trigger(f) { //nolint:exhaustive // the others come from what edges lack
	case presencev1.Trigger_TRIGGER_ROLLOUT:
		return fmt.Sprintf("group %q hands over to %q", f.rollout.GetFrom(), f.rollout.GetTo())
	case presencev1.Trigger_TRIGGER_PRESSURE:
		return "an edge is short of CPU or memory"
	case presencev1.Trigger_TRIGGER_APPLIED:
		return "an operator asked for it"
	}
	var lacks *node
	for _, n := range f.serving() {
		if n.takes && (lacks == nil || n.deficit() > lacks.deficit()) {
			lacks = n
		}
	}
	text := fmt.Sprintf("%s has %d of %d", lacks.GetId(), lacks.count, lacks.target)
	if p.plan == nil && moves <= p.worth(f) && !p.applied {
		text += fmt.Sprintf("; %d moves or fewer are not worth it", p.worth(f))
	}
	return text
}

// shares are all edges as operators see them.
func shares(f *fleet) []*presencev1.Share {
	list := make([]*presencev1.Share, 0, len(f.nodes))
	for _, n := range f.nodes {
		list = append(list, &presencev1.Share{
			Edge: n.GetId(), Group: n.GetGroup(), Version: n.GetVersion(), State: n.GetState(),
			Connections: n.GetConnections(), Target: uint64(max(n.target, 0)), Moves: uint64(max(n.moves, 0)),
			Weight: uint32(max(n.weight, 0)), Published: n.GetWeight(), Reason: n.reason, //nolint:gosec // at most ceiling
		})
	}
	return list
}
