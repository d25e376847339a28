package exchange_test

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

// world runs routers and edges in one goroutine. Every stream is two pipes; a
// step lets a random pipe carry a few items. Time stands still between steps.
type world struct {
	t       *rapid.T
	now     time.Time
	routers map[string]*router
	edges   []*edge
	members []*meshv1.Member // what gossip will have told everybody in the end
	pipes   []*pipe
	sent    []*message
	serial  uint64
}

// message is one publish and what became of it.
type message struct {
	name, publisher, topic string
	done, failed           bool
	owed                   []*edge // whose subscriptions were confirmed before it was published
	owedBackends           []*backend
}

// pipe carries items in order. Several items may travel as one batch, of which
// the receiver handles low classes first: fields of a message in their order.
type pipe struct {
	items  []item
	broken bool
}

type item struct {
	class int
	run   func()
}

func (p *pipe) push(class int, run func()) {
	if !p.broken {
		p.items = append(p.items, item{class, run})
	}
}

func (p *pipe) breakOff() { p.broken, p.items = true, nil }

func (p *pipe) carry(n int) {
	batch := slices.Clone(p.items[:min(n, len(p.items))])
	p.items = p.items[len(batch):]
	slices.SortStableFunc(batch, func(a, b item) int { return a.class - b.class })
	for _, it := range batch {
		if !p.broken {
			it.run()
		}
	}
}

func newWorld(t *rapid.T, routers, edges int) *world {
	w := &world{t: t, now: time.Unix(1_000_000, 0), routers: map[string]*router{}}
	for range routers {
		w.addRouter()
	}
	for i := range edges {
		w.edges = append(w.edges, newEdge(w, fmt.Sprintf("edge-%d", i)))
	}
	w.quiesce()
	return w
}

func (w *world) pipe() *pipe {
	p := &pipe{}
	w.pipes = append(w.pipes, p)
	return p
}

// step carries something; false means that nothing waits.
func (w *world) step() bool {
	w.pipes = slices.DeleteFunc(w.pipes, func(p *pipe) bool { return p.broken })
	var full []*pipe
	for _, p := range w.pipes {
		if len(p.items) > 0 {
			full = append(full, p)
		}
	}
	if len(full) == 0 {
		return false
	}
	choice := w.draw(len(full)*4, "pipe")
	full[choice/4].carry(1 + choice%4*2)
	return true
}

// tick lets 20 ms pass. It reports whether some router still waits for more.
func (w *world) tick() (waits bool) {
	w.now = w.now.Add(exchange.TickInterval)
	for _, r := range w.alive() {
		waits = r.x.Tick() || waits
		waits = r.advance() || waits
	}
	return waits
}

// quiesce lets everything happen until nothing changes any more.
func (w *world) quiesce() {
	for calm, ticks := 0, 0; calm < 3; ticks++ {
		calm++
		for w.drainOnce() {
			calm = 0
		}
		if w.tick() {
			calm = 0
		}
		if ticks > 1000 {
			w.t.Fatalf("no end after 20 s\n%s", w.dump())
		}
	}
}

func (w *world) drainOnce() bool {
	any := false
	for _, p := range slices.Clone(w.pipes) {
		for len(p.items) > 0 && !p.broken {
			p.carry(4)
			any = true
		}
	}
	w.pipes = slices.DeleteFunc(w.pipes, func(p *pipe) bool { return p.broken })
	return any
}

func (w *world) alive() []*router {
	var list []*router
	for _, id := range sortedIDs(w.routers) {
		if r := w.routers[id]; !r.dead {
			list = append(list, r)
		}
	}
	return list
}

// tell gossips the members as they are now to every live router.
func (w *world) tell() {
	for _, r := range w.alive() {
		r.hear(slices.Clone(w.members))
	}
}

func (w *world) setState(id string, s meshv1.State) {
	for i, m := range w.members {
		if m.GetId() == id {
			w.members[i] = &meshv1.Member{Id: id, Incarnation: m.GetIncarnation(), Role: m.GetRole(), State: s, Address: m.GetAddress()}
		}
	}
	w.tell()
}

func (w *world) forget(id string) {
	w.members = slices.DeleteFunc(slices.Clone(w.members), func(m *meshv1.Member) bool { return m.GetId() == id })
	w.tell()
}

