package simulate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/balance"
	"github.com/skein-mesh/skein/services/presence/load"
)

// planners are the presence instances that take themselves for the elected one.
// That is one, unless all are away, or cut off from each other.
type planners struct {
	settings  balance.Settings
	instances []*instance // by id
	elected   int         // so far
	said      string      // what was noted last
	warned    map[string]bool
	past      []*presencev1.Record
}

// instance is a presence instance with a real planner.
type instance struct {
	id      string
	planner *balance.Planner
	current *presencev1.Record // the plan under way; nil for none
	blind   bool               // to every second edge
}

func newPlanners(o Options) *planners {
	p := &planners{settings: o.Settings, warned: map[string]bool{}}
	p.elect()
	return p
}

// elect adds a planner that knows nothing.
func (p *planners) elect() {
	p.elected++
	id := fmt.Sprintf("presence-%03d", p.elected)
	p.instances = append(p.instances, &instance{id: id, planner: balance.New(p.settings, id)})
}

// fail leaves the first n of the instances.
func (p *planners) fail(n int) {
	for _, i := range p.instances[n:] {
		p.past = append(i.history(), p.past...)
	}
	p.instances = p.instances[:n]
}

// history is what all planners did, latest first.
func (p *planners) history() []*presencev1.Record {
	all := slices.Clone(p.past)
	for _, i := range p.instances {
		all = append(i.history(), all...)
	}
	return all
}

// history is what the planner did and does, latest first.
func (i *instance) history() []*presencev1.Record {
	if i.current == nil {
		return i.planner.History()
	}
	return append([]*presencev1.Record{i.current}, i.planner.History()...)
}

// step lets every instance plan. Its hints arrive at once.
func (p *planners) step(w *world) {
	var said []string
	for _, i := range p.instances {
		decision := i.planner.Step(i.sample(w))
		i.current = decision.Status.GetCurrent()
		for n, e := range w.edges {
			if hint := decision.Hints[e.id]; hint != nil && e.state != gone && i.sees(n) {
				e.hear(hint, i.id, w.now)
			}
		}
		said = append(said, describe(decision.Status))
		p.warn(w, decision.Status.GetWarnings())
	}
	if len(said) == 0 {
		said = []string{"nobody plans"}
	}
	if now := strings.Join(said, " | "); now != p.said {
		p.said = now
		w.tally.note(w.now, now)
	}
}

// warn notes warnings, once each: their figures change all the time.
func (p *planners) warn(w *world, warnings []string) {
	for _, text := range warnings {
		kind, _, _ := strings.Cut(text, ":")
		if !p.warned[kind] {
			p.warned[kind] = true
			w.tally.note(w.now, "warning: "+text)
		}
	}
}

// sees says whether the n-th edge reaches the instance.
func (i *instance) sees(n int) bool { return !i.blind || n%2 == 0 }

// sample is the fleet as the instance sees it.
func (i *instance) sample(w *world) balance.Sample {
	s := balance.Sample{At: epoch().Add(w.now), Orders: w.orders}
	for n, e := range w.edges {
		silent := w.now - e.toldAt
		left := e.state == gone && e.stops // it said goodbye
		if e.told == nil || silent >= load.Lease || left || !i.sees(n) {
			continue
		}
		s.Edges = append(s.Edges, e.told)
		if silent > 2*time.Second {
			s.Late = append(s.Late, e.id)
		}
	}
	slices.SortFunc(s.Edges, func(a, b *presencev1.Edge) int { return cmp.Compare(a.GetId(), b.GetId()) })
	return s
}

// describe is the phase and what holds it.
func describe(s *presencev1.Status) string {
	parts := []string{phaseName(s.GetPhase())}
	for _, g := range s.GetGates() {
		parts = append(parts, g.GetName()+": "+g.GetReason())
	}
	return strings.Join(parts, "; ")
}
