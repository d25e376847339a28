package uplink

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/telemetry"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// metrics counts what passes. The counters are read when somebody looks, so a
// message costs an atomic addition.
type metrics struct {
	published                         atomic.Uint64
	accepted, unavailable, overloaded atomic.Int64 // publishes by outcome
	deliveries                        atomic.Int64
}

func (m *metrics) answered(err error) {
	switch {
	case err == nil:
		m.accepted.Add(1)
	case errors.Is(err, channel.ErrOverloaded):
		m.overloaded.Add(1)
	default:
		m.unavailable.Add(1)
	}
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
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
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
		return nil
	}, publishes, deliveries, routers, topics, held, ready)
	if err != nil {
		return nil, fmt.Errorf("uplink metrics: %w", err)
	}
	return func() { _ = registration.Unregister() }, nil
}

// state of a core as numbers.
type state struct{ routers, topics, held, ready int64 }

func (c *core) state() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := state{int64(len(c.ports)), int64(len(c.topics)), int64(c.held), 0}
	if c.ready {
		s.ready = 1
	}
	return s
}

// traced begins the trace of a publish, if it is sampled: its context travels
// in the broadcast, and its span ends with the answer.
func (u *Uplink) traced(b channel.Broadcast, done func(error)) (channel.Broadcast, func(error)) {
	ctx, span := u.deps.Tracer.Start(context.Background(), "edge publish", //nolint:forbidigo // a socket's message has no parent
		trace.WithSpanKind(trace.SpanKindProducer))
	if !span.SpanContext().IsSampled() {
		return b, done
	}
	span.SetAttributes(attribute.String("skein.topic", b.Topic), attribute.Int("skein.payload_bytes", len(b.Payload)))
	b.Trace = telemetry.Bytes(ctx)
	return b, func(err error) {
		if err != nil {
			span.RecordError(err)
		}
		span.End()
		done(err)
	}
}

// deliver hands one delivery to the hub, in a span if its message is sampled.
func (u *Uplink) deliver(ctx context.Context, local Local, b *meshv1.Broadcast) {
	u.metrics.deliveries.Add(1)
	if len(b.GetTrace()) == 0 {
		local.Deliver(decode(b))
		return
	}
	_, span := u.deps.Tracer.Start(telemetry.Context(ctx, b.GetTrace()), "edge deliver",
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attribute.String("skein.topic", b.GetTopic())))
	defer span.End()
	span.SetAttributes(attribute.Int("skein.subscribers", local.Deliver(decode(b))))
}