func sortedIDs[V any](m map[string]V) []string {
	ids := make([]string, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// router is one exchange and what services/router does around it.
type router struct {
	w       *world
	id      string
	x       *exchange.Exchange
	members []*meshv1.Member
	gossip  *pipe
	links   map[string]*link
	streams []*stream
	inbound []*link
	born    time.Time
	state   meshv1.State
	leaving time.Time
	dead    bool
	backend *backend
}

func (w *world) addRouter() *router {
	w.serial++
	r := &router{
		w: w, id: fmt.Sprintf("router-%d", w.serial), links: map[string]*link{}, born: w.now,
		state: meshv1.State_STATE_JOINING,
	}
	r.x = exchange.New(exchange.Options{ID: r.id, Now: func() time.Time { return w.now }})
	r.gossip = w.pipe()
	r.backend = &backend{w: w, r: r, pending: map[uint64]*message{}, got: map[string][]string{}}
	r.x.Subscribe(exchange.Filter{Name: "room:", Prefix: true}, r.backend)
	w.routers[r.id] = r
	w.members = append(slices.Clone(w.members), &meshv1.Member{
		Id: r.id, Incarnation: w.serial, Role: meshv1.Role_ROLE_ROUTER, State: r.state, Address: r.id,
	})
	r.take(slices.Clone(w.members)) // a router knows itself at once
	w.tell()
	return r
}

func (r *router) hear(members []*meshv1.Member) {
	r.gossip.push(0, func() { r.take(members) })
}

func (r *router) take(members []*meshv1.Member) {
	r.members = members
	r.x.SetMembers(members)
	seen := map[string]bool{}
	for _, m := range members {
		seen[m.GetId()] = true
		if r.links[m.GetId()] == nil && m.GetId() != r.id {
			r.dial(m.GetId())
		}
	}
	for _, id := range sortedIDs(r.links) {
		if !seen[id] {
			r.links[id].breakOff()
			delete(r.links, id)
		}
	}
}

// advance does what time and state allow: become ready, finish leaving. It
// reports whether the router is on its way to either.
func (r *router) advance() bool {
	switch {
	case r.state == meshv1.State_STATE_JOINING && len(r.gossip.items) == 0 &&
		(r.x.Prepared() || r.w.now.Sub(r.born) > 3*time.Second):
		r.state = meshv1.State_STATE_READY
		r.w.setState(r.id, r.state)
	case r.state == meshv1.State_STATE_LEAVING && (r.x.Left() || r.w.now.Sub(r.leaving) > 5*time.Second):
		r.stop()
		r.w.forget(r.id)
	}
	return !r.dead && r.state != meshv1.State_STATE_READY
}

func (r *router) leave() {
	r.state = meshv1.State_STATE_LEAVING
	r.w.setState(r.id, r.state)
	for len(r.gossip.items) > 0 { // a router knows itself at once
		r.gossip.carry(1)
	}
	r.x.HandOver()
	r.leaving = r.w.now
}

// stop ends every stream, as a crash does.
func (r *router) stop() {
	r.dead = true
	r.gossip.breakOff()
	for _, id := range sortedIDs(r.links) {
		r.links[id].breakOff()
	}
	for _, l := range r.inbound {
		l.breakOff()
	}
	for _, s := range r.streams {
		s.breakOff()
	}
}

// link is the stream that one router dialled to another.
type link struct {
	from, to *router
	up, down *pipe
	in       *exchange.Inbound
	live     bool // LinkUp was called
	over     bool
}

func (r *router) dial(id string) {
	to := r.w.routers[id]
	l := &link{from: r, to: to, up: r.w.pipe(), down: r.w.pipe()}
	r.links[id] = l
	if to.dead {
		l.breakOff()
		return
	}
	to.inbound = append(to.inbound, l)
	l.up.push(1, func() {
		l.in = to.x.Accept(r.id, replies{l})
		l.down.push(1, func() {
			l.live = true
			r.x.LinkUp(id, l)
		})
	})
}

func (l *link) breakOff() {
	if l.over {
		return
	}
	l.over = true
	l.up.breakOff()
	l.down.breakOff()
	news := l.from.w.pipe()
	news.push(0, func() {
		if l.in != nil && !l.to.dead {
			l.to.x.Dismiss(l.in)
		}
		if l.from.dead {
			return
		}
		var was exchange.Link
		if l.live {
			was = l
		}
		l.from.x.LinkDown(l.to.id, was)
		if l.from.links[l.to.id] == l {
			delete(l.from.links, l.to.id)
			if !l.to.dead && slices.ContainsFunc(l.from.members, func(m *meshv1.Member) bool { return m.GetId() == l.to.id }) {
				l.from.dial(l.to.id)
			}
		}
	})
}

func (l *link) Forward(p *meshv1.Publish) bool {
	l.up.push(5, func() { l.to.x.Forward(l.in, p) })
	return true
}

func (l *link) Deliver(b *meshv1.Broadcast) bool {
	l.up.push(6, func() { l.to.x.Arrived(b) })
	return true
}

func (l *link) Control(m *meshv1.PeerRequest) {
	class := 3
	switch {
	case m.GetSubscriptions() != nil:
		class = 2
		defer l.up.push(9, func() {
			l.down.push(2, func() { l.from.x.SubscriptionsDone(l.to.id, l, m.GetSubscriptions().GetSeq()) })
		})
	case m.GetRows() != nil:
		class = 4
	case m.GetReleased() != 0:
		l.up.push(7, func() { l.to.x.Released(l.in, m.GetReleased()) })
		return
	}
	l.up.push(class, func() { l.to.x.Heard(l.in, m) })
}

type replies struct{ l *link }

func (r replies) Done(seq uint64, o exchange.Outcome) {
	l := r.l
	l.down.push(1, func() { l.from.x.ForwardDone(l.to.id, l, &meshv1.PublishAck{Seq: seq, Error: o.Error}) })
}
