// Package telemetry gives a process its logger, meter and tracer, and the admin
// port that shows them. It sets no globals: everything is passed on by its
// owner, so several services can live in one process.
//
// Logs are JSON lines that carry the trace of their context. Metrics are kept
// in a registry of their own and read at /metrics. Traces leave the process
// only when an OTLP endpoint is named.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	prometheusexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// scope names the instrumentation in metrics and spans.
const scope = "github.com/skein-mesh/skein"

// flushTime bounds how long a stopping process waits for its last spans.
const flushTime = 2 * time.Second

// Config says what is recorded and where it goes.
type Config struct {
	LogLevel     slog.Level `conf:"log-level"     usage:"least level of log lines: debug, info, warn or error"`
	OTLPEndpoint string     `conf:"otlp-endpoint" usage:"URL of an OTLP gRPC collector for traces, such as http://127.0.0.1:4317; empty follows OTEL_EXPORTER_OTLP_ENDPOINT, and without that no traces are recorded"`
	TraceRatio   float64    `conf:"trace-ratio"   usage:"share of new traces that are recorded, 0 to 1; traces that began elsewhere follow their beginning"`
	TraceTopics  []string   `conf:"trace-topics"  usage:"share of new traces of some topics, each TOPIC=RATIO, the topic with a star at its end for all that begin so; skein trace sample sets others for a while"`
}

// Default logs from level info and records one trace in a hundred, if there is
// somewhere to send it.
func Default() Config {
	return Config{LogLevel: slog.LevelInfo, TraceRatio: 0.01}
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var errs []error
	if !(c.TraceRatio >= 0 && c.TraceRatio <= 1) { // NaN is neither
		errs = append(errs, fmt.Errorf("trace-ratio: %v is not between 0 and 1", c.TraceRatio))
	}
	_, err := parseTopicRatios(c.TraceTopics)
	return errors.Join(append(errs, err)...)
}

// Identity says whose telemetry it is.
type Identity struct {
	Service string // "skein-edge"
	ID      string // of this process
	Version string
}

// Telemetry is the logger, meter and tracer of one process. Its fields are set
// once and may be used concurrently.
type Telemetry struct {
	Log    *slog.Logger
	Level  *Level // of Log
	Meter  metric.Meter
	Tracer Tracer

	// Sampling decides which messages begin a trace. Without somewhere to send
	// traces it decides about none.
	Sampling *Sampling

	meters   metric.MeterProvider
	tracers  trace.TracerProvider
	registry *prometheus.Registry
	flush    []func(context.Context) error
}

// Nop records nothing; for tests and tools.
func Nop() *Telemetry {
	t := &Telemetry{
		Log:      slog.New(slog.DiscardHandler),
		Level:    NewLevel(slog.LevelInfo),
		meters:   metricnoop.NewMeterProvider(),
		tracers:  tracenoop.NewTracerProvider(),
		registry: prometheus.NewRegistry(),
	}
	t.Meter, t.Sampling = t.meters.Meter(scope), &Sampling{}
	return t
}

// New returns the telemetry of a process that logs to stderr. With an OTLP
// endpoint it starts the goroutine that exports spans; [Telemetry.Run] ends it.
func New(ctx context.Context, cfg Config, id Identity, stderr io.Writer) (*Telemetry, error) {
	level := NewLevel(cfg.LogLevel)
	handler := slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level})
	t := &Telemetry{
		Level:    level,
		Log:      slog.New(traceHandler{handler}).With("service", id.Service, "id", id.ID),
		registry: prometheus.NewRegistry(),
	}
	res := resource.NewSchemaless(
		attribute.String("service.name", id.Service),
		attribute.String("service.instance.id", id.ID),
		attribute.String("service.version", id.Version),
	)
	if err := t.startMetrics(res); err != nil {
		return nil, err
	}
	if err := t.startTraces(ctx, cfg, res); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Telemetry) startMetrics(res *resource.Resource) error {
	exporter, err := prometheusexporter.New(
		prometheusexporter.WithRegisterer(t.registry), prometheusexporter.WithoutScopeInfo())
	if err != nil {
		return fmt.Errorf("metrics exporter: %w", err)
	}
	err = errors.Join(
		t.registry.Register(collectors.NewGoCollector()),
		t.registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})))
	if err != nil {
		return fmt.Errorf("process metrics: %w", err)
	}
	provider := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(exporter), sdkmetric.WithResource(res), sdkmetric.WithView(secondsView()))
	t.meters, t.Meter = provider, provider.Meter(scope)
	t.flush = append(t.flush, provider.Shutdown)
	return nil
}

// secondsView gives histograms of seconds buckets from 50 microseconds: a hop
// in the mesh takes less than the default's first bucket of 5 seconds.
func secondsView() sdkmetric.View {
	return sdkmetric.NewView(
		sdkmetric.Instrument{Name: "*", Kind: sdkmetric.InstrumentKindHistogram, Unit: "s"},
		sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{
			Boundaries: []float64{
				50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10,
			},
		}},
	)
}

// startTraces makes spans of calls without an exporter too: they carry the ids
// that log lines show, but none is recorded.
func (t *Telemetry) startTraces(ctx context.Context, cfg Config, res *resource.Resource) error {
	topics, err := parseTopicRatios(cfg.TraceTopics)
	if err != nil {
		return err
	}
	if t.Sampling, err = NewSampling(cfg.TraceRatio, topics...); err != nil {
		return err
	}
	sampler := sdktrace.ParentBased(sdktrace.NeverSample())
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	endpoint := endpointOf(cfg)
	if endpoint != "" {
		exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint))
		if err != nil {
			return fmt.Errorf("traces to %s: %w", endpoint, err)
		}
		sampler = t.Sampling.sampler()
		options = append(options, sdktrace.WithBatcher(loggedExporter{exporter, t.Log}))
	}
	provider := sdktrace.NewTracerProvider(append(options, sdktrace.WithSampler(sampler))...)
	t.tracers = provider
	if endpoint != "" {
		t.Tracer = Tracer{provider.Tracer(scope), t.Sampling}
	}
	t.flush = append(t.flush, provider.Shutdown)
	return nil
}

// endpointOf follows the variables that OpenTelemetry's specification names.
func endpointOf(cfg Config) string {
	if cfg.OTLPEndpoint != "" {
		return cfg.OTLPEndpoint
	}
	if traces := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); traces != "" {
		return traces
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
}

// TracerProvider is where the spans of [Telemetry.Tracer] come from.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.tracers }

// MeterProvider is where [Telemetry.Meter] comes from.
func (t *Telemetry) MeterProvider() metric.MeterProvider { return t.meters }

// Run waits for the end of ctx and flushes what is left. Start it first, so
// that it stops last.
func (t *Telemetry) Run(ctx context.Context) error {
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	var errs []error
	for _, f := range t.flush {
		errs = append(errs, f(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		t.Log.WarnContext(ctx, "telemetry was not flushed", "error", err)
	}
	return nil
}

// loggedExporter reports failures in the log rather than to OpenTelemetry's
// global handler, which prints lines of its own to stderr.
type loggedExporter struct {
	sdktrace.SpanExporter
	log *slog.Logger
}

// ExportSpans implements [sdktrace.SpanExporter].
func (e loggedExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.log.WarnContext(ctx, "spans were not exported", "spans", len(spans), "error", err)
	}
	return nil
}
