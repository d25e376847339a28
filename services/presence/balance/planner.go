package balance

import (
	"fmt"
	"math"
	"slices"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// StepInterval is how often a planner should step: as often as edges report.
const StepInterval = time.Second

// Sample is the fleet as an instance sees it at one moment.
type Sample struct {
	At     time.Time
	Edges  []*presencev1.Edge // the last report of each edge with a valid lease; not changed
	Late   []string           // ids of those that missed a report
	Orders *presencev1.Orders // the latest that are known; nil for none
}

// Decision is what follows from a sample.
type Decision struct {
	Hints  map[string]*presencev1.Hint // by id of the edge; immutable; nil while the planner only looks
	Status *presencev1.Status          // immutable
}

// Planner plans for a fleet. It is not safe for concurrent use.
type Planner struct {
	settings Settings
	self     string

	members  membership
	flow     flow
	pressure pressure
	applied  bool // an operator wants a plan that is not worth it otherwise
	looked   bool // the first decision was made
	plan     *journey
	history  []*presencev1.Record // latest last
}

// New returns a planner for the instance with the given id. Settings must be
// valid.
func New(settings Settings, self string) *Planner {
	return &Planner{
		settings: settings, self: self,
		flow: flow{window: settings.ReturnWait}, pressure: pressure{settings: settings},
	}
}

// Apply makes the next steps carry out a plan that is not worth it otherwise.
func (p *Planner) Apply() { p.applied = true }

// Step looks at the fleet and decides. It should be called each [StepInterval].
// A planner that is new only looks until it has seen the same edges several
// times: it might know half of the fleet.
func (p *Planner) Step(s Sample) Decision {
	p.flow.step(s.At, s.Edges)
	p.pressure.step(s.Edges, p.plan != nil)
	f := newFleet(s, p.pressure.factor)
	p.members.step(f)
	p.plan.mark(f)
	for _, pool := range f.pools {
		pool.level(p.flow.away(pool))
	}
	p.slow(f)
	p.begin(f)
	p.weigh(f)
	p.listen(f)
	gates := p.gates(f)
	p.end(f, gates)
	p.explain(f)
	p.plan.note(f)
	status := p.status(f, s.Orders, gates)
	if !p.looked && !p.members.known() {
		return Decision{Status: status}
	}
	p.looked = true
	return Decision{Hints: p.hints(f, len(gates) == 0), Status: status}
}

// worth is how many moves a plan must have to be worth it.
func (p *Planner) worth(f *fleet) int {
	total := 0
	for _, n := range f.nodes {
		total += n.count
	}
	return max(p.settings.LeastMoves, int(p.settings.LeastShare*float64(total)))
}

// slow makes less of the moves while balancers ignore what they are told, or
// while nothing shows that they do not: those who are moved come back anywhere,
// so only edges that have far too many are worth it.
func (p *Planner) slow(f *fleet) {
	if !p.blind(f) {
		return
	}
	for _, n := range f.serving() {
		bound := n.target
		if n.share > 0 {
			bound += int(math.Ceil(blindExcess * float64(n.target)))
		}
		n.moves = min(n.moves, max(0, n.count-bound))
	}
}

const (
	blindExcess = 0.1  // over its target an edge may keep while balancers ignore weights
	blindPace   = 0.25 // of the usual rate
)

// blind reports whether arrivals cannot be steered.
func (p *Planner) blind(f *fleet) bool {
	return p.flow.verdict == ignored || p.flow.verdict == unknown && !f.polled()
}

// weigh decides what balancers are told.
func (p *Planner) weigh(f *fleet) {
	rolling := p.members.rolling(f.at, p.settings.Settle)
	for _, pool := range f.pools {
		switch {
		case f.paused:
			pool.spread()
		case rolling:
			pool.steerDrain()
		case p.plan != nil && movesOf(pool.nodes)+pool.away > 0:
			pool.steer(0, trickle)
		default:
			pool.spread()
		}
	}
}

// listen looks how balancers respond to what they have been told for long enough.
func (p *Planner) listen(f *fleet) {
	for _, pool := range f.pools {
		if pool.told(p.settings.SteerWait) == nil {
			p.flow.respond(pool)
		}
	}
}

// hints are what edges are told. If the gates are open, those with a surplus move it.
func (p *Planner) hints(f *fleet, open bool) map[string]*presencev1.Hint {
	hints := make(map[string]*presencev1.Hint, len(f.nodes))
	moves := movesOf(f.nodes)
	for _, n := range f.nodes {
		h := &presencev1.Hint{Weight: uint32(max(n.weight, floor)), MovedUntil: n.GetMoved(), Reason: n.reason} //nolint:gosec // at most ceiling
		if open && p.plan != nil && n.moves > 0 {
			h.MovedUntil += uint64(n.moves)
			h.Rate = p.plan.rate * float64(n.moves) / float64(moves)
		}
		hints[n.GetId()] = h
	}
	return hints
}

// aim is the share of the highest rate that is aimed at: moves are spaced at
// random, and the rate must hold in any second.
const aim = 0.8

// rate is how many moves of the fleet are aimed at in a second: in a rollout as
// many as the operator said.
func (p *Planner) rate(f *fleet, moves int) float64 {
	if f.rollout != nil && f.emptying() {
		return f.rollout.GetRate()
	}
	most := min(p.settings.MovesPerSecond, p.settings.Arrivals*takers(f))
	rate := min(aim*most, max(float64(moves)/p.settings.Budget.Seconds(), 1))
	if p.blind(f) {
		rate *= blindPace
	}
	return rate
}

// takers is how many edges there are to take who is moved: the one that lacks most
// counts as one, the others by what they lack beside it.
func takers(f *fleet) float64 {
	serving, most := f.serving(), 1
	for _, n := range serving {
		if n.takes {
			most = max(most, n.deficit())
		}
	}
	return max(float64(lacking(serving))/float64(most), 1)
}

// explain gives every edge the reason of its target and weight.
func (p *Planner) explain(f *fleet) {
	for _, n := range f.nodes {
		switch {
		case n.GetState() == presencev1.EdgeState_EDGE_STATE_DRAINING:
			n.reason = "drains"
		case !n.serving:
			n.reason = "starts"
		case f.rollout != nil && n.GetGroup() == f.rollout.GetFrom():
			n.reason = fmt.Sprintf("group %q hands over to %q", n.GetGroup(), f.rollout.GetTo())
		case n.share == 0:
			n.reason = fmt.Sprintf("group %q waits for a rollout", n.GetGroup())
		case n.moves > 0:
			n.reason = fmt.Sprintf("%d above its share of %d", n.count-n.target, n.target)
		case n.takes && n.weight > neutral && n.deficit() > 0:
			n.reason = fmt.Sprintf("%d below its share of %d", n.deficit(), n.target)
		case n.old && p.members.rolling(f.at, p.settings.Settle):
			n.reason = "version " + n.GetVersion() + " is being replaced"
		default:
			n.reason = "has its share"
		}
		if !n.hinted() && n.serving {
			n.reason += "; its version knows no hints"
		}
		if why := p.pressure.because(n.GetId()); why != "" {
			n.reason += "; " + why
		}
	}
}

// status is what operators see.
func (p *Planner) status(f *fleet, orders *presencev1.Orders, gates []*presencev1.Gate) *presencev1.Status {
	moves := movesOf(f.nodes)
	plan := &presencev1.Plan{
		Shares: shares(f), Moves: uint64(max(moves, 0)), Rate: p.rate(f, moves), Needed: moves > 0 && (p.plan != nil || p.needed(f)),
		Trigger: p.trigger(f), Reason: p.because(f, moves),
	}
	if p.plan != nil {
		plan.Rate = p.plan.rate
	}
	if moves > 0 {
		plan.DurationMs = uint64(1000 * float64(moves) / plan.GetRate())
	}
	status := &presencev1.Status{
		Planner: p.self, Phase: p.phase(f, gates), Plan: plan, Gates: gates, Orders: orders, Warnings: p.warnings(f),
	}
	if p.plan != nil {
		status.Current = p.plan.record(f)
	}
	return status
}

// phase says in one word what goes on.
func (p *Planner) phase(f *fleet, gates []*presencev1.Gate) presencev1.Phase {
	shut := func(names ...string) bool {
		return slices.ContainsFunc(gates, func(g *presencev1.Gate) bool { return slices.Contains(names, g.GetName()) })
	}
	switch {
	case f.paused:
		return presencev1.Phase_PHASE_PAUSED
	case f.draining():
		return presencev1.Phase_PHASE_DRAINING
	case p.plan == nil && !p.needed(f):
		return presencev1.Phase_PHASE_LEVEL
	case shut(GateMembership, GateSuspect, GateDrain, GateReturn, GatePlanner) || p.plan == nil:
		return presencev1.Phase_PHASE_HELD
	case shut(GateSteering):
		return presencev1.Phase_PHASE_STEERING
	default:
		return presencev1.Phase_PHASE_MOVING
	}
}

// warnings tell what an operator should look at. That nobody asks for weights is
// nothing to look at while arrivals go where they should all the same.
func (p *Planner) warnings(f *fleet) []string {
	var warnings []string
	serving := f.serving()
	switch {
	case p.flow.verdict == ignored:
		warnings = append(warnings, fmt.Sprintf("balancers ignore the weights: %.0f%% of the latest arrivals went where they should, %.0f%% were expected; "+
			"moves are slow and stop %.0f%% above the targets", 100*p.flow.seen, 100*p.flow.wanted, 100*blindExcess))
	case p.flow.verdict == unknown && lacking(serving) > p.worth(f) && !f.polled():
		warnings = append(warnings, "no balancer asks the edges for their weights (HAProxy: agent-check): arrivals may go anywhere")
	}
	if p.plan != nil && p.plan.late() {
		warnings = append(warnings, fmt.Sprintf("plan %d takes much longer than predicted: edges find few connections that are quiet, or clients come and go", p.plan.number))
	}
	if p.pressure.all {
		warnings = append(warnings, "every edge is short of CPU or memory: moving connections does not help, add edges")
	}
	for _, n := range serving {
		if !n.hinted() {
			warnings = append(warnings, fmt.Sprintf("edge %s runs version %s, which knows no hints", n.GetId(), n.GetVersion()))
		}
	}
	return warnings
}
