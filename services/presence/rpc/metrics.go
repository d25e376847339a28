package rpc

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/skein-mesh/skein/services/presence/load"
)

// refused is why a report was not taken.
type refused string

// The reasons: a closed set.
const (
	refusedMalformed   refused = "malformed"    // it says what cannot be
	refusedEarlierLife refused = "earlier_life" // another process with the edge's id was started later
	refusedReplaced    refused = "replaced"     // the edge reports on a later stream
	refusedFull        refused = "full"         // there are too many edges
)

// cut is who was cut off, being too far behind on people.
type cut string

// They are a closed set.
const (
	cutEdge    cut = "edge"
	cutBackend cut = "backend"
)

type metrics struct {
	refused  metric.Int64Counter
	cut      metric.Int64Counter
	watchers metric.Int64UpDownCounter
	moved    metric.Int64Counter
}

func newMetrics(meter metric.Meter, b *board) (*metrics, error) {
	refused, err1 := meter.Int64Counter("skein.presence.refused",
		metric.WithDescription("Reports that were not taken, by reason."))
	watchers, err2 := meter.Int64UpDownCounter("skein.presence.watchers",
		metric.WithDescription("Streams that watch the fleet."))
	_, err3 := meter.Int64ObservableGauge("skein.fleet.edges",
		metric.WithDescription("Edges with a valid lease."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			edges, _, _ := b.read()
			o.Observe(int64(len(edges)))
			return nil
		}))
	_, err4 := meter.Int64ObservableGauge("skein.fleet.connections",
		metric.WithDescription("Client connections of all edges with a valid lease."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			edges, _, _ := b.read()
			o.Observe(int64(load.Connections(edges))) //nolint:gosec // reports are bounded, see check
			return nil
		}))
	cuts, err5 := meter.Int64Counter("skein.presence.people.cut",
		metric.WithDescription("Streams that were ended because their end is too far behind, by who that is."))
	moved, err6 := meter.Int64Counter("skein.rebalance.moves",
		metric.WithDescription("Connections that were moved by plans of this instance."))
	return &metrics{refused, cuts, watchers, moved}, errors.Join(err1, err2, err3, err4, err5, err6)
}

func (m *metrics) cutOff(ctx context.Context, who cut) {
	m.cut.Add(context.WithoutCancel(ctx), 1, metric.WithAttributes(attribute.String("who", string(who))))
}

func (m *metrics) refuse(ctx context.Context, reason refused) {
	m.refused.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", string(reason))))
}
