package router

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/skein-mesh/skein/pkg/telemetry"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

// spans follow recorded broadcasts through the exchange: one span for the way to
// the owner, and one for the fan-out, whatever the number of receivers. What the
// next hop does becomes a child.
type spans struct{ tracer telemetry.Tracer }

// Order implements [exchange.Trace].
func (s spans) Order(b *meshv1.Broadcast) (*meshv1.Broadcast, func(exchange.Fanout)) {
	own, span := s.tracer.Continue(b.GetTrace(), b.GetTopic(), "router fan-out", trace.SpanKindProducer)
	if span == nil {
		return b, nil
	}
	span.SetAttributes(attribute.String("skein.event", b.GetEvent()), attribute.Int("skein.payload_bytes", len(b.GetPayload())))
	return within(b, own), func(f exchange.Fanout) {
		span.SetAttributes(
			attribute.Int("skein.rows", f.Rows), attribute.Int("skein.floods", f.Floods),
			attribute.Int("skein.subscriptions", f.Subscriptions), attribute.Int("skein.dropped", f.Dropped))
		span.End()
	}
}

// Forward implements [exchange.Trace].
func (s spans) Forward(b *meshv1.Broadcast, owner string) (*meshv1.Broadcast, func(exchange.Outcome)) {
	own, span := s.tracer.Continue(b.GetTrace(), b.GetTopic(), "router forward", trace.SpanKindProducer)
	if span == nil {
		return b, nil
	}
	span.SetAttributes(attribute.String("skein.owner", owner))
	return within(b, own), func(o exchange.Outcome) {
		if o.Error != meshv1.PublishError_PUBLISH_ERROR_UNSPECIFIED {
			span.SetStatus(codes.Error, o.Error.String())
		}
		span.End()
	}
}

// within is b with another trace context. b itself is not changed: others may
// read it.
func within(b *meshv1.Broadcast, context []byte) *meshv1.Broadcast {
	return &meshv1.Broadcast{
		Topic: b.GetTopic(), Event: b.GetEvent(), Payload: b.GetPayload(), Encoding: b.GetEncoding(),
		Except: b.GetExcept(), Trace: context, PublishedUs: b.GetPublishedUs(),
	}
}
