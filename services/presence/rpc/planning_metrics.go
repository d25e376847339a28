package rpc

import (
	"context"
	"errors"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// gates are all names that a gate has.
func gates() []string {
	return []string{"membership", "suspect", "drain", "rollout", "return", "steering", "hints", "planner", "paused"}
}

// phases are all phases but the one that is never sent, and their names.
func phases() map[presencev1.Phase]string {
	return map[presencev1.Phase]string{
		presencev1.Phase_PHASE_LEVEL: "level", presencev1.Phase_PHASE_HELD: "held", presencev1.Phase_PHASE_STEERING: "steering",
		presencev1.Phase_PHASE_MOVING: "moving", presencev1.Phase_PHASE_DRAINING: "draining", presencev1.Phase_PHASE_PAUSED: "paused",
	}
}

// moves counts the moves that were made since the step before.
func (m *metrics) moves(ctx context.Context, before, now *presencev1.Status, history []*presencev1.Record) {
	counted := before.GetCurrent().GetMoved()
	made := func(r *presencev1.Record, since uint64) {
		if r.GetMoved() > since {
			m.moved.Add(ctx, int64(r.GetMoved()-since)) //nolint:gosec // a number of connections
		}
	}
	if r := ended(before, now, history); r != nil {
		made(r, counted)
	}
	if r := now.GetCurrent(); r.GetNumber() == before.GetCurrent().GetNumber() {
		made(r, counted)
	} else {
		made(r, 0)
	}
}

// observePlanning shows what the planner of this instance does; others show
// nothing.
func observePlanning(meter metric.Meter, p *planning) error {
	planned, err1 := meter.Int64ObservableGauge("skein.rebalance.planned",
		metric.WithDescription("Moves that would level the fleet as it is now."))
	phase, err2 := meter.Int64ObservableGauge("skein.rebalance.phase",
		metric.WithDescription("1 for the phase that the planner is in, 0 for others."))
	shut, err3 := meter.Int64ObservableGauge("skein.rebalance.gate",
		metric.WithDescription("1 for each gate that forbids moves now, 0 for others."))
	weight, err4 := meter.Int64ObservableGauge("skein.rebalance.weight", metric.WithUnit("%"),
		metric.WithDescription("Weight that each edge tells balancers."))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		status, err := p.now()
		if err != nil {
			return nil //nolint:nilerr // another instance plans
		}
		o.ObserveInt64(planned, int64(status.GetPlan().GetMoves())) //nolint:gosec // a number of connections
		for value, name := range phases() {
			o.ObserveInt64(phase, one(status.GetPhase() == value), metric.WithAttributes(attribute.String("phase", name)))
		}
		for _, name := range gates() {
			is := slices.ContainsFunc(status.GetGates(), func(g *presencev1.Gate) bool { return g.GetName() == name })
			o.ObserveInt64(shut, one(is), metric.WithAttributes(attribute.String("gate", name)))
		}
		for _, s := range status.GetPlan().GetShares() {
			o.ObserveInt64(weight, int64(s.GetPublished()), metric.WithAttributes(attribute.String("edge", s.GetEdge())))
		}
		return nil
	}, planned, phase, shut, weight)
	return err
}

func one(is bool) int64 {
	if is {
		return 1
	}
	return 0
}
