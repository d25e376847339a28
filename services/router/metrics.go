package router

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/skein-mesh/skein/services/router/exchange"
)

// instruments read the exchange's own counts when metrics are collected:
// counting costs a message next to nothing.
type instruments struct {
	publishes, deliveries, forwards, held, drops, views metric.Int64ObservableCounter
	edges, rows, heldBytes, outstanding, routers, queue metric.Int64ObservableGauge
}

// queues are what waits in a router beside the exchange.
type queues interface{ Queued() (bytes int) }

func observe(meter metric.Meter, x *exchange.Exchange, edges, peers queues) error {
	var i instruments
	var failed error
	counter := func(name, description string) metric.Int64ObservableCounter {
		c, err := meter.Int64ObservableCounter("skein.router."+name, metric.WithDescription(description))
		if err != nil {
			failed = err
		}
		return c
	}
	gauge := func(name, description string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge("skein.router."+name, metric.WithDescription(description))
		if err != nil {
			failed = err
		}
		return g
	}
	i.publishes = counter("publishes", "publishes that arrived, by source")
	i.deliveries = counter("deliveries", "deliveries queued for edges, routers and backends, by why they get it")
	i.forwards = counter("forwards", "publishes forwarded to their owner")
	i.held = counter("held", "publishes that had to wait, by what for")
	i.drops = counter("drops", "messages dropped or refused, by reason")
	i.views = counter("view.changes", "changes of the set of ready routers")
	i.edges = gauge("edges", "attached edges")
	i.rows = gauge("rows", "topics announced by edges")
	i.heldBytes = gauge("held.bytes", "bytes of publishes that wait")
	i.outstanding = gauge("lanes", "topics with publishes that wait or are on their way to the owner")
	i.routers = gauge("view.routers", "routers that own topics in the view of this one")
	i.queue = gauge("queue.bytes", "bytes that wait to be sent, by whom to")
	if failed != nil {
		return failed
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		i.report(o, x.Stats())
		o.ObserveInt64(i.queue, int64(edges.Queued()), metric.WithAttributes(attribute.String("to", "edge")))
		o.ObserveInt64(i.queue, int64(peers.Queued()), metric.WithAttributes(attribute.String("to", "router")))
		return nil
	}, i.publishes, i.deliveries, i.forwards, i.held, i.drops, i.views, i.edges, i.rows, i.heldBytes, i.outstanding, i.routers, i.queue)
	return err
}

func (i *instruments) report(o metric.Observer, s exchange.Stats) {
	count := func(c metric.Int64ObservableCounter, n uint64, key, value string) {
		o.ObserveInt64(c, int64(n), //nolint:gosec // never that many
			metric.WithAttributes(attribute.String(key, value)))
	}
	for source, n := range s.Publishes {
		count(i.publishes, n, "source", exchange.Source(source).String())
	}
	count(i.deliveries, s.Rows, "reason", "row")
	count(i.deliveries, s.Floods, "reason", "flood")
	count(i.deliveries, s.Subscriptions, "reason", "subscription")
	count(i.held, s.Held-s.Parked, "for", "turn")
	count(i.held, s.Parked, "for", "owner")
	for reason, n := range s.Drops {
		count(i.drops, n, "reason", exchange.Drop(reason).String())
	}
	o.ObserveInt64(i.forwards, int64(s.Forwards)) //nolint:gosec // never that many
	o.ObserveInt64(i.views, int64(s.Views))       //nolint:gosec // never that many
	o.ObserveInt64(i.routers, int64(s.Routers))
	o.ObserveInt64(i.edges, int64(s.Edges))
	o.ObserveInt64(i.rows, int64(s.EdgeRows))
	o.ObserveInt64(i.heldBytes, int64(s.HeldBytes))
	o.ObserveInt64(i.outstanding, int64(s.Outstanding))
}
