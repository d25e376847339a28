package router

import (
	"bytes"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/skein-mesh/skein/pkg/telemetry"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

// The span of a fan-out continues the message's trace, and what is sent on
// continues the span; the message itself stays as it came.
func TestFanoutSpan(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	sampling, err := telemetry.NewSampling(1)
	if err != nil {
		t.Fatal(err)
	}
	tracer := telemetry.NewTracer(sampling, recorder)
	ctx, parent := tracer.Begin(t.Context(), "room:1", "publish", trace.SpanKindProducer)
	original := telemetry.Bytes(ctx)
	b := &meshv1.Broadcast{Topic: "room:1", Event: "e", Payload: []byte("{}"), Except: &meshv1.Connection{Edge: "a", Id: 1}, Trace: original}

	within, end := spans{tracer}.Order(b)
	end(exchange.Fanout{Rows: 2, Floods: 1, Dropped: 1})

	ended := recorder.Ended()
	if len(ended) != 1 {
		t.Fatalf("%d spans", len(ended))
	}
	span := ended[0]
	if span.Parent().SpanID() != parent.SpanContext().SpanID() || span.SpanContext().TraceID() != parent.SpanContext().TraceID() {
		t.Error("the span does not continue the message's trace")
	}
	if id := span.SpanContext().SpanID(); !bytes.Equal(within.GetTrace()[16:24], id[:]) || !bytes.Equal(b.GetTrace(), original) {
		t.Error("the receivers do not continue the span, or the message changed")
	}
	if within.GetTopic() != b.GetTopic() || within.GetExcept().GetId() != 1 || !bytes.Equal(within.GetPayload(), b.GetPayload()) {
		t.Errorf("sent on: %v", within)
	}
	counts := map[attribute.Key]int64{}
	for _, a := range span.Attributes() {
		counts[a.Key] = a.Value.AsInt64()
	}
	if counts["skein.rows"] != 2 || counts["skein.floods"] != 1 || counts["skein.dropped"] != 1 {
		t.Errorf("attributes %v", span.Attributes())
	}
}
