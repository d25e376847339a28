package callout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/channel"
)

// outcome is how a call ended. The set is closed: it is a label of metrics.
type outcome string

const (
	answered     outcome = "answered"
	timeout      outcome = "timeout"      // no answer in time
	unavailable  outcome = "unavailable"  // no router or no backend took it, or the edge stopped
	overloaded   outcome = "overloaded"   // too many calls under way, here, at the router or at the backend
	crashed      outcome = "crashed"      // the backend failed, or answered rubbish
	unconfigured outcome = "unconfigured" // the routers know no handler for it
)

func outcomeOf(err error) outcome {
	switch {
	case errors.Is(err, channel.ErrOverloaded):
		return overloaded
	case errors.Is(err, channel.ErrUnavailable), errors.Is(err, context.Canceled):
		return unavailable
	case errors.Is(err, context.DeadlineExceeded):
		return timeout
	}
	switch status.Code(err) { //nolint:exhaustive // routers answer no others
	case codes.OK:
		return answered
	case codes.DeadlineExceeded:
		return timeout
	case codes.Unavailable, codes.Canceled:
		return unavailable
	case codes.ResourceExhausted:
		return overloaded
	case codes.FailedPrecondition, codes.Unimplemented:
		return unconfigured
	}
	return crashed
}

// err is the outcome as [session.Backend] names it. While routers and edges
// differ, which a change of the configuration makes them do, a client may try
// again.
func (o outcome) err() error {
	switch o {
	case answered:
		return nil
	case timeout:
		return channel.ErrTimeout
	case unavailable, unconfigured:
		return channel.ErrUnavailable
	case overloaded:
		return channel.ErrOverloaded
	case crashed:
	}
	return channel.ErrCrashed
}

type metrics struct {
	calls             metric.Int64Counter
	duration          metric.Float64Histogram
	waiting, underWay metric.Int64UpDownCounter
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	calls, err1 := meter.Int64Counter("skein.edge.handler.calls",
		metric.WithDescription("calls to handlers, by how they ended"))
	duration, err2 := meter.Float64Histogram("skein.edge.handler.duration", metric.WithUnit("s"),
		metric.WithDescription("how long calls to handlers took, waiting included"))
	waiting, err3 := meter.Int64UpDownCounter("skein.edge.handler.waiting",
		metric.WithDescription("calls to handlers that wait for their turn"))
	underWay, err4 := meter.Int64UpDownCounter("skein.edge.handler.under_way",
		metric.WithDescription("calls to handlers under way"))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, fmt.Errorf("handler metrics: %w", err)
	}
	return &metrics{calls, duration, waiting, underWay}, nil
}

// watch follows one call: it waits, is under way, and ends.
type watch struct {
	*metrics

	of    []attribute.KeyValue
	began time.Time
	ctx   context.Context
}

func (m *metrics) begin(ctx context.Context, o order) *watch {
	w := &watch{metrics: m, began: time.Now(), ctx: ctx, of: []attribute.KeyValue{
		attribute.String("method", o.method), attribute.String("namespace", o.namespace),
	}}
	w.waiting.Add(ctx, 1, metric.WithAttributes(w.of...))
	return w
}

// starts ends the wait.
func (w *watch) starts() {
	w.waiting.Add(w.ctx, -1, metric.WithAttributes(w.of...))
	w.underWay.Add(w.ctx, 1, metric.WithAttributes(w.of...))
}

// ends says how a call ended that has started.
func (w *watch) ends(o outcome) {
	w.underWay.Add(w.ctx, -1, metric.WithAttributes(w.of...))
	w.duration.Record(w.ctx, time.Since(w.began).Seconds(), metric.WithAttributes(w.of...))
	w.count(o)
}

// refused says why a call never started.
func (w *watch) refused(o outcome) {
	w.waiting.Add(w.ctx, -1, metric.WithAttributes(w.of...))
	w.count(o)
}

func (w *watch) count(o outcome) {
	w.calls.Add(w.ctx, 1, metric.WithAttributes(append(w.of, attribute.String("outcome", string(o)))...))
}
