package pair

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// volume is how many times everything is recorded.
type volume = atomic.Int64

// meter makes histograms that record each value as many times as the volume
// says. They are all that costs anything when a message passes: what is counted
// is read when metrics are collected.
type meter struct {
	metric.Meter

	volume *volume
}

// Float64Histogram implements [metric.Meter].
func (m meter) Float64Histogram(name string, options ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	h, err := m.Meter.Float64Histogram(name, options...)
	return histogram{h, m.volume}, err //nolint:wrapcheck // a meter adds nothing to another's error
}

type histogram struct {
	metric.Float64Histogram

	volume *volume
}

// Enabled implements [metric.Float64Histogram].
func (h histogram) Enabled(ctx context.Context) bool {
	return h.volume.Load() > 0 && h.Float64Histogram.Enabled(ctx)
}

// Record implements [metric.Float64Histogram]. Whoever calls it has looked at the
// clock at both ends of a time, so each further record looks at it twice.
func (h histogram) Record(ctx context.Context, value float64, options ...metric.RecordOption) {
	n := h.volume.Load()
	if n > 0 {
		h.Float64Histogram.Record(ctx, value, options...)
	}
	for range n - 1 {
		began := time.Now()
		h.Float64Histogram.Record(ctx, value+time.Since(began).Seconds(), options...)
	}
}
