package edge

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/services/edge/admit"
	"github.com/skein-mesh/skein/services/edge/callout"
	"github.com/skein-mesh/skein/services/edge/handshake"
)

// asked is the handler that decides about sockets. It implements
// [admit.Backend].
type asked struct {
	*callout.Callout
	tracer telemetry.Tracer
}

// Connect implements [admit.Backend].
func (a asked) Connect(ctx context.Context, r *handshake.Request, claims []byte) (admit.Answer, error) {
	ctx, span := a.tracer.Begin(ctx, "", "edge connect", trace.SpanKindServer)
	if span != nil {
		defer span.End()
	}
	answer, err := a.Callout.Connect(ctx, r, claims)
	telemetry.Fail(span, err)
	return admit.Answer{
		User: answer.User, Assigns: answer.Assigns, Refused: answer.Refused, Status: answer.Status, Reason: answer.Reason,
	}, err
}
