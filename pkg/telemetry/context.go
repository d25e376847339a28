package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// contextSize is the size of a trace context on the wire: 16 bytes trace id, 8
// span id, 1 flags.
const contextSize = 16 + 8 + 1

// Bytes is the trace context of ctx as it travels in a broadcast, or nil when
// the trace is not sampled: a message that nobody records carries nothing.
func Bytes(ctx context.Context) []byte {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() || !span.IsSampled() {
		return nil
	}
	traceID, spanID := span.TraceID(), span.SpanID()
	b := make([]byte, 0, contextSize)
	b = append(b, traceID[:]...)
	b = append(b, spanID[:]...)
	return append(b, byte(span.TraceFlags()))
}

// Context returns ctx within the trace that [Bytes] encoded, and ctx itself for
// nil or malformed bytes.
func Context(ctx context.Context, b []byte) context.Context {
	if len(b) != contextSize {
		return ctx
	}
	config := trace.SpanContextConfig{TraceFlags: trace.TraceFlags(b[24]), Remote: true}
	copy(config.TraceID[:], b)
	copy(config.SpanID[:], b[16:])
	span := trace.NewSpanContext(config)
	if !span.IsValid() {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, span)
}

// traceHandler adds the ids of the span in a record's context.
type traceHandler struct {
	slog.Handler
}

// Handle implements [slog.Handler].
func (h traceHandler) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r) //nolint:wrapcheck // a handler adds nothing to another's error
}

// WithAttrs implements [slog.Handler].
func (h traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h traceHandler) WithGroup(name string) slog.Handler {
	return traceHandler{h.Handler.WithGroup(name)}
}
