package edge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/skein-mesh/skein/pkg/version"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/edge/drain"
)

// answered takes what a presence instance says to a report.
func (e *Edge) answered(from string, r *presencev1.ReportResponse) {
	e.hints.Take(from, r, time.Now())
	e.drain.Set(drain.Order, e.hints.Drained())
	e.drain.Wake()
}

// goal is how many connections hints want moved in all, and how fast.
func (e *Edge) goal(now time.Time) (movedUntil uint64, rate float64) {
	a := e.hints.Advice(now)
	return a.MovedUntil, a.Rate
}

// told is what balancers are told now.
func (e *Edge) told(now time.Time) told {
	draining, since := e.drain.Draining()
	if draining {
		return told{since: since}
	}
	a := e.hints.Advice(now)
	if since.After(a.Since) { // until then they were told something else
		a.Since = since
	}
	return told{weight: a.Weight, since: a.Since, fresh: now.Sub(since) < agentYouth}
}

// sample is the edge's load now, but for what the reporter adds.
func (e *Edge) sample() *presencev1.Edge {
	now := time.Now()
	stats, told := e.hub.Stats(), e.told(now)
	view, _ := e.uplink.View()
	moved := e.drain.Moved() // before connections: a move in between is not missed, only planned anew
	edge := &presencev1.Edge{
		Id:          e.cfg.ID,
		Incarnation: e.incarnation,
		Version:     version.Version,
		State:       e.state(),
		Address:     e.deps.Clients.Addr().String(),
		Connections: uint64(e.open()), //nolint:gosec // not negative
		Channels:    uint64(max(stats.Subscribers, 0)),
		Topics:      uint64(max(stats.Topics, 0)),
		Deliveries:  stats.Delivered,
		Publishes:   e.uplink.Published(),
		View:        view,
		Group:       e.cfg.Group,
		Capacity:    uint32(e.cfg.Capacity), //nolint:gosec // of a valid configuration
		UptimeMs:    millis(now.Sub(e.born)),
		Opened:      e.opened(),
		Moved:       moved,
		Weight:      told.weight,
		WeightAgeMs: millis(now.Sub(told.since)),
		Planner:     e.hints.Advice(now).Planner,
		Orders:      e.hints.Orders(),
	}
	if e.agent != nil {
		var at time.Time
		at, edge.Polled = e.agent.Polled()
		if edge.GetPolled() {
			edge.PollAgeMs = millis(now.Sub(at))
		}
	}
	return edge
}

// millis is a duration in milliseconds; clocks may jump, so it may be negative.
func millis(d time.Duration) uint64 { return uint64(max(d.Milliseconds(), 0)) }

func (e *Edge) state() presencev1.EdgeState {
	draining, _ := e.drain.Draining()
	switch {
	case draining:
		return presencev1.EdgeState_EDGE_STATE_DRAINING
	case e.uplink.Ready():
		return presencev1.EdgeState_EDGE_STATE_READY
	default:
		return presencev1.EdgeState_EDGE_STATE_STARTING
	}
}

// observe reports what balancers are told, and whether a planner says so.
func (e *Edge) observe(meter metric.Meter) error {
	weight, err1 := meter.Int64ObservableGauge("skein.edge.weight", metric.WithUnit("%"),
		metric.WithDescription("What balancers are told: the share of new connections, in percent of what they are configured with; 0 while the edge drains."))
	followed, err2 := meter.Int64ObservableGauge("skein.edge.hints.followed",
		metric.WithDescription("1 while the hints of a planner count, else 0."))
	_, err3 := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := time.Now()
		o.ObserveInt64(weight, int64(e.told(now).weight))
		following := int64(0)
		if e.hints.Advice(now).Planner != "" {
			following = 1
		}
		o.ObserveInt64(followed, following)
		return nil
	}, weight, followed)
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("metrics of the balance: %w", err)
	}
	return nil
}
