package drain

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// reason says why a connection was closed. It is the closed set of the attribute
// "reason" of skein.edge.moves.
type reason uint8

const (
	rebalanced reason = iota // hints said so
	recycled                 // it was older than the limit
	drained                  // the edge drains
	reasons                  // how many there are
)

// String is the value of the metric's attribute, and the reason in the close
// frame.
func (r reason) String() string { return [reasons]string{"rebalance", "lifetime", "drain"}[r] }

func (d *Drain) observe(meter metric.Meter) (unregister func(), _ error) {
	moves, err := meter.Int64ObservableCounter("skein.edge.moves", metric.WithUnit("{connection}"),
		metric.WithDescription("Connections that were closed so that their clients come back on another edge, by reason."))
	if err != nil {
		return nil, fmt.Errorf("metrics of the drain: %w", err)
	}
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for r := range reasons {
			o.ObserveInt64(moves, int64(d.closes[r].Load()), metric.WithAttributes(attribute.Stringer("reason", r))) //nolint:gosec // a count
		}
		return nil
	}, moves)
	if err != nil {
		return nil, fmt.Errorf("metrics of the drain: %w", err)
	}
	return func() { _ = registration.Unregister() }, nil
}
