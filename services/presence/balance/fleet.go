package balance

import (
	"cmp"
	"slices"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// node is one edge while a step looks at it.
type node struct {
	*presencev1.Edge

	count   int
	serving bool
	old     bool    // its version is being replaced
	filling bool    // the plan under way fills it
	share   float64 // weight in the targets
	gives   bool    // connections may be moved away
	takes   bool    // connections may be moved here
	target  int
	moves   int    // to give away
	weight  int    // to tell balancers, in percent; 0 while it drains
	reason  string // of target and weight
}

// deficit is how many connections the edge lacks.
func (n *node) deficit() int { return max(0, n.target-n.count) }

// close reports whether the edge has hardly more than its target.
func (n *node) close() bool {
	const share, few = 0.01, 2
	return n.count-n.target <= max(few, int(share*float64(n.target)))
}

// hinted reports whether the edge understands hints.
func (n *node) hinted() bool { return n.GetWeight() > 0 }

// pool is edges whose connections are levelled among each other.
type pool struct {
	nodes   []*node // that serve, sorted by id
	count   int     // connections that will be theirs: also of edges of the pool that drain
	leaving int     // of these, on edges that drain
	away    int     // connections that were moved and are not back yet
	newest  string  // version that its edges are being rolled to; "" if they are not
	from    string  // group that a rollout empties, with handing
	handing bool    // a rollout is on
}

// fleet is what one step works on.
type fleet struct {
	at      time.Time
	nodes   []*node // all, sorted by id
	pools   []*pool
	late    []string
	rollout *presencev1.Rollout // nil for none, or if the group that takes over is not there
	paused  bool
}

// rollingFor is how long after an edge started its pool counts as being rolled to
// its version, if there are others.
const rollingFor = 10 * time.Minute

// idleShare is the share of the largest group below which a group does not
// serve: it waits for a rollout.
const idleShare = 0.05

// maxCount bounds what an edge may say, so that sums do not overflow.
const maxCount = 1 << 31

// newFleet reads a sample. factor is the share of its usual load that an edge
// should have.
func newFleet(s Sample, factor func(*presencev1.Edge) float64) *fleet {
	f := &fleet{at: s.At, late: s.Late, paused: s.Orders.GetPaused(), rollout: s.Orders.GetRollout()}
	for _, e := range s.Edges {
		n := &node{
			Edge: e, count: int(min(e.GetConnections(), maxCount)),
			serving: e.GetState() == presencev1.EdgeState_EDGE_STATE_READY,
			share:   float64(cmp.Or(e.GetCapacity(), neutral)) * factor(e),
		}
		n.gives, n.takes = n.serving && n.hinted(), n.serving
		f.nodes = append(f.nodes, n)
	}
	slices.SortFunc(f.nodes, func(a, b *node) int { return cmp.Compare(a.GetId(), b.GetId()) })
	if f.rollout != nil && !slices.ContainsFunc(f.nodes, func(n *node) bool { return n.serving && n.GetGroup() == f.rollout.GetTo() }) {
		f.rollout = nil
	}
	f.findPools()
	return f
}

// poolOf names the pool of an edge: its group, or that which takes over from it.
func (f *fleet) poolOf(n *node) string {
	if f.rollout != nil && n.GetGroup() == f.rollout.GetFrom() {
		return f.rollout.GetTo()
	}
	return n.GetGroup()
}

// findPools finds the pools, and who may give and take in each.
func (f *fleet) findPools() {
	pools := map[string]*pool{}
	for _, n := range f.nodes {
		if n.serving && pools[f.poolOf(n)] == nil {
			pools[f.poolOf(n)] = &pool{}
			f.pools = append(f.pools, pools[f.poolOf(n)])
		}
	}
	for _, n := range f.nodes {
		p := pools[f.poolOf(n)]
		if p == nil {
			continue
		}
		p.count += n.count
		if n.serving {
			p.nodes = append(p.nodes, n)
		} else {
			p.leaving += n.count
		}
	}
	most := 0
	for _, p := range f.pools {
		most = max(most, p.count)
	}
	for _, p := range f.pools {
		if len(f.pools) > 1 && float64(p.count) < idleShare*float64(most) {
			p.idle()
		}
	}
	if f.rollout != nil {
		pools[f.rollout.GetTo()].handOver(f.rollout)
	}
	for _, p := range f.pools {
		p.roll()
	}
}

// idle makes a pool wait: it takes next to nothing, and nobody is moved.
func (p *pool) idle() {
	for _, n := range p.nodes {
		n.share, n.gives, n.takes = 0, false, false
	}
}

// handOver makes one group give all it has, and the other take it; or both keep
// what they have, if the rollout is paused.
func (p *pool) handOver(r *presencev1.Rollout) {
	p.handing, p.from = true, r.GetFrom()
	most := 1
	for _, n := range p.nodes {
		most = max(most, n.count)
	}
	for _, n := range p.nodes {
		switch {
		case r.GetPaused():
			n.share, n.gives, n.takes = ceiling*float64(n.count)/float64(most), false, false
		case n.GetGroup() == p.from:
			n.share, n.takes = 0, false
		}
	}
}

// roll finds out whether the pool is being rolled to another version, that of the
// edge that started last. Then who runs it stays, and who does not has to move
// anyway.
func (p *pool) roll() {
	if p.handing {
		return
	}
	last, several := p.nodes[0], false
	for _, n := range p.nodes {
		several = several || n.GetVersion() != p.nodes[0].GetVersion()
		if n.GetUptimeMs() < last.GetUptimeMs() {
			last = n
		}
	}
	if !several || time.Duration(last.GetUptimeMs())*time.Millisecond > rollingFor { //nolint:gosec // bounded where it is received
		return
	}
	p.newest = last.GetVersion()
	for _, n := range p.nodes {
		n.old = n.GetVersion() != p.newest
		n.gives, n.takes = n.gives && n.old, n.takes && !n.old
	}
}

// draining reports whether an edge has connections to close.
func (f *fleet) draining() bool {
	return slices.ContainsFunc(f.nodes, func(n *node) bool {
		return n.GetState() == presencev1.EdgeState_EDGE_STATE_DRAINING && n.count > 0
	})
}

// emptying reports whether a rollout has connections to move.
func (f *fleet) emptying() bool {
	return f.rollout != nil && !f.rollout.GetPaused() && slices.ContainsFunc(f.nodes, func(n *node) bool {
		return n.serving && n.GetGroup() == f.rollout.GetFrom() && n.count > 0
	})
}

// serving are the edges that take connections.
func (f *fleet) serving() []*node {
	return slices.DeleteFunc(slices.Clone(f.nodes), func(n *node) bool { return !n.serving })
}

// away is how many connections are on their way from one edge to another.
func (f *fleet) away() int {
	sum := 0
	for _, p := range f.pools {
		sum += p.away
	}
	return sum
}
