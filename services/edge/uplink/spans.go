package uplink

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/telemetry"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// traced gives a publish a span if its trace is recorded: its context travels in
// the broadcast, and it ends with the answer.
func (u *Uplink) traced(b channel.Broadcast, done func(error)) (channel.Broadcast, func(error)) {
	ctx := telemetry.Context(context.Background(), b.Trace) //nolint:forbidigo // the message says what it belongs to
	ctx, span := u.deps.Tracer.Begin(ctx, b.Topic, "edge publish", trace.SpanKindProducer)
	if span == nil {
		return b, done
	}
	span.SetAttributes(attribute.Int("skein.payload_bytes", len(b.Payload)))
	b.Trace = telemetry.Bytes(ctx)
	return b, func(err error) {
		telemetry.Fail(span, err)
		span.End()
		done(err)
	}
}

// deliver hands one delivery to the hub, in a span if its trace is recorded.
func (u *Uplink) deliver(local Local, b *meshv1.Broadcast) {
	u.metrics.delivers(b.GetPublishedUs())
	_, span := u.deps.Tracer.Continue(b.GetTrace(), b.GetTopic(), "edge deliver", trace.SpanKindConsumer)
	n := local.Deliver(decode(b))
	if span != nil {
		span.SetAttributes(attribute.Int("skein.subscribers", n))
		span.End()
	}
}
