package uplink

import (
	"errors"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/telemetry"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// three is a hub with three subscribers.
type three struct{ got []channel.Broadcast }

func (*three) Confirm(string, error)        {}
func (*three) Fail(func(topic string) bool) {}
func (h *three) Deliver(b channel.Broadcast) int {
	h.got = append(h.got, b)
	return 3
}

func traced(t *testing.T, ratio float64) (*Uplink, *tracetest.SpanRecorder) {
	t.Helper()
	sampling, err := telemetry.NewSampling(ratio)
	if err != nil {
		t.Fatal(err)
	}
	spans, tel := tracetest.NewSpanRecorder(), telemetry.Nop()
	return New(Config{ID: "e1", QueueBytes: 1 << 20}, Deps{
		Log: tel.Log, Meter: tel.Meter, Tracer: telemetry.NewTracer(sampling, spans),
	}), spans
}

func TestOneTraceFollowsASampledMessage(t *testing.T) {
	u, spans := traced(t, 1)
	var answers []error
	b, done := u.traced(channel.Broadcast{Topic: "room:1", Event: "e", Payload: []byte("{}")},
		func(err error) { answers = append(answers, err) })
	h := &three{}
	u.deliver(h, &meshv1.Broadcast{Topic: b.Topic, Trace: b.Trace})
	done(channel.ErrUnavailable)
	if len(answers) != 1 || !errors.Is(answers[0], channel.ErrUnavailable) {
		t.Errorf("answers: %v", answers)
	}
	ended := spans.Ended()
	if len(ended) != 2 || ended[0].Name() != "edge deliver" || ended[1].Name() != "edge publish" {
		t.Fatalf("spans: %v", ended)
	}
	if ended[0].Parent().SpanID() != ended[1].SpanContext().SpanID() {
		t.Error("the delivery is not in the trace of the publish")
	}
	attributes := attribute.NewSet(ended[0].Attributes()...)
	if n, ok := attributes.Value("skein.subscribers"); !ok || n.AsInt64() != 3 {
		t.Errorf("subscribers: %v", n)
	}
}

func TestAMessageThatIsNotSampledCarriesNothing(t *testing.T) {
	u, spans := traced(t, 0)
	b, done := u.traced(channel.Broadcast{Topic: "room:1"}, func(error) {})
	done(nil)
	h := &three{}
	u.deliver(h, &meshv1.Broadcast{Topic: "room:1"})
	if b.Trace != nil || len(spans.Ended()) != 0 || len(h.got) != 1 {
		t.Errorf("trace %x, %d spans, %d deliveries", b.Trace, len(spans.Ended()), len(h.got))
	}
}

func BenchmarkPublish(b *testing.B) {
	w := newBench(b)
	s := w.attach("a", viewOf("a"))
	message := channel.Broadcast{Topic: "room:1", Event: "e", Payload: make([]byte, 200)}
	acks := make([]*meshv1.PublishAck, 100)
	done := func(error) {}
	var items []item
	b.ReportAllocs()
	for seq := uint64(1); b.Loop(); {
		for i := range acks {
			if err := w.core.publish(message, done); err != nil {
				b.Fatal(err)
			}
			acks[i] = &meshv1.PublishAck{Seq: seq}
			seq++
		}
		items = s.port.out.Take(items)
		w.core.answers(s.port, acks, &w.fx)
		w.fx = effects{}
	}
}
