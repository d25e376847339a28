package rpc

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/skein-mesh/skein/services/presence/people"
)

func observePeople(meter metric.Meter, r *room) error {
	rows, err1 := meter.Int64ObservableGauge("skein.presence.people.rows",
		metric.WithDescription("People in the topics of this instance."))
	held, err2 := meter.Int64ObservableGauge("skein.presence.people.held",
		metric.WithDescription("Of them, those whose edge goes and who are expected on another."))
	topics, err3 := meter.Int64ObservableGauge("skein.presence.people.topics",
		metric.WithDescription("Topics with people or with somebody who watches."))
	updates, err4 := meter.Int64ObservableCounter("skein.presence.people.updates",
		metric.WithDescription("Changes and states told to edges."))
	settled, err5 := meter.Int64ObservableCounter("skein.presence.people.settled",
		metric.WithDescription("Topics that this instance took over or that began."))
	waited, err6 := meter.Float64ObservableCounter("skein.presence.people.settle_time", metric.WithUnit("s"),
		metric.WithDescription("Time that those topics waited for all edges, in sum."))
	refusals, err7 := meter.Int64ObservableCounter("skein.presence.people.refused",
		metric.WithDescription("People told by edges who do not count, by reason."))
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		return err
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := r.stats()
		o.ObserveInt64(rows, int64(s.Rows))
		o.ObserveInt64(held, int64(s.Held))
		o.ObserveInt64(topics, int64(s.Topics))
		o.ObserveInt64(updates, int64(s.Told))    //nolint:gosec // a count
		o.ObserveInt64(settled, int64(s.Settled)) //nolint:gosec // a count
		o.ObserveFloat64(waited, s.SettleTime.Seconds())
		for _, reason := range people.Reasons() {
			o.ObserveInt64(refusals, int64(s.Refused[reason]), //nolint:gosec // a count
				metric.WithAttributes(attribute.String("reason", reason.String())))
		}
		return nil
	}, rows, held, topics, updates, settled, waited, refusals)
	return err
}
