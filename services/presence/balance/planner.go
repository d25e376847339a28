// Package balance decides how many connections each edge should have, what
// balancers are told, and who moves when. It is pure: time is passed in, nothing
// is locked, no goroutine is started.
package balance

import (
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
	Hints  map[string]*presencev1.Hint // by id of the edge; immutable
	Status *presencev1.Status          // immutable
}

// Planner plans for a fleet. It is not safe for concurrent use.
type Planner struct {
	settings Settings
	self     string
}

// New returns a planner for the instance with the given id. Settings must be
// valid.
func New(settings Settings, self string) *Planner {
	return &Planner{settings: settings, self: self}
}

// Step looks at the fleet and decides. It should be called each [StepInterval].
func (p *Planner) Step(s Sample) Decision {
	return Decision{Status: &presencev1.Status{Planner: p.self, Phase: presencev1.Phase_PHASE_LEVEL, Plan: &presencev1.Plan{}}}
}

// Apply makes the next steps carry out a plan that is not worth it otherwise.
func (p *Planner) Apply() {}

// History returns the plans so far, latest first.
func (p *Planner) History() []*presencev1.Record { return nil }
