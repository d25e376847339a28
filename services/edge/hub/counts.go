package hub

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// reason says why the hub dropped a broadcast. The set is closed.
type reason int

const (
	reasonNoSubscriber reason = iota // nobody here is joined to the topic
	reasonInvalid                    // no client could be given such a topic or event
	reasons
)

func (r reason) String() string {
	return [reasons]string{"no_subscriber", "invalid"}[r]
}

type counts struct {
	topics    atomic.Int64
	vacancies atomic.Int64
	members   atomic.Int64
	delivered atomic.Uint64
	dropped   [reasons]atomic.Uint64
}

// Stats is what a hub holds and has done.
type Stats struct {
	Topics       int64  // wanted from the mesh
	Subscribers  int64  // seated or waiting
	Delivered    uint64 // one for each subscriber of each broadcast
	NoSubscriber uint64 // broadcasts that nobody here wanted
	Invalid      uint64 // broadcasts that no client could be given
}

// Stats returns the counters. They are not read at one instant.
func (h *Hub) Stats() Stats {
	return Stats{
		Topics:       h.counts.topics.Load(),
		Subscribers:  h.counts.members.Load(),
		Delivered:    h.counts.delivered.Load(),
		NoSubscriber: h.counts.dropped[reasonNoSubscriber].Load(),
		Invalid:      h.counts.dropped[reasonInvalid].Load(),
	}
}

// observe reports the counters when they are collected; the way of a message
// pays for an atomic add only.
func (h *Hub) observe(meter metric.Meter) error {
	topics, err1 := meter.Int64ObservableUpDownCounter("skein.edge.topics",
		metric.WithDescription("Topics that this edge wants from the mesh."), metric.WithUnit("{topic}"))
	members, err2 := meter.Int64ObservableUpDownCounter("skein.edge.subscribers",
		metric.WithDescription("Channels that are joined or waiting."), metric.WithUnit("{channel}"))
	delivered, err3 := meter.Int64ObservableCounter("skein.edge.deliveries",
		metric.WithDescription("Broadcasts handed to subscribers, one for each."), metric.WithUnit("{delivery}"))
	dropped, err4 := meter.Int64ObservableCounter("skein.edge.broadcasts.dropped",
		metric.WithDescription("Broadcasts from the mesh that nobody here got, by reason."), metric.WithUnit("{broadcast}"))
	_, err5 := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(topics, h.counts.topics.Load())
		o.ObserveInt64(members, h.counts.members.Load())
		o.ObserveInt64(delivered, int64(h.counts.delivered.Load())) //nolint:gosec // never that many
		for r := range reasons {
			o.ObserveInt64(dropped, int64(h.counts.dropped[r].Load()), //nolint:gosec // never that many
				metric.WithAttributes(attribute.Stringer("reason", r)))
		}
		return nil
	}, topics, members, delivered, dropped)
	return errors.Join(err1, err2, err3, err4, err5)
}
