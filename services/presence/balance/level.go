package balance

import (
	"cmp"
	"math"
	"slices"
)

// apportion splits total by weights, by the largest remainder (Hamilton's
// method): each gets the whole part of its quota, and what is left goes, one
// each, to the largest remainders; of equal ones to those that have most, so that
// nobody moves for the sake of rounding. Weights are not negative; if all are 0,
// everybody gets 0.
func apportion(total int, weights []float64, have []int) []int {
	parts := make([]int, len(weights))
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	if sum == 0 || total == 0 {
		return parts
	}
	order := make([]int, 0, len(weights))
	remainders := make([]float64, len(weights))
	left := total
	for i, w := range weights {
		quota := float64(total) * w / sum
		parts[i] = int(math.Floor(quota + epsilon))
		remainders[i] = quota - float64(parts[i])
		left -= parts[i]
		if w > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if d := remainders[b] - remainders[a]; math.Abs(d) > epsilon {
			return cmp.Compare(d, 0)
		}
		return cmp.Compare(have[b], have[a])
	})
	for _, i := range order[:min(max(left, 0), len(order))] {
		parts[i]++
	}
	return parts
}

// epsilon is less than the remainders of any two quotas differ by, and more than
// their rounding: there are fewer than 2^31 connections and 10,000 edges.
const epsilon = 1e-7

// level sets the targets of a pool, and how many each of its edges has to give
// away. away is how many connections are on their way from one edge to another.
// An edge that is being filled keeps the one or the other that it gets too many.
func (p *pool) level(away int) {
	p.away = away
	weights, have := make([]float64, len(p.nodes)), make([]int, len(p.nodes))
	for i, n := range p.nodes {
		weights[i], have[i] = n.share, n.count
	}
	for i, target := range apportion(p.count+away, weights, have) {
		n := p.nodes[i]
		n.target = target
		if n.filling && n.close() {
			n.gives = false
		}
	}
	p.pair()
}

// pair sets what each edge gives away: its surplus, but together not more than
// those that take lack.
func (p *pool) pair() {
	surplus, room := 0, lacking(p.nodes)
	weights, have := make([]float64, len(p.nodes)), make([]int, len(p.nodes))
	for i, n := range p.nodes {
		if n.gives {
			have[i] = max(0, n.count-n.target)
		}
		weights[i] = float64(have[i])
		surplus += have[i]
	}
	moves := have
	if surplus > room {
		moves = apportion(room, weights, have)
	}
	for i, n := range p.nodes {
		n.moves = moves[i]
	}
}

// movesOf is the sum of what edges give away.
func movesOf(nodes []*node) int {
	sum := 0
	for _, n := range nodes {
		sum += n.moves
	}
	return sum
}

// lacking is how many connections those that take some have less than their
// targets, all together.
func lacking(nodes []*node) int {
	sum := 0
	for _, n := range nodes {
		if n.takes {
			sum += n.deficit()
		}
	}
	return sum
}
