package exchange_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

const (
	ready   = meshv1.State_STATE_READY
	joining = meshv1.State_STATE_JOINING
	leaving = meshv1.State_STATE_LEAVING

	unavailable = meshv1.PublishError_PUBLISH_ERROR_UNAVAILABLE
	overloaded  = meshv1.PublishError_PUBLISH_ERROR_OVERLOADED
)

// bench is one exchange, "self", in the hands of a test.
type bench struct {
	*exchange.Exchange

	t    testing.TB
	now  time.Time
	seqs uint64
	ends map[uint64]exchange.Outcome // of publishes by backends
}

func newBench(t testing.TB, members ...*meshv1.Member) *bench {
	b := &bench{t: t, now: time.Unix(1e9, 0), ends: map[uint64]exchange.Outcome{}}
	b.Exchange = exchange.New(exchange.Options{ID: "self", Now: func() time.Time { return b.now }, Held: 4096})
	b.SetMembers(append(members, member("self", ready)))
	return b
}

func member(id string, s meshv1.State) *meshv1.Member {
	return &meshv1.Member{Id: id, Incarnation: 1, Role: meshv1.Role_ROLE_ROUTER, State: s}
}

// after lets time pass in ticks.
func (b *bench) after(d time.Duration) {
	for end := b.now.Add(d); b.now.Before(end); b.Tick() {
		b.now = b.now.Add(exchange.TickInterval)
	}
}

// Done implements [exchange.Origin].
func (b *bench) Done(seq uint64, o exchange.Outcome) { b.ends[seq] = o }

func (b *bench) publish(topic string) (seq uint64) {
	b.seqs++
	b.Publish(exchange.FromBackend, b, &meshv1.Publish{Seq: b.seqs, Broadcast: &meshv1.Broadcast{Topic: topic, Event: "e"}})
	return b.seqs
}

func (b *bench) ended(seq uint64) string {
	o, ok := b.ends[seq]
	switch {
	case !ok:
		return "waits"
	case o.Error != 0:
		return o.Error.String()
	default:
		return "by " + o.Owner
	}
}

func (b *bench) want(seq uint64, want string) {
	b.t.Helper()
	if got := b.ended(seq); got != want {
		b.t.Errorf("publish %d: %s, want %s", seq, got, want)
	}
}

// topicOf returns a topic that a router owns under the current view.
func (b *bench) topicOf(owner string) string {
	b.t.Helper()
	for i := range 1000 {
		if topic := fmt.Sprint("room:", i); b.Topic(topic).Owner == owner {
			return topic
		}
	}
	b.t.Fatalf("%s owns nothing", owner)
	return ""
}

// tap is a port that notes what it is told.
type tap struct {
	got    []string // topics of deliveries
	views  []*meshv1.View
	fences []uint64
	acks   []uint64
	full   bool
}

func (p *tap) Deliver(b *meshv1.Broadcast) bool {
	if !p.full {
		p.got = append(p.got, b.GetTopic())
	}
	return !p.full
}
func (p *tap) Fence(n uint64)                      { p.fences = append(p.fences, n) }
func (p *tap) View(v *meshv1.View)                 { p.views = append(p.views, v) }
func (p *tap) Done(seq uint64, _ exchange.Outcome) { p.acks = append(p.acks, seq) }

func (b *bench) attach(id string) (*exchange.Edge, *tap) {
	b.t.Helper()
	port := &tap{}
	e, _, err := b.Attach(&meshv1.Hello{Id: id, Incarnation: 1}, port)
	if err != nil {
		b.t.Fatal(err)
	}
	return e, port
}

func (b *bench) announce(e *exchange.Edge, topics ...string) {
	b.Interest(e, &meshv1.Interest{View: b.View().GetHash(), Reset_: true, Complete: true, Add: topics})
}

// wire is a link that notes what it carries.
type wire struct {
	forwards   []*meshv1.Publish
	deliveries []string
	controls   []*meshv1.PeerRequest
	full       bool
}

func (w *wire) Forward(p *meshv1.Publish) bool {
	if !w.full {
		w.forwards = append(w.forwards, p)
	}
	return !w.full
}

func (w *wire) Deliver(b *meshv1.Broadcast) bool {
	w.deliveries = append(w.deliveries, b.GetTopic())
	return !w.full
}
func (w *wire) Control(m *meshv1.PeerRequest) { w.controls = append(w.controls, m) }

func (w *wire) released() (last uint64) {
	for _, m := range w.controls {
		if m.GetReleased() != 0 {
			last = m.GetReleased()
		}
	}
	return last
}

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

