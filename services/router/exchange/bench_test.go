package exchange_test

import (
	"fmt"
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

func newBench(tb testing.TB, members ...*meshv1.Member) *bench {
	tb.Helper()
	b := &bench{t: tb, now: time.Unix(1e9, 0), ends: map[uint64]exchange.Outcome{}}
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
