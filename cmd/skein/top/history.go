// Package top is the live view of a fleet: every edge with its connections,
// load and message rates over the last minute, and the members behind them.
// What is shown is computed by pure functions of the samples so far; only
// [Live] knows a terminal.
package top

import (
	"cmp"
	"slices"
	"strings"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// kept is how many rates of an edge are remembered for its sparkline.
const kept = 60

// Sample is the fleet at one moment.
type Sample struct {
	Fleet     *presencev1.Fleet // nil when only the members are new
	Members   []Member          // nil when only the fleet is new
	Agreement string            // one line on whether the routers agree; with Members
	Phase     string            // of the planner, "" if unknown; with Members
	Problem   string            // why there is nothing newer; "" when all is well
}

// Member is a router or presence instance.
type Member struct {
	Role  string
	ID    string
	State string
}

// edge is what is shown of one edge.
type edge struct {
	last *presencev1.Edge
	in   rates // messages taken from sockets, each second
	out  rates // messages handed to sockets, each second
}

// rates are the last rates of a counter, oldest first.
type rates []float64

func (r rates) now() float64 {
	if len(r) == 0 {
		return 0
	}
	return r[len(r)-1]
}

func (r rates) add(v float64) rates {
	if len(r) == kept {
		r = slices.Delete(r, 0, 1)
	}
	return append(r, v)
}

// history is all samples so far, as far as they are shown.
type history struct {
	edges     map[string]*edge
	fleet     *presencev1.Fleet
	members   []Member
	agreement string
	phase     string
	problem   string
	at        time.Time
}

func newHistory() *history { return &history{edges: map[string]*edge{}} }

// add takes a sample that arrived at the given moment.
func (h *history) add(s Sample, at time.Time) {
	if s.Fleet != nil || s.Problem != "" {
		h.problem = s.Problem
	}
	if s.Members != nil {
		h.members, h.agreement, h.phase = s.Members, s.Agreement, s.Phase
	}
	if s.Fleet == nil {
		return
	}
	h.fleet, h.at = s.Fleet, at
	alive := map[string]bool{}
	for _, now := range s.Fleet.GetEdges() {
		alive[now.GetId()] = true
		e := h.edges[now.GetId()]
		if e == nil || e.last.GetIncarnation() != now.GetIncarnation() {
			e = &edge{last: now}
			h.edges[now.GetId()] = e
		}
		e.add(now)
	}
	for id := range h.edges {
		if !alive[id] {
			delete(h.edges, id)
		}
	}
}

// add takes the next report of the edge. The same report twice, as when only
// another edge changed, is no news.
func (e *edge) add(now *presencev1.Edge) {
	before := e.last
	e.last = now
	took := now.GetTaken().AsTime().Sub(before.GetTaken().AsTime())
	if took <= 0 {
		return
	}
	rate := func(before, now uint64) float64 { return max(0, float64(now)-float64(before)) / took.Seconds() }
	e.in = e.in.add(rate(before.GetPublishes(), now.GetPublishes()))
	e.out = e.out.add(rate(before.GetDeliveries(), now.GetDeliveries()))
}

// totals sums the rates over the fleet.
func (h *history) totals() (in, out float64) {
	for _, e := range h.edges {
		in, out = in+e.in.now(), out+e.out.now()
	}
	return in, out
}

// sorted lists the edges by id, or the busiest first.
func (h *history) sorted(busiest bool) []*edge {
	list := make([]*edge, 0, len(h.edges))
	for _, e := range h.edges {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *edge) int {
		if busiest {
			if by := cmp.Compare(b.last.GetConnections(), a.last.GetConnections()); by != 0 {
				return by
			}
		}
		return cmp.Compare(a.last.GetId(), b.last.GetId())
	})
	return list
}

// bars are the eight heights of a sparkline.
const bars = "▁▂▃▄▅▆▇█"

// sparkline draws the last rates in the given width; the tallest bar is the
// largest rate among them.
func sparkline(r rates, width int) string {
	if width <= 0 {
		return ""
	}
	if len(r) > width {
		r = r[len(r)-width:]
	}
	heights := []rune(bars)
	top := 0.0
	for _, v := range r {
		top = max(top, v)
	}
	var b strings.Builder
	for range width - len(r) {
		b.WriteByte(' ')
	}
	for _, v := range r {
		i := 0
		if top > 0 {
			i = min(len(heights)-1, int(v/top*float64(len(heights)-1)+0.5))
		}
		b.WriteRune(heights[i])
	}
	return b.String()
}
