package exchange_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

func TestReceivers(t *testing.T) {
	for name, c := range map[string]struct {
		announce func(b *bench, e *exchange.Edge)
		want     []string // topics of room:1 and room:2 that arrive
		reason   []exchange.Receiver
	}{
		"an edge that said nothing gets everything": {
			func(*bench, *exchange.Edge) {}, []string{"room:1", "room:2"}, []exchange.Receiver{{ID: "a", Reason: exchange.ReasonFlood}},
		},
		"a row gets its topic": {
			func(b *bench, e *exchange.Edge) { b.announce(e, "room:1") },
			[]string{"room:1"}, []exchange.Receiver{{ID: "a", Reason: exchange.ReasonRow}},
		},
		"another view's rows do not count": {
			func(b *bench, e *exchange.Edge) {
				b.Interest(e, &meshv1.Interest{View: 1, Reset_: true, Complete: true, Add: []string{"room:2"}})
			},
			[]string{"room:1", "room:2"}, []exchange.Receiver{{ID: "a", Reason: exchange.ReasonFlood}},
		},
		"nor do incomplete ones": {
			func(b *bench, e *exchange.Edge) {
				b.Interest(e, &meshv1.Interest{View: b.View().GetHash(), Reset_: true, Add: []string{"room:2"}})
			},
			[]string{"room:1", "room:2"}, []exchange.Receiver{{ID: "a", Reason: exchange.ReasonFlood}},
		},
		"nor those before a reset": {
			func(b *bench, e *exchange.Edge) {
				b.announce(e, "room:1")
				b.announce(e, "room:2")
			},
			[]string{"room:2"}, nil,
		},
		"rows come and go one by one": {
			func(b *bench, e *exchange.Edge) {
				b.announce(e, "room:2")
				b.Interest(e, &meshv1.Interest{View: b.View().GetHash(), Add: []string{"room:1"}, Remove: []string{"room:2"}})
			},
			[]string{"room:1"}, []exchange.Receiver{{ID: "a", Reason: exchange.ReasonRow}},
		},
		"an edge that is gone gets nothing": {
			func(b *bench, e *exchange.Edge) {
				b.announce(e, "room:1")
				b.Detach(e)
				b.Interest(e, &meshv1.Interest{View: b.View().GetHash(), Reset_: true, Complete: true, Add: []string{"room:1"}})
			},
			nil, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			e, port := b.attach("a")
			c.announce(b, e)
			for range 2 { // the second time after stale rows were swept
				if got := b.Topic("room:1").Receivers; !slices.Equal(got, c.reason) {
					t.Errorf("receivers %v, want %v", got, c.reason)
				}
				port.got = nil
				b.want(b.publish("room:1"), "by self")
				b.want(b.publish("room:2"), "by self")
				if !slices.Equal(port.got, c.want) {
					t.Errorf("got %v, want %v", port.got, c.want)
				}
				b.after(3 * time.Second)
			}
		})
	}
}

func TestTopicsAreListedInOrderAndBounded(t *testing.T) {
	b := newBench(t)
	var rooms []string
	for i := range 5000 {
		rooms = append(rooms, fmt.Sprint("room:", i))
	}
	e, _ := b.attach("a")
	b.announce(e, append([]string{"lobby", "rooms"}, rooms...)...)
	slices.Sort(rooms)
	for _, c := range []struct {
		prefix string
		limit  int
		want   []string
		more   bool
	}{
		{"", 1, []string{"lobby"}, true},
		{"lobby", 100, []string{"lobby"}, false},
		{"room:", 10, rooms[:10], true},
		{"room:", 4999, rooms[:4999], true},
		{"room:", 5000, rooms, false},
		{"none", 10, nil, false},
	} {
		if got, more := b.Topics(c.prefix, c.limit); !slices.Equal(got, c.want) || more != c.more {
			t.Errorf("%d of %q: %d from %.40q, more: %v", c.limit, c.prefix, len(got), got, more)
		}
	}
	b.Detach(e)
	if got, more := b.Topics("", 10); len(got) > 0 || more {
		t.Errorf("of an edge that has gone: %q", got)
	}
}

