package people

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// unnoticed restarts every instance while somebody comes.
func (f *fleet) unnoticed(t *rapid.T, topics []string) {
	for i := range f.instances {
		f.stopInstance(i)
		f.pass(time.Duration(rapid.IntRange(0, 60).Draw(t, "down")) * 50 * time.Millisecond)
		topic := rapid.SampledFrom(topics).Draw(t, "topic")
		f.edges[0].join(topic, "k0")
		f.startInstance(i)
		f.pass(time.Duration(rapid.IntRange(0, 60).Draw(t, "up")) * 50 * time.Millisecond)
	}
	f.settle(5 * time.Second)
	f.consistent(topics...)
}

func TestEverybodySeesTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxListed := rapid.SampledFrom([]int{3, 1000}).Draw(t, "max listed")
		f, topics := newFleet(t, 3, 2, maxListed), []string{"a", "b", "c", "d"}
		at := func(t *rapid.T) *edge { return rapid.SampledFrom(f.edges).Draw(t, "edge") }
		topic := func(t *rapid.T) string { return rapid.SampledFrom(topics).Draw(t, "topic") }
		key := func(t *rapid.T) string { return fmt.Sprintf("k%d", rapid.IntRange(0, 3).Draw(t, "key")) }
		one := func(t *rapid.T, e *edge, topic string) *client {
			if len(e.clients[topic]) == 0 {
				return e.join(topic, key(t))
			}
			return rapid.SampledFrom(e.clients[topic]).Draw(t, "client")
		}
		enter := func(t *rapid.T) { at(t).join(topic(t), key(t)) }
		wait := func(t *rapid.T) {
			f.pass(time.Duration(rapid.IntRange(1, 40).Draw(t, "ticks")) * 50 * time.Millisecond)
		}
		t.Repeat(map[string]func(*rapid.T){
			"enter":  enter,
			"enter2": enter,
			"look on": func(t *rapid.T) {
				at(t).join(topic(t), "")
			},
			"track": func(t *rapid.T) {
				e, topic := at(t), topic(t)
				e.core.track(topic, one(t, e, topic), who(key(t)))
			},
			"untrack": func(t *rapid.T) {
				e, topic := at(t), topic(t)
				e.core.untrack(topic, one(t, e, topic))
			},
			"leave": func(t *rapid.T) {
				e, topic := at(t), topic(t)
				e.leave(topic, one(t, e, topic), rapid.Bool().Draw(t, "moves"))
			},
			"hand over": func(t *rapid.T) {
				for _, w := range at(t).wires {
					w.hand(rapid.IntRange(0, 3).Draw(t, "messages"))
				}
			},
			"look":  func(t *rapid.T) { at(t).look() },
			"time":  wait,
			"time2": wait,
			"edge drains": func(t *rapid.T) {
				e := at(t)
				e.moveAll()
				for _, w := range e.wires {
					w.hand(1 << 20)
				}
				e.start()
			},
			"edge dies": func(t *rapid.T) { at(t).start() },
			"stream breaks": func(t *rapid.T) {
				at(t).hangUp(rapid.SampledFrom(f.instances).Draw(t, "instance"))
			},
			"instance restarts": func(t *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(t, "instance")
				if f.instances[i].ledger == nil {
					f.startInstance(i)
				} else {
					f.stopInstance(i)
				}
			},
		})
		for i := range f.instances {
			if f.instances[i].ledger == nil {
				f.startInstance(i)
			}
		}
		f.settle(15 * time.Second)
		f.consistent(topics...)
		f.unnoticed(t, topics)
		for _, e := range f.edges {
			e.moveAll()
		}
		f.settle(15 * time.Second)
		f.empty()
	})
}

func TestFleetOfOneEdgeWithoutPresence(t *testing.T) {
	f := newFleet(t, 1, 0, 10)
	e := f.edges[0]
	a := e.join("room", "ann")
	f.pass(time.Second)
	b := e.join("room", "bob")
	f.pass(time.Second)
	f.consistent("room")
	e.leave("room", a, false)
	f.pass(time.Second)
	f.consistent("room")
	e.leave("room", b, false)
	f.empty()
}
