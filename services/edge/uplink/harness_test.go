package uplink

import (
	"fmt"
	"time"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/memberpb"
	"github.com/skein-mesh/skein/pkg/ring"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// bench drives a core by hand: it plays the clock, the streams and the hub.
type bench struct {
	t         tester
	core      *core
	now       time.Time
	fx        effects
	confirmed map[string]error
	failed    func(string) bool
}

// tester is what [testing.T] and [rapid.T] have in common.
type tester interface {
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func newBench(t tester) *bench {
	now := time.Unix(1_700_000_000, 0)
	return &bench{t: t, core: newCore(1<<20, now), now: now, confirmed: map[string]error{}}
}

// apply is what Uplink.apply does.
func (b *bench) apply() {
	for _, a := range b.fx.answered {
		a.done(a.err)
	}
	for _, c := range b.fx.confirmed {
		if _, twice := b.confirmed[c.topic]; twice {
			b.t.Errorf("%s was confirmed twice", c.topic)
		}
		b.confirmed[c.topic] = c.err
	}
	if b.fx.lost != nil {
		b.failed = b.fx.lost
	}
	b.fx = effects{}
}

func (b *bench) pass(d time.Duration) {
	for end := b.now.Add(d); b.now.Before(end); {
		b.now = b.now.Add(SweepInterval)
		b.core.sweep(b.now, &b.fx)
		b.apply()
	}
}

// viewOf is the view in which the named routers are ready, in their first life.
func viewOf(ids ...string) *meshv1.View {
	var members []cluster.Member
	var ready []ring.Member
	for _, id := range ids {
		members = append(members, cluster.Member{
			ID: id, Incarnation: 1, Role: cluster.RoleRouter, State: cluster.StateReady, Address: id + ":1",
		})
		ready = append(ready, ring.Member{ID: id, Incarnation: 1})
	}
	return &meshv1.View{Hash: ring.New(ready...).Hash(), Members: memberpb.Encode(members)}
}

func (b *bench) attach(id string, v *meshv1.View) *stream {
	s := &stream{bench: b, port: newPort(false, 1<<20, nil)}
	if !b.core.greeted(s.port, &meshv1.Hello{Id: id, Incarnation: 1}) {
		b.t.Fatalf("%s was refused", id)
	}
	s.report(v)
	return s
}

// stream is the router's end of a port.
type stream struct {
	bench   *bench
	port    *port
	taken   []item // from the queue, not sent yet
	last    uint64 // interest step
	rows    map[string]bool
	carried []*meshv1.Publish
	fenced  uint64
}

func (s *stream) report(v *meshv1.View) {
	s.bench.core.reported(s.port, v, &s.bench.fx)
	s.bench.apply()
}

// carry sends at most n items, as the pump does.
func (s *stream) carry(n int) {
	if len(s.taken) == 0 {
		s.taken = s.port.out.Take(nil)
	}
	n = min(n, len(s.taken))
	if n == 0 {
		return
	}
	m := s.port.pack(s.taken[:n])
	s.taken = s.taken[n:]
	for _, i := range m.GetInterest() {
		if i.GetSeq() != s.last+1 {
			s.bench.t.Errorf("step %d follows %d", i.GetSeq(), s.last)
		}
		s.last = i.GetSeq()
		if i.GetReset_() {
			s.rows = map[string]bool{}
		}
		for _, topic := range i.GetAdd() {
			s.rows[topic] = true
		}
		for _, topic := range i.GetRemove() {
			delete(s.rows, topic)
		}
	}
	s.carried = append(s.carried, m.GetPublishes()...)
	s.fenced = max(s.fenced, m.GetFenced())
}

func (s *stream) carryAll() {
	for range 2 { // what was taken, and what came since
		s.carry(1 << 20)
	}
}

func (s *stream) ackInterest(view uint64) {
	s.bench.core.taken(s.port, &meshv1.InterestAck{Seq: s.last, View: view}, &s.bench.fx)
	s.bench.apply()
}

func (s *stream) ack(p *meshv1.Publish, e meshv1.PublishError) {
	s.bench.core.answers(s.port, []*meshv1.PublishAck{{Seq: p.GetSeq(), Error: e}}, &s.bench.fx)
	s.bench.apply()
}

func (s *stream) end() {
	s.bench.core.detached(s.port, &s.bench.fx)
	s.bench.apply()
}

// publish publishes and returns where the answers will be.
func (b *bench) publish(topic, payload string) *[]error {
	got := &[]error{}
	done := func(err error) { *got = append(*got, err) }
	if err := b.core.publish(channel.Broadcast{Topic: topic, Event: "e", Payload: []byte(payload)}, done); err != nil {
		done(err)
	}
	return got
}

// owned returns a topic that the router owns in the view of all.
func owned(id string, all ...string) string {
	r := decodeView(viewOf(all...)).ring
	for i := 0; ; i++ {
		if topic := fmt.Sprintf("room:%d", i); r.Owner(topic) == id {
			return topic
		}
	}
}

func payloads(publishes []*meshv1.Publish) string {
	s := ""
	for _, p := range publishes {
		s += string(p.GetBroadcast().GetPayload())
	}
	return s
}
