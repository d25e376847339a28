package balance

import (
	"math"
	"slices"
	"time"
)

// Weights in percent, as HAProxy takes them. With 0 an edge would get nothing
// even if it is the last one left; above 256 HAProxy takes 256.
const (
	floor   = 1
	neutral = 100
	ceiling = 256
)

// spread tells every edge its usual weight: its share, scaled so that no balancer
// cuts it off, and that the largest is worth something.
func (p *pool) spread() {
	largest := 0.0
	for _, n := range p.nodes {
		largest = max(largest, n.share)
	}
	scale := 1.0
	switch {
	case largest > ceiling:
		scale = ceiling / largest
	case largest < leastTop:
		scale = neutral / max(largest, 1)
	}
	for _, n := range p.nodes {
		n.weight = min(max(int(math.Round(n.share*scale)), floor), ceiling)
	}
}

// leastTop is the least that the edge with the largest weight of a pool is told.
const leastTop = 50

// steer tells balancers to send new connections where they lack, in proportion.
// Weights that would change little stay as they are told, because nobody may be
// moved for a while after each change. least is the share of the largest deficit
// below which an edge gets next to nothing; enough is what an edge is told that
// was being filled and has enough now.
func (p *pool) steer(least float64, enough int) {
	largest := 0
	for _, n := range p.nodes {
		if n.takes {
			largest = max(largest, n.deficit())
		}
	}
	if largest == 0 {
		p.spread()
		return
	}
	for _, n := range p.nodes {
		n.weight = floor
		switch share := float64(n.deficit()) / float64(largest); {
		case !n.takes:
		case n.deficit() > 0 && share >= least:
			n.weight = max(int(math.Round(share*ceiling)), trickle)
		case n.filling && n.close():
			n.weight = enough
		}
	}
	if p.similar() {
		for _, n := range p.nodes {
			n.weight = int(n.GetWeight())
		}
	}
}

// trickle is what an edge is told that was filled by a plan, until the others are:
// with the floor, everybody would have to wait for balancers again.
const trickle = floor + 1

// similar reports whether what balancers are told now is about what they should
// be told.
func (p *pool) similar() bool {
	const much = 0.35
	return !slices.ContainsFunc(p.nodes, func(n *node) bool {
		told := int(n.GetWeight())
		if (told == floor) != (n.weight == floor) || told == 0 {
			return true
		}
		return math.Abs(float64(told-n.weight)) > much*float64(n.weight)
	})
}

// told reports whether every balancer had the time to hear which edges to spare,
// and if not, which edge is to blame. How much the others are told does not
// matter, nor do edges that know no hints.
func (p *pool) told(wait time.Duration) (late *node) {
	for _, n := range p.nodes {
		age := time.Duration(n.GetWeightAgeMs()) * time.Millisecond //nolint:gosec // bounded where it is received
		if n.hinted() && n.weight == floor && (n.GetWeight() != floor || age < wait) {
			return n
		}
	}
	return nil
}

// polled reports whether a balancer asks any edge for its weight.
func (f *fleet) polled() bool {
	const recently = 30_000 // milliseconds; HAProxy asks each 2 s unless told otherwise
	return slices.ContainsFunc(f.nodes, func(n *node) bool { return n.serving && n.GetPolled() && n.GetPollAgeMs() <= recently })
}

// steerDrain sends the clients of edges that drain where they need not move
// again: to edges of the newer version as far as these have room, else to all.
func (p *pool) steerDrain() {
	if p.newest != "" && lacking(p.nodes) < p.leaving/spill {
		for _, n := range p.nodes {
			n.takes = n.serving
		}
	}
	p.steer(minor, floor)
}

const (
	spill = 10  // newer edges with room for less than one of so many that drain are full
	minor = 0.1 // share of the largest deficit that is not worth a client's second move
)
