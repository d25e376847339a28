package rpc

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/balance"
)

// Planner decides what edges should do; [balance.Planner] is one. It is used by
// one goroutine at a time.
type Planner interface {
	Step(s balance.Sample) balance.Decision
	Apply()
	History() []*presencev1.Record
}

// errJustElected is an answer that nobody has yet.
var errJustElected = status.Error(codes.Unavailable, "presence: this instance plans since a moment ago: ask again in a second")

// planning steps a planner as long as this instance is elected. Each term has a
// planner of its own, which knows nothing of those before.
type planning struct {
	// Static after construction.
	board      *board
	newPlanner func() Planner
	log        *slog.Logger
	metrics    *metrics

	// mu guards the fields below. The board's is locked under it.
	mu      sync.Mutex
	planner Planner            // nil while this instance is not elected, or has not stepped
	term    uint64             // of the planner
	status  *presencev1.Status // of its last step; immutable
	stepped chan struct{}      // closed, and replaced, with each step, and when the term is over
}

func newPlanning(b *board, newPlanner func() Planner, log *slog.Logger, m *metrics) *planning {
	return &planning{board: b, newPlanner: newPlanner, log: log, metrics: m, stepped: make(chan struct{})}
}

// run steps until ctx ends.
func (p *planning) run(ctx context.Context) error {
	tick := time.NewTicker(balance.StepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			p.step(ctx, now)
		}
	}
}

// step lets the planner look at the fleet, and tells what it decided.
func (p *planning) step(ctx context.Context, now time.Time) {
	sample, term, leads := p.board.sample(now)
	if !leads {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.planner, p.status = nil, nil
		p.wake()
		return
	}
	p.mu.Lock()
	if p.planner == nil || p.term != term {
		p.planner, p.term, p.status = p.newPlanner(), term, nil
	}
	before := p.status
	decision := p.planner.Step(sample)
	p.status = decision.Status
	history := p.planner.History()
	p.wake()
	p.mu.Unlock()
	p.board.decide(term, sample, decision.Hints)
	p.metrics.moves(ctx, before, decision.Status, history)
	p.tell(ctx, before, decision.Status, history)
}

// wake tells those who wait for a step. The caller holds mu.
func (p *planning) wake() {
	close(p.stepped)
	p.stepped = make(chan struct{})
}

// last returns the planner and the status of its last step, if it counts still.
// The caller holds mu.
func (p *planning) last() (Planner, *presencev1.Status, error) {
	if term, leads := p.board.leads(); !leads || p.planner == nil || p.term != term {
		return nil, nil, errJustElected
	}
	return p.planner, p.status, nil
}

// now returns the status of the last step. It must not be changed.
func (p *planning) now() (*presencev1.Status, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, status, err := p.last()
	return status, err
}

// history returns the plans so far. They must not be changed.
func (p *planning) history() ([]*presencev1.Record, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	planner, _, err := p.last()
	if err != nil {
		return nil, err
	}
	return planner.History(), nil
}

// apply makes the planner level the fleet and waits for its next step.
func (p *planning) apply(ctx context.Context) (*presencev1.Status, error) {
	p.mu.Lock()
	planner, _, err := p.last()
	if err == nil {
		planner.Apply()
	}
	stepped := p.stepped
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ending(ctx, context.Cause(ctx))
	case <-stepped:
		return p.now()
	}
}

// tell logs what began, what ended, and gates that opened or shut.
func (p *planning) tell(ctx context.Context, before, now *presencev1.Status, history []*presencev1.Record) {
	if r := ended(before, now, history); r != nil {
		p.log.InfoContext(ctx, "rebalance ended", "plan", r.GetNumber(), "outcome", r.GetOutcome(),
			"predicted", r.GetPredicted(), "moved", r.GetMoved(), "took", r.GetEnded().AsTime().Sub(r.GetBegan().AsTime()).String())
	}
	if r := now.GetCurrent(); r != nil && r.GetNumber() != before.GetCurrent().GetNumber() {
		p.log.InfoContext(ctx, "rebalance begins", "plan", r.GetNumber(), "reason", r.GetReason(), "moves", r.GetPredicted())
	}
	if names(before) != names(now) {
		var reasons []string
		for _, g := range now.GetGates() {
			reasons = append(reasons, g.GetName()+": "+g.GetReason())
		}
		p.log.InfoContext(ctx, "rebalance gates", "shut", names(now), "reasons", strings.Join(reasons, "; "))
	}
}

// ended returns the record of the plan that was under way before and is not now.
func ended(before, now *presencev1.Status, history []*presencev1.Record) *presencev1.Record {
	number := before.GetCurrent().GetNumber()
	if number == 0 || number == now.GetCurrent().GetNumber() {
		return nil
	}
	i := slices.IndexFunc(history, func(r *presencev1.Record) bool { return r.GetNumber() == number })
	if i < 0 {
		return nil
	}
	return history[i]
}

// names of the gates that are shut, sorted.
func names(s *presencev1.Status) string {
	var list []string
	for _, g := range s.GetGates() {
		list = append(list, g.GetName())
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ", ")
}
