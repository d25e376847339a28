package session_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/services/edge/session"
)

// scene is some clients, some topics and a mesh whose every answer the property
// test chooses. It predicts who hears a broadcast from what clients were told.
type scene struct {
	t       *rapid.T
	mesh    *mesh
	clients []*player
	shouts  int
	backend *backend
	people  *people
	let     int  // joins that the handler let in
	lost    bool // some channel was: pushes may stay without an answer
}

type player struct {
	*client
	*observer
	sent map[string]string // ref to the kind of message
	to   map[string]string // ref to its topic
	refs int
}

// Topic a is relayed, and of b a handler decides.
var topics = []string{"a", "b"}

// mixed returns a mesh with both kinds of topics, and people in both.
func mixed(tb testing.TB, limits session.Limits) (*mesh, *backend, *people) {
	tb.Helper()
	b, p := &backend{}, &people{}
	presence := namespace.Presence{Key: "params.user"}
	m := newMeshOf(tb, limits, session.Deps{Backend: b, People: p}, namespace.Namespace{Topics: "a", Presence: presence},
		namespace.Namespace{Topics: "b", Join: namespace.JoinHandler, Push: namespace.PushHandler, Handler: "app", Presence: presence})
	return m, b, p
}

// Under any order of clients' messages and answers of mesh, handler and
// backends: joins, leaves and pushes are answered once, broadcasts come exactly
// while a channel is joined, channels end as the protocol says, and handler and
// people hear of each end once.
func TestProtocolHolds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := &scene{t: rt}
		s.mesh, s.backend, s.people = mixed(t, session.Limits{Channels: 2, Unanswered: 3})
		s.mesh.world = func() bool {
			c, ok := s.backend.next()
			if ok {
				s.let += decide(c, 0)
			}
			return ok
		}
		for i := range 3 {
			s.add(uint64(i) + 1)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"":        func(*rapid.T) { s.read() },
			"join":    func(t *rapid.T) { s.say(t, "join", "phx_join", `{}`) },
			"leave":   func(t *rapid.T) { s.say(t, "leave", "phx_leave", `{}`) },
			"push":    func(t *rapid.T) { s.say(t, "push", s.event(), `{}`) },
			"stale":   func(t *rapid.T) { s.say(t, "stale", s.event(), `{}`) },
			"bad":     func(t *rapid.T) { s.say(t, "bad", s.event(), `7`) },
			"confirm": s.confirm,
			"answer":  s.answer,
			"publish": s.publish,
			"lose":    s.lose,
			"decide":  s.decide,
			"kick":    s.kick,
			"hang up": s.hangUp,
		})
		s.finish()
	})
}

func (s *scene) add(id uint64) {
	s.clients = append(s.clients, newPlayer(s.mesh.client(id)))
}

func newPlayer(c *client) *player {
	p := &player{client: c, observer: newObserver(), sent: make(map[string]string), to: make(map[string]string)}
	p.closable = true
	return p
}

func (s *scene) event() string {
	s.shouts++
	return fmt.Sprintf("e%d", s.shouts)
}

func (s *scene) say(t *rapid.T, kind, event, payload string) {
	p := rapid.SampledFrom(s.clients).Draw(t, "client")
	topic := rapid.SampledFrom(topics).Draw(t, "topic")
	p.refs++
	ref, joinRef := fmt.Sprintf("%s%d", kind, p.refs), "null"
	switch kind {
	case "join":
		joinRef = `"` + ref + `"`
	case "stale":
		if joinRef = `"stale"`; p.joined[topic] == "" || p.paused {
			return // it may be answered: the channel may be gone when it is handled
		}
	}
	p.sent[ref], p.to[ref] = kind, topic
	p.text(fmt.Sprintf(`[%s,%q,%q,%q,%s]`, joinRef, ref, topic, event, payload))
	p.pump()
}

func (s *scene) confirm(t *rapid.T) {
	if topic, ok := s.mesh.nextWant(); ok {
		var err error
		if rapid.IntRange(0, 4).Draw(t, "fails") == 0 {
			err = channel.ErrUnavailable
		}
		s.mesh.hub.Confirm(topic, err)
		s.pump()
	}
}

func (s *scene) answer(t *rapid.T) {
	p, ok := s.mesh.nextPublish()
	switch {
	case !ok:
	case rapid.IntRange(0, 4).Draw(t, "fails") == 0:
		p.done(channel.ErrOverloaded)
	default:
		s.deliver(p.broadcast)
		p.done(nil)
	}
	s.pump()
}

// decide lets the handler answer the oldest question.
func (s *scene) decide(t *rapid.T) {
	if c, ok := s.backend.next(); ok {
		how := rapid.IntRange(0, 5).Draw(t, "how")
		s.lost = s.lost || how > 0
		s.let += decide(c, how)
		s.pump()
	}
}

