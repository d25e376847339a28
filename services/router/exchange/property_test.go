package exchange_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

const topics = 3

func topicName(n int) string { return fmt.Sprintf("room:%d", n) }

// draw picks one of n.
func (w *world) draw(n int, label string) int { return rapid.IntRange(0, n-1).Draw(w.t, label) }

// publish sends one message from a random place.
func (w *world) publish() {
	m := &message{
		name:  fmt.Sprintf("m%d", len(w.sent)),
		topic: topicName(w.draw(topics, "topic")),
	}
	for _, e := range w.edges {
		if e.wants[m.topic] {
			m.owed = append(m.owed, e)
		}
	}
	routers := w.alive()
	for _, r := range routers {
		if r.backend.placed {
			m.owedBackends = append(m.owedBackends, r.backend)
		}
	}
	w.sent = append(w.sent, m)
	n := w.draw(len(w.edges)+len(routers), "publisher")
	if n < len(w.edges) {
		m.publisher = w.edges[n].id
		w.edges[n].publish(m)
		return
	}
	r := routers[n-len(w.edges)]
	m.publisher = r.id
	r.backend.publish(m)
}

func (w *world) subscribe() {
	e := w.edges[w.draw(len(w.edges), "edge")]
	e.want(topicName(w.draw(topics, "topic")))
}

// settled returns the routers that are ready, if nobody joins or leaves.
func (w *world) ready() []*router {
	return slices.DeleteFunc(w.alive(), func(r *router) bool { return r.state != meshv1.State_STATE_READY })
}

// leave drains a router if two others remain.
func (w *world) leave() {
	if ready := w.ready(); len(ready) > 1 && len(w.alive()) == len(ready) {
		ready[w.draw(len(ready), "leaver")].leave()
	}
}

func (w *world) join() {
	if len(w.alive()) < 5 {
		w.addRouter()
	}
}

// crash kills a router without a word; gossip finds out later.
func (w *world) crash() {
	if ready := w.ready(); len(ready) > 1 {
		r := ready[w.draw(len(ready), "victim")]
		r.stop()
		w.forget(r.id)
	}
}

// cut breaks a link between two live routers; it is dialled again.
func (w *world) cut() {
	routers := w.alive()
	r := routers[w.draw(len(routers), "from")]
	if ids := sortedIDs(r.links); len(ids) > 0 {
		r.links[ids[w.draw(len(ids), "to")]].breakOff()
	}
}

// heard is what each subscriber got, by its name and topic: edges, and the
// backends of routers that live.
func (w *world) heard() map[string]map[string][]string {
	all := map[string]map[string][]string{}
	for _, e := range w.edges {
		all[e.id] = e.got
	}
	for _, r := range w.alive() {
		all[r.id] = r.backend.got
	}
	return all
}

// checkAtMostOnce: nobody sees a message twice.
func (w *world) checkAtMostOnce() {
	for who, got := range w.heard() {
		for topic, names := range got {
			seen := map[string]bool{}
			for _, name := range names {
				if seen[name] {
					w.t.Fatalf("%s got %s on %s twice: %v", who, name, topic, names)
				}
				seen[name] = true
			}
		}
	}
}

// checkArrived: a message was accepted and reached every subscriber that was
// confirmed before it.
func (w *world) checkArrived(m *message) {
	if !m.done || m.failed {
		w.t.Fatalf("%s by %s on %s: done %v, failed %v\n%s", m.name, m.publisher, m.topic, m.done, m.failed, w.dump())
	}
	for _, e := range m.owed {
		if !slices.Contains(e.got[m.topic], m.name) {
			w.t.Fatalf("%s misses %s by %s on %s: %v\n%s", e.id, m.name, m.publisher, m.topic, e.got[m.topic], w.dump())
		}
	}
	for _, b := range m.owedBackends {
		if !b.r.dead && !slices.Contains(b.got[m.topic], m.name) {
			w.t.Fatalf("backend of %s misses %s by %s on %s: %v\n%s", b.r.id, m.name, m.publisher, m.topic, b.got[m.topic], w.dump())
		}
	}
}

