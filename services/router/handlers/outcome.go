package handlers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// outcome is how a call ended. The set is closed: it is a label of metrics.
type outcome string

const (
	answered     outcome = "answered"
	timeout      outcome = "timeout"      // no answer in time
	unavailable  outcome = "unavailable"  // no instance took it, or the way to one broke
	overloaded   outcome = "overloaded"   // too many calls under way, here or at the backend
	crashed      outcome = "crashed"      // the backend failed
	rubbish      outcome = "rubbish"      // the answer makes no sense
	cancelled    outcome = "cancelled"    // the caller went away
	unconfigured outcome = "unconfigured" // no backend is named for it
)

// outcomeOf says how a call with ctx, its caller's, ended.
func outcomeOf(ctx context.Context, err error) outcome {
	if errors.As(err, new(answerError)) {
		return rubbish
	}
	switch status.Code(err) { //nolint:exhaustive // whatever a backend says besides is no answer
	case codes.OK:
		return answered
	case codes.DeadlineExceeded:
		return timeout
	case codes.Unavailable:
		return unavailable
	case codes.ResourceExhausted:
		if tooLarge(err) {
			return rubbish
		}
		return overloaded
	case codes.Canceled:
		if ctx.Err() != nil {
			return cancelled
		}
	}
	return crashed
}

// tooLarge reports whether the answer was larger than gRPC takes, which it
// tells in no other way.
func tooLarge(err error) bool {
	message := status.Convert(err).Message()
	return strings.HasPrefix(message, "grpc: ") && strings.Contains(message, "larger than max")
}

// explain is what the edge is told of a call to target that ended with err.
func (o outcome) explain(target string, err error) error {
	code := codes.Internal
	switch o {
	case timeout:
		code = codes.DeadlineExceeded
	case unavailable:
		code = codes.Unavailable
	case overloaded:
		code = codes.ResourceExhausted
	case cancelled:
		code = codes.Canceled
	case answered, crashed, rubbish, unconfigured:
	}
	if bad := (answerError{}); errors.As(err, &bad) {
		return status.Errorf(code, "handler %s: answer: %v", target, bad)
	}
	said := status.Convert(err)
	return status.Errorf(code, "handler %s: %s: %s", target, said.Code(), quoted(said.Message()))
}

// maxQuote bounds how much of a backend's message is passed on, in bytes.
const maxQuote = 256

// quoted is text of a stranger, fit for a log.
func quoted(text string) string {
	if len(text) > maxQuote {
		text = text[:maxQuote] + "..."
	}
	return fmt.Sprintf("%q", text)
}

// metrics of calls. They are recorded at once: a call costs far more.
type metrics struct {
	calls    metric.Int64Counter
	duration metric.Float64Histogram
	underWay metric.Int64UpDownCounter
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	calls, err1 := meter.Int64Counter("skein.router.handler.calls",
		metric.WithDescription("calls to handlers, by how they ended"))
	duration, err2 := meter.Float64Histogram("skein.router.handler.duration", metric.WithUnit("s"),
		metric.WithDescription("how long calls to handlers took, retries included"))
	underWay, err3 := meter.Int64UpDownCounter("skein.router.handler.under_way",
		metric.WithDescription("calls to handlers under way"))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("handler metrics: %w", err)
	}
	return &metrics{calls, duration, underWay}, nil
}

func (m *metrics) count(ctx context.Context, method, target string, o outcome) {
	m.calls.Add(ctx, 1, metric.WithAttributes(attribute.String("method", method),
		attribute.String("target", target), attribute.String("outcome", string(o))))
}

// begin counts a call as under way until the returned function is told how it
// ended.
func (m *metrics) begin(ctx context.Context, method, target string) func(outcome) {
	of := metric.WithAttributes(attribute.String("method", method), attribute.String("target", target))
	began := time.Now()
	m.underWay.Add(ctx, 1, of)
	return func(o outcome) {
		m.underWay.Add(ctx, -1, of)
		m.duration.Record(ctx, time.Since(began).Seconds(), of)
		m.count(ctx, method, target, o)
	}
}
