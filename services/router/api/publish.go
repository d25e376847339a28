package api

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	grpccodes "google.golang.org/grpc/codes"

	"github.com/skein-mesh/skein/pkg/telemetry"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

// publish hands a message of a backend to the exchange, in a span of its own if
// its trace is recorded. origin hears of it under seq.
func (s *Server) publish(ctx context.Context, origin exchange.Origin, seq uint64, b *meshv1.Broadcast) {
	ctx, span := s.tracer.Begin(ctx, b.GetTopic(), "router publish", trace.SpanKindProducer)
	if span != nil {
		origin = traced{origin, span}
	}
	b.Trace = telemetry.Bytes(ctx)
	b.PublishedUs = uint64(max(time.Now().UnixMicro(), 0))
	s.exchange.Publish(exchange.FromBackend, origin, &meshv1.Publish{Seq: seq, Broadcast: b})
}

// traced ends the span of a publish with its answer. It implements
// [exchange.Origin].
type traced struct {
	exchange.Origin

	span trace.Span
}

// Done implements [exchange.Origin].
func (t traced) Done(seq uint64, o exchange.Outcome) {
	if code, reason := explain(o); code != grpccodes.OK {
		t.span.SetStatus(codes.Error, reason)
	}
	t.span.End()
	t.Origin.Done(seq, o)
}
