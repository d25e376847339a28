//go:build e2e

package observability

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// hop is a span that a message must leave: who makes it, and below which other.
type hop struct{ name, process, parent, parentProcess string }

// check fails unless the spans are these hops and no others, each below its
// parent. above is the id of what has no hop above it.
func check(t *testing.T, spans []span, above string, hops ...hop) {
	t.Helper()
	id := func(name, process string) string {
		i := slices.IndexFunc(spans, func(s span) bool { return s.Name == name && s.process == process })
		if i < 0 {
			return "none of " + process
		}
		return spans[i].SpanID
	}
	for _, h := range hops {
		i := slices.IndexFunc(spans, func(s span) bool { return s.Name == h.name && s.process == h.process })
		if i < 0 {
			t.Errorf("%s made no span %q", h.process, h.name)
			continue
		}
		want := above
		if h.parent != "" {
			want = id(h.parent, h.parentProcess)
		}
		if spans[i].ParentSpanID != want {
			t.Errorf("%q of %s is below %q, want %q of %s", h.name, h.process, spans[i].ParentSpanID, h.parent, h.parentProcess)
		}
	}
	if len(spans) != len(hops) {
		t.Errorf("%d spans, want %d: %+v", len(spans), len(hops), spans)
	}
}

const (
	theTrace = "0102030405060708090a0b0c0d0e0f10"
	theSpan  = "1112131415161718"
)

func TestTraces(t *testing.T) {
	c := startCollector(t)
	f := startFleet(t, c.endpoint, startBackend(t, c.endpoint))
	t.Run("of a browser's message", func(t *testing.T) { browsersMessage(t, c, f) })
	t.Run("of a topic that is watched", func(t *testing.T) { watchedTopic(t, c, f) })
	t.Run("of what a handler decides", func(t *testing.T) { askedHandler(t, c, f) })
	t.Run("of a backend's message", func(t *testing.T) { backendsMessage(t, c, f) })
	t.Run("of a backend's stream", func(t *testing.T) { backendsStream(t, c, f) })
}

// The page names its trace; the message passes three processes.
func browsersMessage(t *testing.T, c collector, f *fleet) {
	const topic = "room:browser"
	owner, _ := f.owner(t, topic)
	open(t, f.edges[1], topic, "")
	sender := open(t, f.edges[0], topic, "&traceparent=00-"+theTrace+"-"+theSpan+"-01")
	sender.send(t, "2", "hello")
	sender.await(t, `"hello"`)
	spans := c.await(t, theTrace, topic, 5)
	join := slices.IndexFunc(spans, func(s span) bool { return s.Name == "edge join" })
	if join < 0 || spans[join].ParentSpanID != theSpan || spans[join].process != "edge-a" {
		t.Errorf("the join is not in the page's trace: %+v", spans)
	} else {
		spans = slices.Delete(spans, join, join+1)
	}
	check(t, spans, theSpan,
		hop{name: "edge publish", process: "edge-a"},
		hop{"router fan-out", owner.ID, "edge publish", "edge-a"},
		hop{"edge deliver", "edge-a", "router fan-out", owner.ID},
		hop{"edge deliver", "edge-b", "router fan-out", owner.ID})
	for _, s := range spans {
		if s.Name == "edge deliver" && find(s.Attributes, "skein.subscribers") != "1" {
			t.Errorf("%s delivered to %q subscribers", s.process, find(s.Attributes, "skein.subscribers"))
		}
		if s.Name == "router fan-out" && find(s.Attributes, "skein.rows") != "2" {
			t.Errorf("fan-out to %q edges", find(s.Attributes, "skein.rows"))
		}
	}
}

// An operator has the messages of some topics recorded, while all runs: those of
// browsers and of backends, which enter the fleet at any edge or router.
func watchedTopic(t *testing.T, c collector, f *fleet) {
	const topic, published, watched = "room:watched", "room:watched-too", "room:watched*"
	owner, _ := f.owner(t, topic)
	sender := open(t, f.edges[0], topic, "")
	sender.send(t, "2", "unseen")
	sender.await(t, `"unseen"`)
	f.sample(t, "sample", watched, 1)
	sender.send(t, "3", "seen")
	sender.await(t, `"seen"`)
	check(t, c.await(t, "", topic, 3), "",
		hop{name: "edge publish", process: "edge-a"},
		hop{"router fan-out", owner.ID, "edge publish", "edge-a"},
		hop{"edge deliver", "edge-a", "router fan-out", owner.ID})

	owner, other := f.owner(t, published)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := other.client(t).Publish(ctx, &routerv1.PublishRequest{Message: &routerv1.Message{Topic: published, Event: "news"}}); err != nil {
		t.Fatal(err)
	}
	check(t, c.await(t, "", published, 3), "",
		hop{name: "router publish", process: other.ID},
		hop{"router forward", other.ID, "router publish", other.ID},
		hop{"router fan-out", owner.ID, "router forward", other.ID})
	f.sample(t, "unsample", watched, 0)
}

// within is the context of a backend's call in a recorded trace.
func within(t *testing.T, trace string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, "traceparent", "00-"+trace+"-"+theSpan+"-01")
}

// A backend calls the router that does not own the topic, which forwards.
func backendsMessage(t *testing.T, c collector, f *fleet) {
	const topic, trace = "room:backend", "2102030405060708090a0b0c0d0e0f10"
	owner, other := f.owner(t, topic)
	listener := open(t, f.edges[0], topic, "")
	open(t, f.edges[1], topic, "")
	message := &routerv1.Message{Topic: topic, Event: "news"}
	if _, err := other.client(t).Publish(within(t, trace), &routerv1.PublishRequest{Message: message}); err != nil {
		t.Fatal(err)
	}
	listener.await(t, `"news"`)
	check(t, c.await(t, trace, topic, 6), theSpan,
		hop{name: "skein.router.v1.RouterService/Publish", process: other.ID},
		hop{"router publish", other.ID, "skein.router.v1.RouterService/Publish", other.ID},
		hop{"router forward", other.ID, "router publish", other.ID},
		hop{"router fan-out", owner.ID, "router forward", other.ID},
		hop{"edge deliver", "edge-a", "router fan-out", owner.ID},
		hop{"edge deliver", "edge-b", "router fan-out", owner.ID})
}

// Nobody instruments a stream, but its messages are in its trace.
func backendsStream(t *testing.T, c collector, f *fleet) {
	const topic, trace = "room:stream", "3102030405060708090a0b0c0d0e0f10"
	owner, _ := f.owner(t, topic)
	listener := open(t, f.edges[0], topic, "")
	stream, err := owner.client(t).PublishStream(within(t, trace))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&routerv1.PublishStreamRequest{Seq: 1, Message: &routerv1.Message{Topic: topic, Event: "news"}}); err != nil {
		t.Fatal(err)
	}
	listener.await(t, `"news"`)
	check(t, c.await(t, trace, topic, 3), theSpan,
		hop{name: "router publish", process: owner.ID},
		hop{"router fan-out", owner.ID, "router publish", owner.ID},
		hop{"edge deliver", "edge-a", "router fan-out", owner.ID})
}
