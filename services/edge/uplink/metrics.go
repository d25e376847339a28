package uplink

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/skein-mesh/skein/pkg/channel"
)

// metrics counts what passes. The counters are read when somebody looks, so a
// message costs an atomic addition.
type metrics struct {
	published                         atomic.Uint64
	accepted, unavailable, overloaded atomic.Int64 // publishes by outcome
	deliveries                        atomic.Int64

	// Static after construction.
	publishing, delivering metric.Float64Histogram
	failed                 error // nil if they could be made
}

// measure makes the histograms: unlike counters they must be there with the
// first message.
func (m *metrics) measure(meter metric.Meter) {
	var err1, err2 error
	m.publishing, err1 = meter.Float64Histogram("skein.edge.publish.duration", metric.WithUnit("s"),
		metric.WithDescription("How long publishes of this edge's clients took until their topic's owner had accepted them."))
	m.delivering, err2 = meter.Float64Histogram("skein.edge.delivery.duration", metric.WithUnit("s"),
		metric.WithDescription("From the entry of a broadcast into the mesh until it reached this edge, by the clocks of the two machines."))
	m.failed = errors.Join(err1, err2)
}

// answered notes the end of a publish, and how long it took since at if it was
// accepted and at is known.
func (m *metrics) answered(err error, at uint64) {
	switch {
	case err == nil:
		m.accepted.Add(1)
		record(m.publishing, at)
	case errors.Is(err, channel.ErrOverloaded):
		m.overloaded.Add(1)
	default:
		m.unavailable.Add(1)
	}
}

// delivers notes a broadcast that was published at.
func (m *metrics) delivers(at uint64) {
	m.deliveries.Add(1)
	if at != 0 {
		record(m.delivering, at)
	}
}

// record notes the time since at. Where nobody records it, it does not look at
// the clock.
func record(h metric.Float64Histogram, at uint64) {
	ctx := context.Background() //nolint:forbidigo // nothing to say of it
	if h.Enabled(ctx) {
		h.Record(ctx, since(at))
	}
}

func microseconds(t time.Time) uint64 { return uint64(max(t.UnixMicro(), 0)) }

// since is the time from at until now, in seconds; none if the clocks disagree
// by more.
func since(at uint64) float64 {
	now := microseconds(time.Now())
	if now <= at {
		return 0
	}
	return (time.Duration(now-at) * time.Microsecond).Seconds() //nolint:gosec // a difference of times
}

// register shows the counters and the state of c through meter.
func (m *metrics) register(meter metric.Meter, c *core) (unregister func(), err error) {
	publishes, err1 := meter.Int64ObservableCounter("skein.edge.uplink.publishes",
		metric.WithDescription("publishes answered by the mesh"))
	deliveries, err2 := meter.Int64ObservableCounter("skein.edge.uplink.deliveries",
		metric.WithDescription("broadcasts taken from routers"))
	routers, err3 := meter.Int64ObservableGauge("skein.edge.uplink.routers",
		metric.WithDescription("routers that the edge is attached to"))
	topics, err4 := meter.Int64ObservableGauge("skein.edge.uplink.topics",
		metric.WithDescription("topics that the edge wants"))
	held, err5 := meter.Int64ObservableGauge("skein.edge.uplink.held",
		metric.WithDescription("publishes that wait for an owner"))
	ready, err6 := meter.Int64ObservableGauge("skein.edge.uplink.ready",
		metric.WithDescription("1 while every owner is in reach"))
	views, err7 := meter.Int64ObservableGauge("skein.edge.uplink.view.routers",
		metric.WithDescription("routers that own topics in the view that the edge adopted"))
	agreeing, err8 := meter.Int64ObservableGauge("skein.edge.uplink.view.agreeing",
		metric.WithDescription("attached routers whose view is the one that the edge adopted"))
	queued, err9 := meter.Int64ObservableGauge("skein.edge.uplink.queue", metric.WithUnit("By"),
		metric.WithDescription("bytes of publishes that wait for a router or for an owner"))
	if err := errors.Join(m.failed, err1, err2, err3, err4, err5, err6, err7, err8, err9); err != nil {
		return nil, fmt.Errorf("uplink metrics: %w", err)
	}
	accepted := metric.WithAttributes(attribute.String("reason", "accepted"))
	unavailable := metric.WithAttributes(attribute.String("reason", "unavailable"))
	overloaded := metric.WithAttributes(attribute.String("reason", "overloaded"))
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(publishes, m.accepted.Load(), accepted)
		o.ObserveInt64(publishes, m.unavailable.Load(), unavailable)
		o.ObserveInt64(publishes, m.overloaded.Load(), overloaded)
		o.ObserveInt64(deliveries, m.deliveries.Load())
		s := c.state()
		o.ObserveInt64(routers, s.routers)
		o.ObserveInt64(topics, s.topics)
		o.ObserveInt64(held, s.held)
		o.ObserveInt64(ready, s.ready)
		o.ObserveInt64(views, s.view)
		o.ObserveInt64(agreeing, s.agreeing)
		o.ObserveInt64(queued, s.queued)
		return nil
	}, publishes, deliveries, routers, topics, held, ready, views, agreeing, queued)
	if err != nil {
		return nil, fmt.Errorf("uplink metrics: %w", err)
	}
	return func() { _ = registration.Unregister() }, nil
}

// state of a core as numbers.
type state struct{ routers, topics, held, ready, view, agreeing, queued int64 }

func (c *core) state() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := state{
		routers: int64(len(c.ports)), topics: int64(len(c.topics)), held: int64(c.held),
		view: int64(len(c.adopted.ring.Members())), queued: int64(c.heldBytes),
	}
	for _, p := range c.ports {
		s.queued += int64(p.out.Cost())
		if p.view != nil && p.view.hash == c.adopted.hash {
			s.agreeing++
		}
	}
	if c.ready {
		s.ready = 1
	}
	return s
}
