package pair

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// counting is a meter whose only histogram counts.
type counting struct {
	noop.Meter

	histogram *counted
}

func (c counting) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return c.histogram, nil
}

type counted struct {
	noop.Float64Histogram

	n int
}

func (*counted) Enabled(context.Context) bool                              { return true }
func (c *counted) Record(context.Context, float64, ...metric.RecordOption) { c.n++ }

func TestMeter(t *testing.T) {
	var v volume
	under := &counted{}
	h, err := meter{counting{histogram: under}, &v}.Float64Histogram("time")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 20} {
		v.Store(int64(n))
		under.n = 0
		h.Record(t.Context(), 1)
		if under.n != n || h.Enabled(t.Context()) != (n > 0) {
			t.Errorf("volume %d: recorded %d times, enabled: %v", n, under.n, h.Enabled(t.Context()))
		}
	}
}
