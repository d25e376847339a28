package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

func start(t *testing.T, cfg Config, out io.Writer) *Telemetry {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	tel, err := New(t.Context(), cfg, Identity{Service: "skein-test", ID: "t-1", Version: "1.2.3"}, out)
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

func sampled() context.Context {
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 2, 15: 3}, SpanID: trace.SpanID{4, 7: 5}, TraceFlags: trace.FlagsSampled,
	}))
}

func TestContextCrossesTheWire(t *testing.T) {
	b := Bytes(sampled())
	if len(b) != 25 {
		t.Fatalf("got %d bytes, want 25", len(b))
	}
	want, got := trace.SpanContextFromContext(sampled()), trace.SpanContextFromContext(Context(t.Context(), b))
	if got.TraceID() != want.TraceID() || got.SpanID() != want.SpanID() || !got.IsSampled() || !got.IsRemote() {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestContextOfNothing(t *testing.T) {
	unsampled := trace.SpanContextFromContext(sampled()).WithTraceFlags(0)
	if Bytes(t.Context()) != nil || Bytes(trace.ContextWithSpanContext(t.Context(), unsampled)) != nil {
		t.Error("an unsampled context has bytes")
	}
	for _, b := range [][]byte{nil, {}, make([]byte, 24), make([]byte, 25), make([]byte, 26)} {
		if ctx := Context(t.Context(), b); ctx != t.Context() {
			t.Errorf("%d bytes changed the context", len(b))
		}
	}
}

func FuzzContext(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(Bytes(sampled()))
	f.Add(make([]byte, 25))
	f.Fuzz(func(t *testing.T, b []byte) {
		again := Bytes(Context(context.Background(), b))
		if again != nil && !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

func TestLogLinesCarryTheTrace(t *testing.T) {
	var out bytes.Buffer
	tel := start(t, Config{LogLevel: slog.LevelInfo}, &out)
	tel.Log.DebugContext(sampled(), "hidden")
	tel.Log.With("topic", "room:1").WithGroup("g").InfoContext(sampled(), "shown", "n", 1)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	group, _ := line["g"].(map[string]any)
	if line["msg"] != "shown" || line["service"] != "skein-test" || line["id"] != "t-1" || line["topic"] != "room:1" ||
		!strings.HasPrefix(fmt.Sprint(group["trace_id"]), "0102") {
		t.Errorf("got %v", line)
	}
}

func TestWithoutEndpointNothingIsSampled(t *testing.T) {
	tel := start(t, Config{TraceRatio: 1}, io.Discard)
	ctx, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "new")
	defer span.End()
	if !span.SpanContext().IsValid() || span.SpanContext().IsSampled() || Bytes(ctx) != nil {
		t.Errorf("new span: %v", span.SpanContext())
	}
	_, child := tel.TracerProvider().Tracer("test").Start(sampled(), "child")
	defer child.End()
	if !child.SpanContext().IsSampled() {
		t.Error("a sampled trace from elsewhere was cut")
	}
	if _, own := tel.Tracer.Begin(t.Context(), "room:1", "own", trace.SpanKindProducer); own != nil {
		t.Error("a message began a trace")
	}
	if b, own := tel.Tracer.Continue(Bytes(sampled()), "room:1", "own", trace.SpanKindProducer); own != nil || !bytes.Equal(b, Bytes(sampled())) {
		t.Error("a message lost its trace, or got a span that goes nowhere")
	}
}

func TestRatioWithEndpoint(t *testing.T) {
	for ratio, want := range map[float64]bool{0: false, 1: true} {
		// Nothing listens there: spans are lost, which is logged, not returned.
		tel := start(t, Config{OTLPEndpoint: "http://127.0.0.1:1", TraceRatio: ratio}, io.Discard)
		_, call := tel.TracerProvider().Tracer("test").Start(t.Context(), "a call")
		_, span := tel.Tracer.Begin(t.Context(), "room:1", "a message", trace.SpanKindProducer)
		if call.SpanContext().IsSampled() != want || (span != nil) != want {
			t.Errorf("ratio %v: sampled is %v, and %v", ratio, call, span)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := tel.Run(ctx); err != nil {
			t.Error(err)
		}
	}
}

func TestValidate(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	for _, ratio := range []float64{-0.1, 1.1} {
		if (Config{TraceRatio: ratio}).Validate() == nil {
			t.Errorf("ratio %v was taken", ratio)
		}
	}
}

func TestAdmin(t *testing.T) {
	tel := start(t, Default(), io.Discard)
	counter, err := tel.Meter.Int64Counter("skein.drops", metric.WithDescription("messages dropped"))
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 3)
	latency, err := tel.Meter.Float64Histogram("skein.latency", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	latency.Record(t.Context(), 0.0002)

	var problem atomic.Value
	problem.Store("no router")
	url := serve(t, tel, func() error {
		if p, _ := problem.Load().(string); p != "" {
			return errors.New(p)
		}
		return nil
	})
	expect(t, url+"/healthz", 200, "ok\n")
	expect(t, url+"/readyz", 503, "no router\n")
	problem.Store("")
	expect(t, url+"/readyz", 200, "ok\n")
	expect(t, url+"/metrics", 200, "skein_drops_total 3", `skein_latency_seconds_bucket{le="0.00025"} 1`,
		`service_version="1.2.3"`, "go_goroutines", "process_resident_memory_bytes")
	expect(t, url+"/debug/pprof/goroutine?debug=1", 200, "goroutine profile")
	expect(t, url+"/", 404)
}

// serve runs the admin server until the test ends.
func serve(t *testing.T, tel *Telemetry, ready func() error) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tel.Admin(listener, ready).Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + listener.Addr().String()
}

func expect(t *testing.T, url string, status int, parts ...string) {
	t.Helper()
	resp, err := http.Get(url) // a server of this test
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() // only read
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		t.Errorf("%s: %d, %v, want %d", url, resp.StatusCode, err, status)
	}
	for _, part := range parts {
		if !strings.Contains(string(body), part) {
			t.Errorf("%s: no %q in\n%s", url, part, body)
		}
	}
}

func TestAdminReportsABrokenListener(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close() // broken on purpose
	if err := Nop().Admin(listener, func() error { return nil }).Run(t.Context()); err == nil {
		t.Error("no error")
	}
}
