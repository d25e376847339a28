package people

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/ring"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/people"
)

// fleet is edges and presence instances without a network: what one says to
// another waits in a list until it is handed over. Time is a number.
type fleet struct {
	t         failer
	now       time.Time
	edges     []*edge
	instances []*instance
	lives     uint64
	maxListed int
	last      time.Time // when the set of instances changed last
	story     [][]any   // what happened, to explain a failure
}

func (f *fleet) note(what ...any) {
	f.story = append(f.story, append([]any{f.now.Format("04:05.000")}, what...))
}

// fail ends the test with the last of what happened.
func (f *fleet) fail(format string, args ...any) {
	f.t.Helper()
	var story strings.Builder
	for _, line := range f.story[max(0, len(f.story)-100):] {
		fmt.Fprintln(&story, line...)
	}
	f.t.Fatalf("%s\n%s", story.String(), fmt.Sprintf(format, args...))
}

// failer is [testing.T] and [rapid.T].
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

type instance struct {
	id     string
	life   uint64
	ledger *people.Ledger // nil while it is down
}

type edge struct {
	fleet   *fleet
	id      string
	core    *core
	wires   map[*instance]*wire
	clients map[string][]*client // by topic
	adopted time.Time            // when it last looked at the view
}

// wire is the stream of an edge to an instance.
type wire struct {
	edge     *edge
	instance *instance
	life     uint64
	at       *people.Edge
	up       []*presencev1.PeopleStep
	down     []*presencev1.PeopleUpdate
	since    time.Time // of the oldest message
}

func (w *wire) say(s *presencev1.PeopleStep) { w.mark(); w.up = append(w.up, s) }

// Tell implements [people.Port].
func (w *wire) Tell(u *presencev1.PeopleUpdate) { w.mark(); w.down = append(w.down, u) }

func (w *wire) mark() {
	if len(w.up)+len(w.down) == 0 {
		w.since = w.edge.fleet.now
	}
}

func newFleet(t failer, edges, instances, maxListed int) *fleet {
	f := &fleet{t: t, now: time.Unix(1_700_000_000, 0), maxListed: maxListed}
	for i := range instances {
		f.instances = append(f.instances, &instance{id: fmt.Sprintf("presence-%d", i)})
		f.startInstance(i)
	}
	for i := range edges {
		e := &edge{fleet: f, id: fmt.Sprintf("edge-%d", i)}
		f.edges = append(f.edges, e)
		e.start()
	}
	f.settle(3 * time.Second)
	return f
}

func (f *fleet) startInstance(i int) {
	f.lives++
	f.instances[i].life, f.instances[i].ledger = f.lives, people.New(people.DefaultLimits(), f.now)
	f.last = f.now
}

func (f *fleet) stopInstance(i int) {
	f.instances[i].ledger = nil
	f.last = f.now
	for _, e := range f.edges {
		e.hangUp(f.instances[i])
	}
}

func (f *fleet) view() ring.Ring {
	var ready []ring.Member
	for _, i := range f.instances {
		if i.ledger != nil {
			ready = append(ready, ring.Member{ID: i.id, Incarnation: i.life})
		}
	}
	return ring.New(ready...)
}

// start begins a life of an edge; whoever was there is gone.
func (e *edge) start() {
	e.fleet.lives++
	for i := range e.wires {
		e.hangUp(i)
	}
	cfg := Default(e.id, e.fleet.lives)
	e.core, e.wires, e.clients = newCore(cfg), map[*instance]*wire{}, map[string][]*client{}
	e.adopted = e.fleet.now
}

// dial connects to an instance that is there.
func (e *edge) dial(i *instance) {
	if w := e.wires[i]; i.ledger == nil || w != nil && w.life == i.life {
		return
	}
	w := &wire{edge: e, instance: i, life: i.life}
	at, _, err := i.ledger.Attach(&presencev1.PeopleHello{Edge: e.id, Incarnation: e.core.cfg.Incarnation}, w, e.fleet.now)
	if err != nil {
		e.fleet.fail("attach: %v", err)
	}
	w.at, e.wires[i] = at, w
	e.core.attach(i.id, w)
}

// hangUp breaks a stream: what was under way is lost.
func (e *edge) hangUp(i *instance) {
	w := e.wires[i]
	if w == nil {
		return
	}
	delete(e.wires, i)
	e.fleet.note(e.id, "hangs up", i.id)
	e.core.detach(i.id, w)
	if i.ledger != nil && i.life == w.life {
		i.ledger.Detach(w.at, w, e.fleet.now)
	}
}

// hand hands over up to n messages each way.
func (w *wire) hand(n int) {
	f := w.edge.fleet
	for range min(n, len(w.up)) {
		step := w.up[0]
		f.note(w.edge.id, "says to", w.instance.id, step)
		w.up = w.up[1:]
		switch s := step.GetStep().(type) {
		case *presencev1.PeopleStep_Change:
			w.instance.ledger.Change(w.at, s.Change, f.now)
		case *presencev1.PeopleStep_Announcing:
			w.instance.ledger.Announcing(w.at, f.now)
		case *presencev1.PeopleStep_Announced:
			w.instance.ledger.Announced(w.at, s.Announced, f.now)
		}
	}
	for range min(n, len(w.down)) {
		u := w.down[0]
		f.note(w.edge.id, "hears from", w.instance.id, u)
		w.down = w.down[1:]
		w.edge.core.take(u)
	}
	w.since = f.now
}

// How late things may be in a fleet that works.
const (
	slowest = 300 * time.Millisecond // message
	slowish = 500 * time.Millisecond // view, or a new stream
)

