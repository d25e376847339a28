package exchange_test

import (
	"fmt"
	"slices"
	"testing"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

// listener is a sink that notes what it hears.
type listener struct {
	got    []string
	placed bool
	full   bool
}

func (l *listener) Deliver(b *meshv1.Broadcast) bool {
	l.got = append(l.got, b.GetTopic())
	return !l.full
}
func (l *listener) Placed() { l.placed = true }

func TestSubscriptionsMatch(t *testing.T) {
	published := []string{"room:1", "room:10", "room", "lobby", ""}
	for filter, want := range map[exchange.Filter][]string{
		{Name: "room:1"}:                 {"room:1"},
		{Name: "room:1", Prefix: true}:   {"room:1", "room:10"},
		{Name: "room", Prefix: true}:     {"room:1", "room:10", "room"},
		{Name: "", Prefix: true}:         published,
		{Name: "room:100", Prefix: true}: nil,
		{Name: "none"}:                   nil,
	} {
		b := newBench(t)
		sink := &listener{}
		s := b.Subscribe(filter, sink)
		for _, topic := range published {
			b.publish(topic)
		}
		if !slices.Equal(sink.got, want) || !sink.placed {
			t.Errorf("%+v: got %q, want %q, placed %v", filter, sink.got, want, sink.placed)
		}
		b.Unsubscribe(s)
		b.publish("room:1")
		if len(sink.got) != len(want) {
			t.Errorf("%+v: heard after its end", filter)
		}
	}
}

func TestSubscriptionIsPlacedOnceEveryRouterKnows(t *testing.T) {
	b := newBench(t, member("p", ready), member("q", ready))
	p, q := &wire{}, &wire{}
	b.LinkUp("p", p)
	sink := &listener{}
	b.Subscribe(exchange.Filter{Name: "room:1"}, sink)
	seq := func(w *wire) uint64 {
		for _, m := range slices.Backward(w.controls) {
			if m.GetSubscriptions() != nil {
				return m.GetSubscriptions().GetSeq()
			}
		}
		return 0
	}
	b.SubscriptionsDone("p", p, seq(p))
	b.LinkUp("q", q)
	b.Heard(b.Accept("q", &relay{}), &meshv1.PeerRequest{Edges: &meshv1.AttachedEdges{}})
	if sink.placed {
		t.Error("placed before q knows")
	}
	b.SubscriptionsDone("q", q, seq(q))
	if sink.placed {
		t.Error("placed before p can deliver")
	}
	b.Heard(b.Accept("p", &relay{}), &meshv1.PeerRequest{Edges: &meshv1.AttachedEdges{}})
	if !sink.placed {
		t.Error("not placed")
	}
	sink = &listener{}
	b.Subscribe(exchange.Filter{Name: "room:2"}, sink)
	b.SubscriptionsDone("p", p, seq(p))
	b.LinkDown("q", q)
	if !sink.placed {
		t.Error("still waits for a suspect")
	}
}

func TestPeerGetsEachBroadcastOnce(t *testing.T) {
	b := newBench(t, member("p", joining))
	link := &wire{}
	b.LinkUp("p", link)
	in := b.Accept("p", &relay{})
	b.Heard(in, &meshv1.PeerRequest{Subscriptions: &meshv1.Subscriptions{
		Seq: 1, Topics: []string{"room:1"}, Prefixes: []string{"", "room:"},
	}})
	b.publish("room:1")
	b.publish("lobby")
	if !slices.Equal(link.deliveries, []string{"room:1", "lobby"}) {
		t.Errorf("got %v", link.deliveries)
	}
	b.Heard(in, &meshv1.PeerRequest{Subscriptions: &meshv1.Subscriptions{Seq: 2, Topics: []string{"room:1"}}})
	b.publish("lobby")
	b.Dismiss(in)
	b.publish("room:1")
	if len(link.deliveries) != 2 {
		t.Errorf("got %v", link.deliveries)
	}
}

func TestSlowBackendsAreCounted(t *testing.T) {
	b := newBench(t)
	b.Subscribe(exchange.Filter{Prefix: true}, &listener{full: true})
	b.want(b.publish("room:1"), "by self")
	if n := b.Stats().Drops[exchange.DropSubscriberQueueFull]; n != 1 {
		t.Errorf("%d drops", n)
	}
}

// quiet is a port that only says yes.
type quiet struct{ tap }

func (*quiet) Deliver(*meshv1.Broadcast) bool { return true }
func (*quiet) Done(uint64, exchange.Outcome)  {}

// BenchmarkPublish is the cost of ordering one message of a topic with rows of
// two edges, among many other topics and edges.
func BenchmarkPublish(b *testing.B) {
	x := newBench(b, member("p", ready), member("q", ready))
	x.LinkUp("p", &wire{})
	x.LinkUp("q", &wire{})
	port := &quiet{}
	var many []string
	for i := range 20000 {
		many = append(many, fmt.Sprint("room:", i))
	}
	for i := range 8 {
		e, _, err := x.Attach(&meshv1.Hello{Id: fmt.Sprint("edge", i), Incarnation: 1}, port)
		if err != nil {
			b.Fatal(err)
		}
		if i < 2 {
			x.announce(e, many...)
		} else {
			x.announce(e)
		}
	}
	x.after(exchange.SettleTime)
	publish := &meshv1.Publish{Seq: 1, Broadcast: &meshv1.Broadcast{Topic: x.topicOf("self"), Event: "e"}}
	b.ReportAllocs()
	for b.Loop() {
		x.Publish(exchange.FromEdge, port, publish)
	}
}
