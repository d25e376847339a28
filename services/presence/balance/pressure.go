package balance

import (
	"fmt"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// pressure lowers the share of edges that are short of CPU or memory, and raises
// it again when they have been well for long. The gap between both, in height and
// in time, keeps connections from going to and fro.
type pressure struct {
	settings Settings
	edges    map[string]*strain
	all      bool // every edge is short: moving helps nobody
}

// strain is how one edge does.
type strain struct {
	incarnation uint64
	use         float64 // of the more scarce of CPU and memory; 1 is the limit; smoothed
	what        string
	factor      float64
	high, low   int // samples in a row over the limit, and well below
	rest        int // samples until the next change
}

// Times in samples, about a second each.
const (
	strained = 10  // over the limit for so long, and the share is lowered
	relaxed  = 300 // well below for so long, and it is raised again
	resting  = 60  // for clients to move, and for the edge to feel it
)

// Shares of the limit, and steps of the factor.
const (
	well        = 0.6
	apart       = 1.15 // times the mean of the fleet: else moving is no help
	largestCut  = 0.75
	leastFactor = 0.25
	raise       = 0.1
)

// step takes in a sample. While clients are being moved no share changes: an edge
// may be short only because it has too many of them yet.
func (p *pressure) step(edges []*presencev1.Edge, moving bool) {
	kept := make(map[string]*strain, len(edges))
	sum := 0.0
	for _, e := range edges {
		s := p.edges[e.GetId()]
		if s == nil || s.incarnation != e.GetIncarnation() {
			s = &strain{incarnation: e.GetIncarnation(), factor: 1}
		}
		s.feel(e, p.settings)
		kept[e.GetId()] = s
		sum += s.use
	}
	p.edges, p.all = kept, len(edges) > 0
	for _, s := range kept {
		p.all = p.all && s.high >= strained
		if moving {
			continue
		}
		s.adjust(s.use > apart*sum/float64(len(edges)) || len(edges) == 1)
	}
}

// feel takes in what an edge uses.
func (s *strain) feel(e *presencev1.Edge, settings Settings) {
	use, what := 0.0, ""
	if e.GetCpuLimit() > 0 && settings.HighCPU > 0 {
		use, what = e.GetCpu()/e.GetCpuLimit()/settings.HighCPU, "CPU"
	}
	if e.GetMemoryLimit() > 0 && settings.HighMemory > 0 {
		if m := float64(e.GetMemory()) / float64(e.GetMemoryLimit()) / settings.HighMemory; m > use {
			use, what = m, "memory"
		}
	}
	const smoothing = 0.3
	s.use += smoothing * (use - s.use)
	if s.what = what; s.use > 1 {
		s.high++
	} else {
		s.high = 0
	}
	if s.use < well {
		s.low++
	} else {
		s.low = 0
	}
}

// adjust changes the factor when it is time to.
func (s *strain) adjust(alone bool) {
	if s.rest > 0 {
		s.rest--
		return
	}
	switch {
	case s.high >= strained && alone && s.factor > leastFactor:
		s.factor = max(leastFactor, s.factor*max(largestCut, 1/s.use))
		s.rest = resting
	case s.low >= relaxed && s.factor < 1:
		s.factor = min(1, s.factor+raise)
		s.rest = resting
	}
}

// factor is the share of its usual load that an edge should have.
func (p *pressure) factor(e *presencev1.Edge) float64 {
	if s := p.edges[e.GetId()]; s != nil {
		return s.factor
	}
	return 1
}

// because says why an edge gets less, "" if it does not.
func (p *pressure) because(id string) string {
	s := p.edges[id]
	if s == nil || s.factor == 1 {
		return ""
	}
	return fmt.Sprintf("short of %s: its share is lowered to %.0f%%", s.what, 100*s.factor)
}
