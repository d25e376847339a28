package people

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// counts are what happened so far.
type counts struct {
	states      uint64 // presence_state sent
	diffs       uint64 // presence_diff broadcast
	counts      uint64 // presence_count broadcast
	coalesced   uint64 // changes that were not a diff of their own
	cancelled   uint64 // changes that nobody was shown, for they were undone
	cut         uint64 // streams that ended because too much waited
	refusedKey  uint64
	refusedMeta uint64
}

// refuse counts a person that is not seen; "" is none.
func (c *core) refuse(why refused) {
	switch why {
	case refusedKey:
		c.counts.refusedKey++
	case refusedMeta:
		c.counts.refusedMeta++
	}
}

func (t *Tracker) observe(meter metric.Meter) (unregister func(), _ error) {
	rows, err1 := meter.Int64ObservableGauge("skein.edge.people.rows",
		metric.WithDescription("People in the replicas of this edge."))
	topics, err2 := meter.Int64ObservableGauge("skein.edge.people.topics",
		metric.WithDescription("Topics with a list of people that have a channel here."))
	sent, err3 := meter.Int64ObservableCounter("skein.edge.people.sent",
		metric.WithDescription("What clients were shown, by event."))
	coalesced, err4 := meter.Int64ObservableCounter("skein.edge.people.coalesced",
		metric.WithDescription("Changes without a diff of their own, by reason: joined with others, or undone before they were shown."))
	refusals, err5 := meter.Int64ObservableCounter("skein.edge.people.refused",
		metric.WithDescription("People who are not seen because of what they are called, by reason."))
	cuts, err6 := meter.Int64ObservableCounter("skein.edge.people.cut",
		metric.WithDescription("Streams to presence that began again because too much waited for them."))
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return nil, fmt.Errorf("people metrics: %w", err)
	}
	of := func(name, value string) metric.MeasurementOption {
		return metric.WithAttributes(attribute.String(name, value))
	}
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		t.mu.Lock()
		n, people, here := t.core.counts, t.core.rows, len(t.core.topics)
		t.mu.Unlock()
		o.ObserveInt64(rows, int64(people))
		o.ObserveInt64(topics, int64(here))
		o.ObserveInt64(cuts, int64(n.cut)) //nolint:gosec // a count
		for _, v := range []struct {
			counter metric.Int64Observable
			value   uint64
			label   metric.MeasurementOption
		}{
			{sent, n.states, of("event", EventState)},
			{sent, n.diffs, of("event", EventDiff)},
			{sent, n.counts, of("event", EventCount)},
			{coalesced, n.coalesced, of("reason", "together")},
			{coalesced, n.cancelled, of("reason", "undone")},
			{refusals, n.refusedKey, of("reason", string(refusedKey))},
			{refusals, n.refusedMeta, of("reason", string(refusedMeta))},
		} {
			o.ObserveInt64(v.counter, int64(v.value), v.label) //nolint:gosec // a count
		}
		return nil
	}, rows, topics, sent, coalesced, refusals, cuts)
	if err != nil {
		return nil, fmt.Errorf("people metrics: %w", err)
	}
	return func() { _ = registration.Unregister() }, nil
}