// checkPublishersOrder: everybody got the messages of a publisher on a topic in
// the order in which it sent them.
func (w *world) checkPublishersOrder() {
	for who, got := range w.heard() {
		for topic, names := range got {
			last := map[string]int{}
			for _, name := range names {
				n, _ := strconv.Atoi(name[1:])
				publisher := w.sent[n].publisher
				if prev, ok := last[publisher]; ok && prev > n {
					w.t.Fatalf("%s got m%d after m%d of %s on %s: %v", who, n, prev, publisher, topic, names)
				}
				last[publisher] = n
			}
		}
	}
}

// checkTotalOrder: every subscriber saw the messages from the given one on in
// one order.
func (w *world) checkTotalOrder(from int) {
	late := map[string]bool{}
	for _, m := range w.sent[from:] {
		late[m.name] = true
	}
	for n := range topics {
		var want []string
		for _, e := range w.edges {
			if !e.wants[topicName(n)] {
				continue
			}
			got := slices.DeleteFunc(slices.Clone(e.got[topicName(n)]), func(name string) bool { return !late[name] })
			if want == nil {
				want = got
			}
			if !slices.Equal(want, got) {
				w.t.Fatalf("%s on %s: %v, others %v\n%s", e.id, topicName(n), got, want, w.dump())
			}
		}
	}
}

// stable publishes while nothing changes and checks the strongest promise.
func (w *world) stable() {
	w.quiesce()
	from := len(w.sent)
	for range 30 {
		w.publish()
		for range w.draw(6, "steps") {
			w.step()
		}
	}
	w.quiesce()
	w.checkAtMostOnce()
	w.checkTotalOrder(from)
	for _, m := range w.sent[from:] {
		w.checkArrived(m)
	}
}

// run lets things happen in any order.
func (w *world) run(steps int, time bool, changes ...func()) {
	for range steps {
		switch n := w.draw(100, "action"); {
		case n < 55:
			if !w.step() {
				w.tick()
			}
		case n < 88:
			w.publish()
		case n < 92:
			w.subscribe()
		case n < 98:
			changes[n%len(changes)]()
		case time:
			w.tick()
		}
	}
}

func start(t *rapid.T) *world {
	w := newWorld(t, rapid.IntRange(1, 3).Draw(t, "routers"), rapid.IntRange(1, 3).Draw(t, "edges"))
	for range 12 {
		w.subscribe()
	}
	w.quiesce()
	return w
}

// often checks a property more often than rapid does by itself: some orders of
// events that matter come up once in some hundred runs.
func often(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	for i := range 3 {
		t.Run(fmt.Sprint(i), rapid.MakeCheck(property))
	}
}

// Joins and planned leaves lose nothing, double nothing and keep the order of
// every publisher, as long as the network is faster than the timers.
func TestPlannedChangesLoseNothing(t *testing.T) {
	often(t, func(t *rapid.T) {
		w := start(t)
		w.run(rapid.IntRange(50, 600).Draw(t, "steps"), false, w.leave, w.join)
		w.quiesce()
		w.checkAtMostOnce()
		for _, m := range w.sent {
			w.checkArrived(m)
		}
		w.checkPublishersOrder()
		w.stable()
	})
}

// Whatever crashes, breaks or comes late, nobody gets a message twice, every
// publish ends, and once the fleet is stable the full promise holds again.
func TestAtMostOnceWhateverHappens(t *testing.T) {
	often(t, func(t *rapid.T) {
		w := start(t)
		w.run(rapid.IntRange(50, 600).Draw(t, "steps"), true, w.leave, w.join, w.crash, w.cut)
		w.quiesce()
		w.checkAtMostOnce()
		for _, m := range w.sent {
			if r := w.routers[m.publisher]; !m.done && (r == nil || !r.dead) {
				t.Fatalf("%s by %s on %s never ended\n%s", m.name, m.publisher, m.topic, w.dump())
			}
		}
		w.stable()
	})
}
