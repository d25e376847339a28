package exchange_test

import (
	"maps"
	"slices"

	"github.com/skein-mesh/skein/pkg/ring"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

// edge does what services/edge/uplink does: one stream to each router, the view
// that most of them report, rows at the owners, order across its changes.
type edge struct {
	w       *world
	id      string
	streams map[string]*stream
	view    *meshv1.View
	ring    ring.Ring
	wants   map[string]bool // topics; true once confirmed
	got     map[string][]string
	held    map[string][]*message // by topic
	busy    map[string]*outgoing  // by topic
}

// outgoing are the publishes of one topic that are not acknowledged.
type outgoing struct {
	at    string
	count int
}

type stream struct {
	e        *edge
	r        *router
	up, down *pipe
	attached *exchange.Edge
	view     *meshv1.View
	seq      uint64 // of the last interest step
	publish  uint64 // of the last publish
	pending  map[uint64]*message
	over     bool
}

func newEdge(w *world, id string) *edge {
	e := &edge{
		w: w, id: id, streams: map[string]*stream{}, wants: map[string]bool{}, got: map[string][]string{},
		held: map[string][]*message{}, busy: map[string]*outgoing{},
	}
	for _, r := range w.alive() {
		e.dial(r)
	}
	return e
}

func (e *edge) dial(r *router) {
	if r.dead || e.streams[r.id] != nil {
		return
	}
	s := &stream{e: e, r: r, up: e.w.pipe(), down: e.w.pipe(), pending: map[uint64]*message{}}
	e.streams[r.id] = s
	r.streams = append(r.streams, s)
	s.up.push(1, func() {
		s.attached, _, _ = r.x.Attach(&meshv1.Hello{Id: e.id, Incarnation: 1}, s)
	})
	if e.view != nil {
		s.announce()
	}
}

func (s *stream) breakOff() {
	if s.over {
		return
	}
	s.over = true
	s.up.breakOff()
	s.down.breakOff()
	s.e.w.pipe().push(0, func() {
		if s.attached != nil && !s.r.dead {
			s.r.x.Detach(s.attached)
		}
		if s.e.streams[s.r.id] == s {
			delete(s.e.streams, s.r.id)
		}
		for _, seq := range slices.Sorted(maps.Keys(s.pending)) {
			s.e.acked(s, seq, true)
		}
		s.e.dial(s.r)
		s.e.adopt()
	})
}

// Deliver, Done, Fence and View are the router's side: [exchange.Port].
func (s *stream) Deliver(b *meshv1.Broadcast) bool {
	s.down.push(3, func() { s.e.deliver(b) })
	return true
}

func (s *stream) Done(seq uint64, o exchange.Outcome) {
	s.down.push(4, func() { s.e.acked(s, seq, o.Error != 0) })
}

func (s *stream) Fence(number uint64) {
	s.down.push(6, func() { s.up.push(4, func() { s.r.x.Fenced(s.attached, number) }) })
}

func (s *stream) View(v *meshv1.View) {
	s.down.push(2, func() {
		s.view = v
		for _, m := range v.GetMembers() {
			s.e.dial(s.e.w.routers[m.GetId()])
		}
		if !s.e.adopt() {
			s.announce()
		}
		s.e.release()
	})
}

// adopt takes the view that most routers report, and announces it.
func (e *edge) adopt() bool {
	votes, views := map[uint64]int{}, map[uint64]*meshv1.View{}
	for _, s := range e.streams {
		if s.view != nil {
			votes[s.view.GetHash()]++
			views[s.view.GetHash()] = s.view
		}
	}
	var best *meshv1.View
	for _, hash := range slices.Sorted(maps.Keys(votes)) {
		if best == nil || votes[hash] > votes[best.GetHash()] ||
			votes[hash] == votes[best.GetHash()] && size(views[hash]) >= size(best) {
			best = views[hash]
		}
	}
	if best == nil || e.view != nil && e.view.GetHash() == best.GetHash() {
		return false
	}
	e.view = best
	var members []ring.Member
	for _, m := range best.GetMembers() {
		if m.GetState() == meshv1.State_STATE_READY {
			members = append(members, ring.Member{ID: m.GetId(), Incarnation: m.GetIncarnation()})
		}
	}
	e.ring = ring.New(members...)
	for _, id := range sortedIDs(e.streams) {
		e.streams[id].announce()
	}
	e.release()
	return true
}

func size(v *meshv1.View) (n int) {
	for _, m := range v.GetMembers() {
		if m.GetState() == meshv1.State_STATE_READY {
			n++
		}
	}
	return n
}

// announce tells a router all that this edge needs there, in two steps.
func (s *stream) announce() {
	if s.e.view == nil {
		return
	}
	var topics []string
	for _, topic := range sortedIDs(s.e.wants) {
		if s.e.ring.Owner(topic) == s.r.id {
			topics = append(topics, topic)
		}
	}
	half := len(topics) / 2
	hash := s.e.view.GetHash()
	s.interest(&meshv1.Interest{View: hash, Reset_: true, Add: topics[:half]})
	s.interest(&meshv1.Interest{View: hash, Add: topics[half:], Complete: true})
}

func (s *stream) interest(i *meshv1.Interest) {
	s.seq++
	i.Seq = s.seq
	s.up.push(2, func() {
		view := s.r.x.Interest(s.attached, i)
		s.down.push(5, func() { s.e.interestAck(s, i.GetSeq(), view) })
	})
}

// interestAck confirms the topics owned by the stream's router, if it and the
// edge agree on the view.
func (e *edge) interestAck(s *stream, seq, view uint64) {
	if e.view == nil || view != e.view.GetHash() || seq < s.seq {
		return
	}
	for topic := range e.wants {
		if e.ring.Owner(topic) == s.r.id {
			e.wants[topic] = true
		}
	}
}

func (e *edge) want(topic string) {
	if _, ok := e.wants[topic]; ok {
		return
	}
	e.wants[topic] = false
	if s := e.streams[e.ring.Owner(topic)]; s != nil {
		s.interest(&meshv1.Interest{View: e.view.GetHash(), Add: []string{topic}})
	}
}

func (e *edge) deliver(b *meshv1.Broadcast) {
	if _, ok := e.wants[b.GetTopic()]; ok {
		e.got[b.GetTopic()] = append(e.got[b.GetTopic()], b.GetEvent())
	}
}

func (e *edge) publish(m *message) {
	e.held[m.topic] = append(e.held[m.topic], m)
	e.release()
}

// release sends what need not wait for publishes of its topic at another
// router.
func (e *edge) release() {
	for _, topic := range sortedIDs(e.held) {
		for len(e.held[topic]) > 0 {
			owner := e.ring.Owner(topic)
			s, b := e.streams[owner], e.busy[topic]
			if s == nil || b != nil && b.count > 0 && b.at != owner {
				break
			}
			if b == nil || b.count == 0 {
				b = &outgoing{at: owner}
				e.busy[topic] = b
			}
			b.count++
			m := e.held[topic][0]
			e.held[topic] = e.held[topic][1:]
			s.send(m)
		}
	}
}

func (s *stream) send(m *message) {
	s.publish++
	seq := s.publish
	s.pending[seq] = m
	s.up.push(3, func() {
		s.r.x.Publish(exchange.FromEdge, s, &meshv1.Publish{Seq: seq, Broadcast: m.broadcast()})
	})
}

func (e *edge) acked(s *stream, seq uint64, failed bool) {
	m := s.pending[seq]
	if m == nil {
		e.w.t.Fatalf("%s: publish %d at %s was acknowledged twice", e.id, seq, s.r.id)
	}
	delete(s.pending, seq)
	m.done, m.failed = true, failed
	e.busy[m.topic].count--
	e.release()
}

// backend publishes through one router, and subscribes to everything there.
type backend struct {
	w       *world
	r       *router
	seq     uint64
	pending map[uint64]*message
	placed  bool
	got     map[string][]string // by topic
}

// Placed implements [exchange.Sink].
func (b *backend) Placed() { b.placed = true }

// Deliver implements [exchange.Sink].
func (b *backend) Deliver(m *meshv1.Broadcast) bool {
	b.got[m.GetTopic()] = append(b.got[m.GetTopic()], m.GetEvent())
	return true
}

func (b *backend) publish(m *message) {
	b.seq++
	b.pending[b.seq] = m
	b.r.x.Publish(exchange.FromBackend, b, &meshv1.Publish{Seq: b.seq, Broadcast: m.broadcast()})
}

// Done implements [exchange.Origin].
func (b *backend) Done(seq uint64, o exchange.Outcome) {
	m := b.pending[seq]
	if m == nil {
		b.w.t.Fatalf("%s: backend publish %d ended twice", b.r.id, seq)
	}
	delete(b.pending, seq)
	m.done, m.failed = true, o.Error != 0
}

func (m *message) broadcast() *meshv1.Broadcast {
	return &meshv1.Broadcast{Topic: m.topic, Event: m.name}
}