func TestNewOwnerWaitsForTheEarlier(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(b *bench, in *exchange.Inbound, link *wire)
		want    string
	}{
		"nothing":        {func(*bench, *exchange.Inbound, *wire) {}, "waits"},
		"another view":   {func(b *bench, in *exchange.Inbound, _ *wire) { b.Released(in, 1) }, "waits"},
		"released":       {func(b *bench, in *exchange.Inbound, _ *wire) { b.Released(in, b.View().GetHash()) }, "by self"},
		"link broken":    {func(b *bench, _ *exchange.Inbound, link *wire) { b.LinkDown("other", link) }, "by self"},
		"time is up":     {func(b *bench, _ *exchange.Inbound, _ *wire) { b.after(exchange.SettleTime) }, "by self"},
		"time is not up": {func(b *bench, _ *exchange.Inbound, _ *wire) { b.after(exchange.SettleTime / 2) }, "waits"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, member("other", ready))
			link := &wire{}
			b.LinkUp("other", link)
			in := b.Accept("other", &relay{})
			b.after(2 * time.Second)
			topic := b.topicOf("other")
			b.SetMembers([]*meshv1.Member{member("other", leaving), member("self", ready)})
			seq := b.publish(topic)
			c.happens(b, in, link)
			b.want(seq, c.want)
		})
	}
}

func TestReleasedAfterEveryFence(t *testing.T) {
	b := newBench(t, member("other", ready))
	link := &wire{}
	b.LinkUp("other", link)
	first, p1 := b.attach("a")
	second, p2 := b.attach("b")
	_, p3 := b.attach("c")
	b.SetMembers([]*meshv1.Member{member("other", ready), member("third", ready), member("self", ready)})
	hash := b.View().GetHash()
	b.Fenced(first, p1.fences[len(p1.fences)-1])
	b.Detach(second)
	if link.released() == hash {
		t.Error("released before the third edge answered")
	}
	b.after(exchange.FenceTime)
	if link.released() != hash {
		t.Error("not released after a second")
	}
	if len(p2.fences) == 0 || len(p3.fences) == 0 || len(p1.views) != 2 {
		t.Error("some edge was not told")
	}
}

func TestHandOver(t *testing.T) {
	b := newBench(t, member("other", ready))
	link := &wire{}
	b.LinkUp("other", link)
	e, _ := b.attach("a")
	flooded, _ := b.attach("b")
	topic := b.topicOf("self")
	b.announce(e, topic)
	_ = flooded
	b.SetMembers([]*meshv1.Member{member("other", ready), member("self", leaving)})
	if link.released() == b.View().GetHash() {
		t.Error("released before the rows")
	}
	b.HandOver()
	var handed []*meshv1.HandedRows
	for _, m := range link.controls {
		handed = append(handed, m.GetRows()...)
	}
	if len(handed) != 1 || handed[0].GetEdge() != "a" || !handed[0].GetComplete() || !slices.Equal(handed[0].GetTopics(), []string{topic}) {
		t.Errorf("handed %v", handed)
	}
	if b.Left() {
		t.Error("left before anybody knew")
	}
}

func TestTakeOver(t *testing.T) {
	for name, c := range map[string]struct {
		steps func(b *bench, in *exchange.Inbound, e *exchange.Edge, rows *meshv1.HandedRows)
		want  exchange.Reason
	}{
		"nothing": {func(*bench, *exchange.Inbound, *exchange.Edge, *meshv1.HandedRows) {}, exchange.ReasonFlood},
		"complete rows": {func(b *bench, in *exchange.Inbound, _ *exchange.Edge, rows *meshv1.HandedRows) {
			b.Heard(in, &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{rows}})
		}, exchange.ReasonRow},
		"incomplete rows": {func(b *bench, in *exchange.Inbound, _ *exchange.Edge, rows *meshv1.HandedRows) {
			rows.Complete = false
			b.Heard(in, &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{rows}})
		}, exchange.ReasonFlood},
		"another life of the edge": {func(b *bench, in *exchange.Inbound, _ *exchange.Edge, rows *meshv1.HandedRows) {
			rows.Incarnation = 2
			b.Heard(in, &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{rows}})
		}, exchange.ReasonFlood},
		"too late for the edge": {func(b *bench, in *exchange.Inbound, _ *exchange.Edge, rows *meshv1.HandedRows) {
			b.Heard(in, &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{rows}})
			b.after(exchange.HandOverTime)
		}, exchange.ReasonFlood},
		"the edge begins anew": {func(b *bench, in *exchange.Inbound, e *exchange.Edge, rows *meshv1.HandedRows) {
			first := &meshv1.HandedRows{Edge: rows.GetEdge(), Incarnation: 1, View: rows.GetView(), Topics: rows.GetTopics()}
			b.Heard(in, &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{first}})
			b.Interest(e, &meshv1.Interest{View: rows.GetView(), Reset_: true})
			rows.Topics = nil
			b.Heard(in, &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{rows}})
		}, exchange.ReasonFlood},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, member("other", ready))
			b.LinkUp("other", &wire{})
			in := b.Accept("other", &relay{})
			topic := b.topicOf("other")
			e, _ := b.attach("a")
			b.announce(e)
			b.SetMembers([]*meshv1.Member{member("other", leaving), member("self", ready)})
			c.steps(b, in, e, &meshv1.HandedRows{Edge: "a", Incarnation: 1, View: b.View().GetHash(), Topics: []string{topic}, Complete: true})
			got := b.Topic(topic).Receivers
			if want := []exchange.Receiver{{ID: "a", Reason: c.want}}; !slices.Equal(got, want) {
				t.Errorf("receivers %v, want %v", got, want)
			}
		})
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
