package kubernetes

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// failed is why costs were not written.
type failed string

// The reasons: a closed set.
const (
	failedForbidden   failed = "forbidden"   // a role does not allow it
	failedBusy        failed = "busy"        // the API asked to come later
	failedConflict    failed = "conflict"    // somebody else wrote the pod at the same moment
	failedRefused     failed = "refused"     // any other answer
	failedUnreachable failed = "unreachable" // no answer
)

// classify finds the reason of an error.
func classify(err error) failed {
	var answer apierrors.APIStatus
	switch {
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return failedForbidden
	case apierrors.IsTooManyRequests(err), apierrors.IsServerTimeout(err), apierrors.IsServiceUnavailable(err):
		return failedBusy
	case apierrors.IsConflict(err):
		return failedConflict
	case errors.As(err, &answer):
		return failedRefused
	}
	return failedUnreachable
}

type metrics struct {
	written   metric.Int64Counter
	failures  metric.Int64Counter
	strangers metric.Int64Gauge
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	written, err1 := meter.Int64Counter("skein.presence.kubernetes.written",
		metric.WithDescription("Costs of deletion that were written to pods."))
	failures, err2 := meter.Int64Counter("skein.presence.kubernetes.failures",
		metric.WithDescription("Looks at the pods after which costs were not all written, by reason."))
	strangers, err3 := meter.Int64Gauge("skein.presence.kubernetes.strangers",
		metric.WithDescription("Edges without a pod at the last look."))
	return &metrics{written, failures, strangers}, errors.Join(err1, err2, err3)
}

func (m *metrics) fail(ctx context.Context, why failed) {
	m.failures.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", string(why))))
}