func TestSweepLeavesNoRow(t *testing.T) {
	b := newBench(t)
	var many []string
	for i := range 5000 {
		many = append(many, fmt.Sprint("room:", i))
	}
	first, _ := b.attach("a")
	second, _ := b.attach("b")
	b.announce(first, many...)
	b.announce(second, many...)
	if n := b.Stats().EdgeRows; n != 10000 {
		t.Errorf("%d rows", n)
	}
	b.Detach(first)
	b.announce(second, "room:1")
	if !b.Tick() {
		t.Error("nothing to sweep")
	}
	b.after(6 * time.Second)
	if b.Tick() {
		t.Error("still something to sweep")
	}
	if n := exchange.RowsKept(b.Exchange); n != 1 {
		t.Errorf("%d topics kept", n)
	}
}

func TestSlowEdgeDropsAreCounted(t *testing.T) {
	b := newBench(t)
	_, slow := b.attach("slow")
	_, quick := b.attach("quick")
	slow.full = true
	b.want(b.publish("room:1"), "by self")
	if len(quick.got) != 1 || b.Stats().Drops[exchange.DropEdgeQueueFull] != 1 {
		t.Errorf("quick got %v, drops %v", quick.got, b.Stats().Drops)
	}
}

func TestForwardOnce(t *testing.T) {
	b := newBench(t, member("other", ready))
	link := &wire{}
	b.LinkUp("other", link)
	topic := b.topicOf("other")
	b.after(2 * time.Second) // settled

	accepted, refused, lost := b.publish(topic), b.publish(topic), b.publish(topic)
	b.want(accepted, "waits")
	b.ForwardDone("other", link, &meshv1.PublishAck{Seq: link.forwards[0].GetSeq()})
	b.ForwardDone("other", link, &meshv1.PublishAck{Seq: link.forwards[1].GetSeq(), Error: overloaded})
	b.want(accepted, "by other")
	b.want(refused, overloaded.String())
	b.want(lost, "waits")
	b.LinkDown("other", link)
	b.want(lost, unavailable.String())
	b.want(b.publish(topic), "by self") // which owns everything now
	if len(link.forwards) != 3 {
		t.Errorf("%d forwards", len(link.forwards))
	}
}

func TestForwardToAFullLink(t *testing.T) {
	b := newBench(t, member("other", ready))
	b.LinkUp("other", &wire{full: true})
	b.want(b.publish(b.topicOf("other")), overloaded.String())
}

func TestPublishWithoutReachableOwner(t *testing.T) {
	b := newBench(t, member("other", ready))
	seq := b.publish(b.topicOf("other"))
	b.after(exchange.RouteTime - 100*time.Millisecond)
	b.want(seq, "waits")
	b.after(200 * time.Millisecond)
	b.want(seq, unavailable.String())

	seq = b.publish(b.topicOf("other"))
	b.LinkUp("other", &wire{})
	b.after(exchange.RouteTime)
	b.want(seq, "waits") // for the other's answer

	b = newBench(t, member("other", ready))
	seq = b.publish(b.topicOf("other"))
	b.SetMembers([]*meshv1.Member{member("self", ready)})
	b.want(seq, "by self")
}

func TestHeldPublishesAreBounded(t *testing.T) {
	b := newBench(t, member("other", ready))
	topic := b.topicOf("other")
	var last uint64
	for range 100 {
		last = b.publish(topic)
	}
	b.want(last, overloaded.String())
	b.want(1, "waits")
	if s := b.Stats(); s.HeldBytes > 4096 || s.Drops[exchange.DropHoldFull] == 0 {
		t.Errorf("%+v", s)
	}
	b.after(exchange.RouteTime + time.Second)
	if s := b.Stats(); s.HeldBytes != 0 || s.Outstanding != 0 {
		t.Errorf("%+v", s)
	}
}

// relay is an origin for forwards of a peer.
type relay struct{ ends []exchange.Outcome }

func (r *relay) Done(_ uint64, o exchange.Outcome) { r.ends = append(r.ends, o) }

