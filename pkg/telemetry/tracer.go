package telemetry

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TopicKey is the attribute that names the topic of a span. Metrics never have
// it: there may be millions.
const TopicKey = attribute.Key("skein.topic")

// Tracer starts the spans of messages. A span exists only for what is recorded:
// where there is none the message costs a look at the sampling. The zero value
// records nothing. All methods may be called concurrently.
type Tracer struct {
	spans    trace.Tracer
	sampling *Sampling // nil for nothing
}

// NewTracer returns a tracer whose spans processor gets, as they are started
// and ended.
func NewTracer(sampling *Sampling, processor sdktrace.SpanProcessor) Tracer {
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampling.sampler()), sdktrace.WithSpanProcessor(processor))
	return Tracer{provider.Tracer(scope), sampling}
}

// Records reports whether there is somewhere to send what it records.
func (t Tracer) Records() bool { return t.sampling != nil }

// Begin starts a span about a topic, if its trace is recorded: because ctx
// belongs to one that is, because the topic's ratio chooses it, or without
// anything before it the ratio of all. Else it returns ctx and nil. A trace that
// begins although the caller's is not recorded links to that. topic may be empty.
func (t Tracer) Begin(ctx context.Context, topic, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	if t.sampling == nil {
		return ctx, nil
	}
	parent := trace.SpanContextFromContext(ctx)
	var links []trace.Link
	if !parent.IsSampled() {
		if !t.sampling.begins(topic, parent.IsValid()) {
			return ctx, nil
		}
		if parent.IsValid() {
			links = []trace.Link{{SpanContext: parent}}
		}
		ctx = choose(ctx)
	}
	var about []attribute.KeyValue
	if topic != "" {
		about = []attribute.KeyValue{TopicKey.String(topic)}
	}
	return t.spans.Start(ctx, name, trace.WithSpanKind(kind), trace.WithLinks(links...), trace.WithAttributes(about...)) //nolint:spancheck // whoever asked ends it
}

// Continue starts a span within the trace that [Bytes] encoded, and returns its
// own bytes; nil without any.
func (t Tracer) Continue(b []byte, topic, name string, kind trace.SpanKind) ([]byte, trace.Span) {
	if len(b) == 0 || t.sampling == nil {
		return b, nil
	}
	ctx, span := t.Begin(Context(context.Background(), b), topic, name, kind) //nolint:forbidigo // the message says what it belongs to
	if span == nil {
		return b, nil
	}
	return Bytes(ctx), span
}

// Names of W3C's trace context where clients give it: as a header, or as a
// parameter, since a page can set no header of a WebSocket.
const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
)

// FromHeader returns ctx within the trace that a request belongs to, and ctx
// itself if it names none or a malformed one.
func FromHeader(ctx context.Context, header http.Header) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(header))
}

// FromTraceparent is [FromHeader] for the value alone.
func FromTraceparent(ctx context.Context, value string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceparent: value})
}

// FromMetadata is [FromHeader] for the metadata of a gRPC stream, whose keys are
// in lower case.
func FromMetadata(ctx context.Context, metadata map[string][]string) context.Context {
	carrier := propagation.MapCarrier{}
	for _, name := range []string{traceparent, tracestate} {
		if values := metadata[name]; len(values) == 1 {
			carrier[name] = values[0]
		}
	}
	return propagation.TraceContext{}.Extract(ctx, carrier)
}

// Fail notes an error that a span ends with; both may be nil.
func Fail(span trace.Span, err error) {
	if span != nil && err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
}
