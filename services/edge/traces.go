package edge

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/services/edge/handshake"
)

// traces follow what clients ask for. They implement [session.Tracer].
type traces struct{ telemetry.Tracer }

// Begin implements [session.Tracer].
func (t traces) Begin(within []byte, topic, name string) (own []byte, end func(error)) {
	ctx := telemetry.Context(context.Background(), within) //nolint:forbidigo // a client's message has no other beginning
	ctx, span := t.Tracer.Begin(ctx, topic, name, trace.SpanKindServer)
	if span == nil {
		return nil, nil
	}
	return telemetry.Bytes(ctx), func(failed error) {
		telemetry.Fail(span, failed)
		span.End()
	}
}

// paramTrace is how a page names its trace, which can set no header of a
// WebSocket.
const paramTrace = "traceparent"

// within returns ctx within the trace that a client's request names, if clients
// are believed.
func (e *Edge) within(ctx context.Context, r *handshake.Request) context.Context {
	if !e.cfg.TraceClients {
		return ctx
	}
	if value := r.Params.Get(paramTrace); value != "" {
		return telemetry.FromTraceparent(ctx, value)
	}
	return telemetry.FromHeader(ctx, r.Header)
}
