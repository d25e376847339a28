package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/bubble"
)

// recorded returns a tracer with a ratio and what it records.
func recorded(t *testing.T, ratio float64, topics ...TopicRatio) (Tracer, *Sampling, *tracetest.SpanRecorder) {
	t.Helper()
	s, err := NewSampling(ratio, topics...)
	if err != nil {
		t.Fatal(err)
	}
	spans := tracetest.NewSpanRecorder()
	return NewTracer(s, spans), s, spans
}

func begin(tracer Tracer, ctx context.Context, topic string) (context.Context, trace.Span) { //nolint:revive // reads like Begin
	return tracer.Begin(ctx, topic, "publish", trace.SpanKindProducer)
}

func TestTopicsHaveRatiosOfTheirOwn(t *testing.T) {
	tracer, s, _ := recorded(t, 0, TopicRatio{Topics: "room:*", Ratio: 1}, TopicRatio{Topics: "room:quiet", Ratio: 0})
	check := func(topic string, want bool) {
		t.Helper()
		if _, span := begin(tracer, t.Context(), topic); (span != nil) != want {
			t.Errorf("%q begins a trace: %v", topic, !want)
		}
	}
	check("room:1", true)
	check("room:quiet", false)
	check("rooms", false)
	check("", false)
	if err := s.Set("rooms", 1, time.Hour); err != nil {
		t.Fatal(err)
	}
	check("rooms", true)
	s.Reset("rooms")
	s.Reset("rooms")
	check("rooms", false)
}

func TestWhatIsConfiguredCountsAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		configured := TopicRatio{Topics: "room:1", Ratio: 1}
		s, err := NewSampling(0.5, configured)
		if err != nil {
			t.Fatal(err)
		}
		check := func(topics string, ratio float64, own bool, want ...TopicRatio) {
			t.Helper()
			if got, its := s.of(topics); got != ratio || its != own {
				t.Errorf("%s has %v, %v", topics, got, its)
			}
			if got := s.Topics(); !slices.Equal(got, want) {
				t.Errorf("topics are %v, want %v", got, want)
			}
		}
		set := func(topics string, ratio float64, d time.Duration) TopicRatio {
			if err := s.Set(topics, ratio, d); err != nil {
				t.Fatal(err)
			}
			return TopicRatio{topics, ratio, time.Now().Add(d)}
		}
		check("room:1", 1, true, configured)
		check("room:1", 0, true, set("room:1", 0, time.Minute))
		check("room:1", 0.25, true, set("room:1", 0.25, time.Minute))
		time.Sleep(time.Minute) // virtual time
		check("room:1", 1, true, configured)
		set("room:1", 0, time.Minute)
		s.Reset("room:1")
		s.Reset("room:1")
		check("room:1", 1, true, configured)
		check("lobby", 1, true, configured, set("lobby", 1, time.Minute))
		time.Sleep(time.Minute) // virtual time
		check("lobby", 0.5, false, configured)
		if s.Ratio() != 0.5 {
			t.Errorf("of all it is %v", s.Ratio())
		}
	})
}

func TestWhoFollowsATraceFollowsItsBeginning(t *testing.T) {
	tracer, s, spans := recorded(t, 0)
	ctx, span := begin(tracer, sampled(), "room:1")
	if span == nil || span.SpanContext().TraceID() != trace.SpanContextFromContext(sampled()).TraceID() {
		t.Fatalf("a recorded trace was not continued: %v", span)
	}
	own, next := tracer.Continue(Bytes(ctx), "room:1", "deliver", trace.SpanKindConsumer)
	if next == nil || len(own) != 25 {
		t.Fatalf("a message's trace was not continued: %v, %x", next, own)
	}
	next.End()
	if parent := spans.Ended()[0].Parent(); parent.SpanID() != span.SpanContext().SpanID() {
		t.Errorf("parent is %v", parent)
	}
	unrecorded := trace.ContextWithSpanContext(t.Context(), trace.SpanContextFromContext(sampled()).WithTraceFlags(0))
	always, _, _ := recorded(t, 1)
	if _, span := begin(always, unrecorded, "room:1"); span != nil {
		t.Error("a trace that its beginning does not record was recorded")
	}
	if err := s.Set("room:1", 1, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, span = begin(tracer, unrecorded, "room:1"); span == nil {
		t.Fatal("the ratio of a topic does not count")
	}
	read, ok := span.(sdktrace.ReadOnlySpan)
	if !ok || len(read.Links()) != 1 || read.Links()[0].SpanContext.TraceID() != trace.SpanContextFromContext(sampled()).TraceID() ||
		read.SpanContext().TraceID() == read.Links()[0].SpanContext.TraceID() {
		t.Errorf("a new trace does not link to the one it came from: %v", span)
	}
}

func TestRatioIsAShare(t *testing.T) {
	tracer, _, _ := recorded(t, 0.25)
	n := 0
	for range 10_000 {
		if _, span := begin(tracer, t.Context(), "room:1"); span != nil {
			n++
		}
	}
	if n < 2_000 || n > 3_000 { // eleven standard deviations
		t.Errorf("%d of 10,000 at a ratio of a quarter", n)
	}
}

func TestMostSpecialTopicsCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 1, 4, -1)
		s := &Sampling{ratio: 1}
		set := map[string]float64{}
		for i, topics := range rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string {
			return name.Draw(t, "name") + rapid.SampledFrom([]string{"", "*"}).Draw(t, "star")
		}), 0, 10, rapid.ID).Draw(t, "topics") {
			set[topics] = float64(i) / 100
			if err := s.Set(topics, set[topics], time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		topic := name.Draw(t, "topic")
		want, length, whole := 1.0, -1, false
		for topics, ratio := range set {
			prefix, star := strings.CutSuffix(topics, "*")
			matches := topics == topic || star && strings.HasPrefix(topic, prefix)
			if matches && (len(topics) > length || len(topics) == length && !whole) {
				want, length, whole = ratio, len(topics), !star
			}
		}
		if got, own := s.of(topic); own != (length >= 0) || got != want {
			t.Errorf("%q has %v, want %v of %v", topic, got, want, set)
		}
	})
}