func TestForwardThatMeetsNoOwner(t *testing.T) {
	b := newBench(t, member("other", ready))
	b.after(2 * time.Second)
	e, port := b.attach("a")
	b.announce(e)
	origin := &relay{}
	in := b.Accept("other", origin)
	b.Forward(in, &meshv1.Publish{Seq: 1, Broadcast: &meshv1.Broadcast{Topic: b.topicOf("other")}})
	b.after(exchange.ParkTime - 50*time.Millisecond)
	if len(port.got) != 0 {
		t.Error("flooded before its time")
	}
	b.after(100 * time.Millisecond)
	if len(port.got) != 1 || len(origin.ends) != 0 {
		t.Errorf("got %v, ends %v", port.got, origin.ends)
	}
	b.Fenced(e, port.fences[len(port.fences)-1])
	if len(origin.ends) != 1 || origin.ends[0].Error != 0 {
		t.Errorf("ends %v", origin.ends)
	}
}

func TestForwardThatMeetsAnOwnerToBe(t *testing.T) {
	b := newBench(t, member("other", ready))
	topic := b.topicOf("other")
	origin := &relay{}
	in := b.Accept("other", origin)
	b.Forward(in, &meshv1.Publish{Seq: 1, Broadcast: &meshv1.Broadcast{Topic: topic}})
	b.SetMembers([]*meshv1.Member{member("other", leaving), member("self", ready)})
	if len(origin.ends) != 1 || origin.ends[0].Owner != "self" {
		t.Errorf("ends %v", origin.ends) // nobody is linked who could have to release it
	}
}

func TestLaterLifeOfAnEdge(t *testing.T) {
	b := newBench(t)
	_, old := b.attach("a")
	later := &tap{}
	_, replaced, err := b.Attach(&meshv1.Hello{Id: "a", Incarnation: 2}, later)
	if err != nil || replaced != old {
		t.Error(replaced, err)
	}
	if _, _, err := b.Attach(&meshv1.Hello{Id: "a", Incarnation: 1}, old); err == nil {
		t.Error("an earlier life was let in")
	}
	b.publish("room:1")
	if len(old.got) != 0 || len(later.got) != 1 {
		t.Errorf("old got %v, later %v", old.got, later.got)
	}
}

func TestBootstrapStreamReplacesNoOther(t *testing.T) {
	hello := func(incarnation uint64, bootstrap bool) *meshv1.Hello {
		return &meshv1.Hello{Id: "a", Incarnation: incarnation, Bootstrap: bootstrap}
	}
	for name, c := range map[string]struct {
		earlier, later *meshv1.Hello
		replaces       bool
	}{
		"bootstrap after a stream":                     {hello(1, false), hello(1, true), false},
		"bootstrap after bootstrap":                    {hello(1, true), hello(1, true), true},
		"a stream after bootstrap":                     {hello(1, true), hello(1, false), true},
		"bootstrap of a later life":                    {hello(1, false), hello(2, true), true},
		"a stream after one that was left half open":   {hello(1, false), hello(1, false), true},
		"bootstrap of an earlier life after bootstrap": {hello(2, true), hello(1, true), false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			earlier, later := &tap{}, &tap{}
			if _, _, err := b.Attach(c.earlier, earlier); err != nil {
				t.Fatal(err)
			}
			_, replaced, err := b.Attach(c.later, later)
			if (replaced == earlier) != c.replaces || (err == nil) != c.replaces {
				t.Errorf("replaced %v, %v", replaced, err)
			}
			b.publish("room:1")
			if got, missed := len(later.got), len(earlier.got); c.replaces != (got == 1) || c.replaces != (missed == 0) {
				t.Errorf("the later stream got %d messages, the earlier %d", got, missed)
			}
		})
	}
}

func TestSuspectIsShownAsJoining(t *testing.T) {
	b := newBench(t, member("other", ready))
	link := &wire{}
	b.LinkUp("other", link)
	both := b.View().GetHash()
	b.LinkDown("other", link)
	alone := b.View()
	if alone.GetHash() == both || alone.GetMembers()[0].GetState() != joining {
		t.Errorf("view %v", alone)
	}
	if got := b.Suspects(); !slices.Equal(got, []string{"other"}) {
		t.Errorf("suspects %v", got)
	}
	b.LinkUp("other", link)
	if b.View().GetHash() != both {
		t.Errorf("view %v", b.View())
	}
}