// decide answers a question in one of some ways: 0 is the best. It returns how
// many joins were let in.
func decide(c call, how int) int {
	if c.join != nil {
		switch how {
		case 1:
			c.join(session.JoinAnswer{Refused: true}, nil)
		case 2:
			c.join(session.JoinAnswer{}, channel.ErrCrashed)
		case 3:
			c.join(session.JoinAnswer{}, channel.ErrTimeout)
		default:
			c.join(session.JoinAnswer{}, nil)
			return 1
		}
		return 0
	}
	a := session.PushAnswer{Reply: &session.Reply{}, Broadcasts: []session.Broadcast{{Event: session.Event{Name: c.event}}}}
	switch how {
	case 1:
		c.push(session.PushAnswer{}, channel.ErrCrashed)
	case 2:
		c.push(session.PushAnswer{}, channel.ErrTimeout)
	case 3:
		c.push(session.PushAnswer{}, nil)
	case 4:
		a.Stop = true
		c.push(a, nil)
	default:
		c.push(a, nil)
	}
	return 0
}

func (s *scene) kick(t *rapid.T) {
	p := rapid.SampledFrom(s.clients).Draw(t, "client")
	s.lost = true
	p.session.Disconnect("", rapid.SampledFrom(topics).Draw(t, "topic"))
	s.pump()
}

func (s *scene) publish(t *rapid.T) {
	b := channel.Broadcast{Topic: rapid.SampledFrom(topics).Draw(t, "topic"), Event: s.event(), Payload: []byte(`{}`)}
	b.Except = channel.Connection{
		Edge: rapid.SampledFrom([]string{"edge-1", "edge-2"}).Draw(t, "edge"),
		ID:   rapid.Uint64Range(0, 3).Draw(t, "except"),
	}
	s.deliver(b)
}

// deliver checks that exactly those hear b who know that they are joined.
func (s *scene) deliver(b channel.Broadcast) {
	s.read()
	var want []bool
	for _, p := range s.clients {
		excepted := b.Except == channel.Connection{Edge: "edge-1", ID: p.id}
		want = append(want, p.joined[b.Topic] != "" && p.closed == 0 && !excepted)
	}
	s.mesh.hub.Deliver(b)
	s.read()
	for i, p := range s.clients {
		got := p.heard[b.Event]
		if b.Topic == "b" && p.paused && got == 0 {
			continue // its channel may have ended because the next is being decided
		}
		if got > 1 || want[i] != (got == 1) {
			s.t.Fatalf("client %d heard %s %d times, and should: %v", p.id, b.Event, got, want[i])
		}
	}
}

func (s *scene) lose(t *rapid.T) {
	lost := rapid.SampledFrom(topics).Draw(t, "topic")
	s.lost = true
	s.mesh.hub.Fail(func(topic string) bool { return topic == lost })
	s.pump()
}

func (s *scene) hangUp(t *rapid.T) {
	i := rapid.IntRange(0, len(s.clients)-1).Draw(t, "client")
	s.clients[i].hangUp()
	s.clients[i] = s.clients[len(s.clients)-1]
	s.clients = s.clients[:len(s.clients)-1]
	s.add(uint64(4 + s.shouts)) // a later one never has the id of an earlier one
	s.shouts++
}

func (s *scene) pump() {
	for _, p := range s.clients {
		p.pump()
	}
}

func (s *scene) read() {
	for _, p := range s.clients {
		for _, f := range p.take() {
			if err := p.read(f, p.sent); err != nil {
				s.t.Fatalf("client %d: %v", p.id, err)
			}
		}
	}
}

// finish lets the mesh answer all that is left: then every client has been
// answered, and when they all hang up, nothing is left in the hub.
func (s *scene) finish() {
	for range 3 {
		for _, p := range s.clients {
			s.mesh.settle(p.client)
		}
	}
	s.read()
	for _, p := range s.clients {
		if p.paused || len(p.in) > 0 {
			s.t.Fatalf("client %d is still paused", p.id)
		}
		for ref, kind := range p.sent {
			must := kind == "join" || kind == "leave" && p.to[ref] == "a" || kind == "push" && !s.lost && p.to[ref] == "a"
			if must && p.answered[ref] != 1 {
				s.t.Fatalf("client %d: %d replies to %s", p.id, p.answered[ref], ref)
			}
		}
		p.hangUp()
	}
	s.mesh.settle()
	if n := s.mesh.hub.Stats().Subscribers; n != 0 {
		s.t.Fatalf("%d subscribers left", n)
	}
	s.people.balanced(s.t)
	if n := len(s.backend.ended()); n != s.let {
		s.t.Fatalf("the handler let %d channels in, and was told the end of %d", s.let, n)
	}
}