// pass lets time go by, and whatever is late happen.
func (f *fleet) pass(d time.Duration) {
	for ; d > 0; d -= 50 * time.Millisecond {
		f.now = f.now.Add(50 * time.Millisecond)
		for _, e := range f.edges {
			if f.now.Sub(max2(e.adopted, f.last)) >= slowish {
				e.look()
			}
			for _, w := range e.wires {
				if len(w.up)+len(w.down) > 0 && f.now.Sub(w.since) >= slowest {
					w.hand(1 << 20)
				}
			}
		}
		for _, i := range f.instances {
			if i.ledger != nil && i.ledger.Waits() {
				i.ledger.Tick(f.now)
			}
		}
		f.show()
	}
}

func max2(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// look adopts the view as it is and connects to everybody.
func (e *edge) look() {
	e.adopted = e.fleet.now
	if view := e.fleet.view(); view.Hash() != e.core.view.Hash() {
		e.fleet.note(e.id, "adopts", view.Hash(), view.Members())
	}
	e.core.adopt(e.fleet.view())
	for _, i := range e.fleet.instances {
		e.dial(i)
	}
}

// settle lets everything that waits happen, for a while.
func (f *fleet) settle(d time.Duration) {
	for ; d > 0; d -= 100 * time.Millisecond {
		for _, e := range f.edges {
			e.look()
		}
		for range 3 {
			for _, e := range f.edges {
				for _, w := range e.wires {
					w.hand(1 << 20)
				}
			}
		}
		f.pass(100 * time.Millisecond)
	}
}

// show shows clients what is due.
func (f *fleet) show() {
	for _, e := range f.edges {
		for {
			s, _, ok := e.core.next(f.now)
			if !ok {
				break
			}
			e.send(s)
		}
	}
}

// send is what [Tracker.send] does.
func (e *edge) send(s showing) {
	t := &Tracker{deps: Deps{Deliver: e.deliver}}
	t.send(s)
}

func (e *edge) deliver(b channel.Broadcast) int {
	for _, c := range e.clients[b.Topic] {
		c.take(b.Event, b.Payload)
	}
	return len(e.clients[b.Topic])
}

// join opens a channel; key "" only looks on.
func (e *edge) join(topic, key string) *client {
	c := &client{fleet: e.fleet, presence: presence{list: map[string]entry{}}, topic: topic, count: -1}
	e.clients[topic] = append(e.clients[topic], c)
	e.core.enter(topic, c, e.fleet.maxListed, who(key), e.fleet.now)
	return c
}

func who(key string) *person {
	if key == "" {
		return nil
	}
	return &person{key, `{"on":"` + key + `"}`}
}

func (e *edge) leave(topic string, c *client, moving bool) {
	e.clients[topic] = slices.DeleteFunc(e.clients[topic], func(o *client) bool { return o == c })
	e.core.leave(topic, c, moving)
}

func (e *edge) moveAll() {
	for topic, clients := range e.clients {
		for _, c := range slices.Clone(clients) {
			e.leave(topic, c, true)
		}
	}
}

// own are the rows of an edge's channels in a topic.
func (e *edge) own(topic string) (rows []*row) {
	if t := e.core.topics[topic]; t != nil {
		for _, r := range t.members {
			if r != nil {
				rows = append(rows, r)
			}
		}
	}
	return rows
}

// live are the refs of everybody in a topic.
func (f *fleet) live(topic string) (refs []string) {
	for _, e := range f.edges {
		for _, r := range e.own(topic) {
			refs = append(refs, r.GetRef())
		}
	}
	slices.Sort(refs)
	return refs
}

// consistent fails unless everybody sees exactly who is there.
func (f *fleet) consistent(topics ...string) {
	f.t.Helper()
	for _, topic := range topics {
		live := f.live(topic)
		for _, e := range f.edges {
			t := e.core.topics[topic]
			if t == nil {
				continue
			}
			f.replica(e, t, live)
			for _, c := range e.clients[topic] {
				if got := c.refs(); !t.counts && !slices.Equal(got, live) {
					f.fail("a client on %s sees in %s\n%s\nthere are\n%s\nit got\n%s", e.id, topic,
						strings.Join(got, " "), strings.Join(live, " "), strings.Join(c.events, "\n"))
				}
				if t.counts && c.count != len(live) {
					f.fail("a client on %s counts %d in %s, there are %d", e.id, c.count, topic, len(live))
				}
			}
		}
	}
}

func (f *fleet) replica(e *edge, t *topic, live []string) {
	f.t.Helper()
	if t.counts {
		if 10*len(live) <= 9*f.maxListed || t.people() != uint64(len(live)) {
			f.fail("%s counts %d in %s: there are %d, up to %d are listed", e.id, t.people(), t.name, len(live), f.maxListed)
		}
		return
	}
	var got []string
	for ref := range t.rows {
		got = append(got, ref)
	}
	slices.Sort(got)
	if !slices.Equal(got, live) || len(live) > f.maxListed {
		f.fail("%s has in %s %v, there are %v, up to %d are listed", e.id, t.name, got, live, f.maxListed)
	}
}

// empty fails unless nothing is remembered.
func (f *fleet) empty() {
	f.t.Helper()
	for _, e := range f.edges {
		if len(e.core.topics)+len(e.core.agenda)+e.core.rows > 0 {
			f.fail("%s remembers %d topics, %d plans, %d rows", e.id, len(e.core.topics), len(e.core.agenda), e.core.rows)
		}
	}
	for _, i := range f.instances {
		if i.ledger == nil {
			continue
		}
		if s := i.ledger.Stats(); s.Rows+s.Held+s.Topics > 0 || i.ledger.Waits() {
			f.fail("%s remembers %+v", i.id, s)
		}
	}
}