func TestTopicRatiosAreBounded(t *testing.T) {
	s := &Sampling{}
	for i := range MaxTopicRatios {
		if err := s.Set(fmt.Sprint(i), 1, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if s.Set("more", 1, time.Hour) == nil {
		t.Error("there is no bound")
	}
	if err := s.Set("7", 0.5, time.Hour); err != nil || len(s.Topics()) != MaxTopicRatios {
		t.Errorf("one cannot be replaced: %v", err)
	}
}

func TestEveryBadTopicRatioIsReported(t *testing.T) {
	err := Config{TraceTopics: []string{"room:1", "=1", "a=2", "b=NaN", "c=x", "room:x=y=0.5"}}.Validate()
	if err == nil || strings.Count(err.Error(), "trace-topics:") != 5 || strings.Contains(err.Error(), "room:x=y") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseTopicRatio(f *testing.F) {
	for _, s := range []string{"room:*=0.5", "a=b=1", "=", "x=NaN", "x=-0", "x=1e-9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseTopicRatio(text)
		if err != nil {
			return
		}
		again, err := ParseTopicRatio(fmt.Sprintf("%s=%v", r.Topics, r.Ratio))
		if err != nil || again != r {
			t.Errorf("%q is %v, and again %v, %v", text, r, again, err)
		}
	})
}

func FuzzFromTraceparent(f *testing.F) {
	f.Add("00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01")
	f.Add("ff-0-0-0")
	f.Fuzz(func(t *testing.T, value string) {
		if b := Bytes(FromTraceparent(context.Background(), value)); b != nil && len(b) != 25 {
			t.Errorf("%q is %x", value, b)
		}
	})
}

func TestTraceparentComesInHeadersAndMetadata(t *testing.T) {
	const value = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"
	for name, ctx := range map[string]context.Context{
		"header":   FromHeader(t.Context(), http.Header{"Traceparent": {value}}),
		"value":    FromTraceparent(t.Context(), value),
		"metadata": FromMetadata(t.Context(), map[string][]string{"traceparent": {value}}),
	} {
		if b := Bytes(ctx); len(b) != 25 || b[0] != 1 || b[16] != 1 || b[24] != 1 {
			t.Errorf("%s: %x", name, b)
		}
	}
	if Bytes(FromMetadata(t.Context(), map[string][]string{"traceparent": {value, value}})) != nil {
		t.Error("two are not one")
	}
}

// BenchmarkBegin is what a message costs that is not recorded.
func BenchmarkBegin(b *testing.B) {
	for name, topics := range map[string][]TopicRatio{
		"plain": nil, "another topic has its own": {{Topics: "other:*", Ratio: 1}},
	} {
		b.Run(name, func(b *testing.B) {
			s, err := NewSampling(0, topics...)
			if err != nil {
				b.Fatal(err)
			}
			tracer, ctx := NewTracer(s, tracetest.NewSpanRecorder()), b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if _, span := tracer.Begin(ctx, "room:1", "publish", trace.SpanKindProducer); span != nil {
					b.Fatal("recorded")
				}
			}
		})
	}
}
