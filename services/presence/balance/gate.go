package balance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Gates: a closed set of reasons not to move anybody now.
const (
	GatePaused     = "paused"     // an operator said so
	GatePlanner    = "planner"    // edges follow another instance
	GateMembership = "membership" // edges came or went a moment ago
	GateSuspect    = "suspect"    // an edge does not report
	GateDrain      = "drain"      // an edge drains, or did a moment ago
	GateReturn     = "return"     // those who were moved do not come back
	GateSteering   = "steering"   // balancers may not know the weights yet
)

// steadySamples is how many samples must show the same edges before anybody is
// moved.
const steadySamples = 2

// backShare is the least share of moved clients that must have come back.
const backShare = 0.9

// fewMoves are too few to judge by who came back.
const fewMoves = 20

// membership remembers which edges there are, and since how many samples.
type membership struct {
	edges   string
	steady  int       // samples in a row that showed the same
	drained time.Time // when an edge was last seen to drain
	seen    bool      // at least one sample
}

// step takes in which edges there are now.
func (m *membership) step(f *fleet) {
	var b strings.Builder
	for _, n := range f.nodes {
		fmt.Fprintf(&b, "%s/%d/%v ", n.GetId(), n.GetIncarnation(), n.serving)
	}
	if b.String() == m.edges && m.seen {
		m.steady++
	} else {
		m.edges, m.steady, m.seen = b.String(), 0, true
	}
	if f.draining() {
		m.drained = f.at
	}
}

// known reports whether the same edges were seen for long enough to believe that
// these are all.
func (m *membership) known() bool { return m.steady >= steadySamples }

// rolling reports whether an edge drains, or did a moment ago.
func (m *membership) rolling(at time.Time, settle time.Duration) bool {
	return !m.drained.IsZero() && at.Sub(m.drained) < settle
}

// gates returns what forbids to move anybody now.
func (p *Planner) gates(f *fleet) []*presencev1.Gate {
	var gates []*presencev1.Gate
	shut := func(name, format string, args ...any) {
		gates = append(gates, &presencev1.Gate{Name: name, Reason: fmt.Sprintf(format, args...)})
	}
	if f.paused {
		shut(GatePaused, "an operator paused it: skein rebalance resume")
	}
	if other := p.follows(f); other != "" {
		shut(GatePlanner, "edges follow %s", other)
	}
	if !p.members.known() {
		shut(GateMembership, "edges came or went in the last %d samples", steadySamples)
	}
	if len(f.late) > 0 {
		shut(GateSuspect, "no report of %s", strings.Join(f.late, ", "))
	}
	if f.draining() {
		shut(GateDrain, "edges drain")
	} else if p.members.rolling(f.at, p.settings.Settle) {
		shut(GateDrain, "an edge drained in the last %s", p.settings.Settle)
	}
	if moved, back := p.flow.returned(f.nodes); moved >= fewMoves && float64(back) < backShare*float64(moved) {
		shut(GateReturn, "%d of %d moved clients came back so far", back, moved)
	}
	for _, pool := range f.pools {
		if late := pool.told(p.settings.SteerWait); late != nil && movesOf(pool.nodes) > 0 {
			shut(GateSteering, "balancers may not know yet the weight of %s", late.GetId())
		}
	}
	return gates
}

// follows returns the instance that edges follow though it is another one, with
// a lower id than this.
func (p *Planner) follows(f *fleet) string {
	i := slices.IndexFunc(f.nodes, func(n *node) bool { return n.GetPlanner() != "" && n.GetPlanner() < p.self })
	if i < 0 {
		return ""
	}
	return f.nodes[i].GetPlanner()
}
