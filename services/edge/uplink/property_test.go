package uplink

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/channel"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// world is a core among routers that come, go and disagree, and a hub that
// wants and drops. It checks after each step what must always hold.
type world struct {
	*bench
	rt      *rapid.T
	streams map[string]*stream
	seen    map[*stream]int // publishes of a stream that were looked at
	next    int
	asked   map[string]time.Time // joins that wait, by topic
	joined  map[string]bool      // confirmed and not dropped
	out     map[int]*trip        // publishes by number
	last    map[string]int       // number of the last publish of a topic that was carried
}

// trip is one publish.
type trip struct {
	topic   string
	began   time.Time
	carried *stream // that it went to, nil before
	message *meshv1.Publish
	answers int
}

var routers = []string{"a", "b", "c"}

func newWorld(rt *rapid.T) *world {
	return &world{
		bench: newBench(rt), rt: rt, streams: map[string]*stream{}, seen: map[*stream]int{},
		asked: map[string]time.Time{}, joined: map[string]bool{}, out: map[int]*trip{}, last: map[string]int{},
	}
}

func (w *world) topic() string { return fmt.Sprint("t", rapid.IntRange(0, 5).Draw(w.rt, "topic")) }

func (w *world) view() *meshv1.View {
	return viewOf(rapid.SampledFrom([][]string{{}, {"a"}, {"a", "b"}, {"b", "c"}, {"a", "b", "c"}}).Draw(w.rt, "view")...)
}

func (w *world) stream() *stream {
	return w.streams[rapid.SampledFrom(routers).Draw(w.rt, "router")]
}

func (w *world) publish() {
	n := w.next
	w.next++
	trip := &trip{topic: w.topic(), began: w.now}
	w.out[n] = trip
	done := func(error) {
		trip.answers++
		if trip.answers > 1 {
			w.rt.Fatalf("publish %d was answered twice", n)
		}
	}
	b := channel.Broadcast{Topic: trip.topic, Event: "e", Payload: fmt.Append(nil, n)}
	if err := w.core.publish(b, done); err != nil {
		done(err)
	}
}

// look checks what the streams carried since the last time.
func (w *world) look() {
	for _, s := range w.streams {
		for ; w.seen[s] < len(s.carried); w.seen[s]++ {
			m := s.carried[w.seen[s]]
			var n int
			if _, err := fmt.Sscan(string(m.GetBroadcast().GetPayload()), &n); err != nil {
				w.rt.Fatal(err)
			}
			w.carried(n, s, m)
		}
	}
}

func (w *world) carried(n int, s *stream, m *meshv1.Publish) {
	trip := w.out[n]
	if trip.carried != nil {
		w.rt.Fatalf("publish %d was sent twice", n)
	}
	trip.carried, trip.message = s, m
	if last, ok := w.last[trip.topic]; ok && last > n {
		w.rt.Fatalf("publish %d of %s was sent after %d", n, trip.topic, last)
	}
	w.last[trip.topic] = n
	for o, other := range w.out {
		if o < n && other.topic == trip.topic && other.answers == 0 && other.carried != nil && other.carried != s {
			w.rt.Fatalf("publish %d of %s was sent while %d is under way elsewhere", n, trip.topic, o)
		}
	}
}

// check looks at what must hold after every step.
func (w *world) check() {
	w.look()
	for n, trip := range w.out {
		if trip.answers == 0 && w.now.Sub(trip.began) > Patience+SweepInterval {
			w.rt.Fatalf("publish %d waits since %s", n, w.now.Sub(trip.began))
		}
	}
	for topic, err := range w.confirmed {
		if _, ok := w.asked[topic]; !ok {
			w.rt.Fatalf("%s was confirmed and nobody asked", topic)
		}
		delete(w.asked, topic)
		w.joined[topic] = err == nil
		if err != nil {
			w.core.drop(topic) // as the hub does
		}
	}
	clear(w.confirmed)
	for topic, since := range w.asked {
		if w.now.Sub(since) > Patience+SweepInterval {
			w.rt.Fatalf("a join of %s waits since %s", topic, w.now.Sub(since))
		}
	}
}

// settle lets everything come to rest and checks that the rows are right.
func (w *world) settle() {
	v := viewOf(routers...)
	for _, id := range routers {
		if w.streams[id] == nil {
			w.streams[id] = w.attach(id, v)
		} else {
			w.streams[id].report(v)
		}
	}
	for range 3 {
		for _, s := range w.streams {
			s.carryAll()
			s.ackInterest(v.GetHash())
			w.look()
			for _, m := range s.carried {
				s.ack(m, meshv1.PublishError_PUBLISH_ERROR_UNSPECIFIED)
			}
		}
		w.check()
	}
	if len(w.asked) > 0 || !w.core.ready || len(w.core.flows) > 0 || w.core.held != 0 || w.core.heldBytes != 0 {
		w.rt.Fatalf("at rest: %d joins wait, ready %v, %d flows, %d held", len(w.asked), w.core.ready, len(w.core.flows), w.core.held)
	}
	for topic := range w.core.topics {
		for id, s := range w.streams {
			if s.rows[topic] != (w.core.adopted.ring.Owner(topic) == id) {
				w.rt.Fatalf("row of %s at %s: %v", topic, id, s.rows[topic])
			}
		}
	}
	for n, trip := range w.out {
		if trip.answers != 1 {
			w.rt.Fatalf("publish %d has %d answers", n, trip.answers)
		}
	}
}

// TestNoPublishIsLostTwiceOrLate walks at random through everything that can
// happen to an edge.
func TestNoPublishIsLostTwiceOrLate(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { w.check() },
			"attach": func(rt *rapid.T) {
				if id := rapid.SampledFrom(routers).Draw(rt, "router"); w.streams[id] == nil {
					w.streams[id] = w.attach(id, w.view())
				}
			},
			"end": func(*rapid.T) {
				if s := w.stream(); s != nil {
					w.look()
					s.end()
					delete(w.streams, s.port.id)
				}
			},
			"report": func(*rapid.T) {
				if s := w.stream(); s != nil {
					s.report(w.view())
				}
			},
			"publish": func(*rapid.T) { w.publish() },
			"carry": func(rt *rapid.T) {
				if s := w.stream(); s != nil {
					s.carry(rapid.IntRange(1, 4).Draw(rt, "items"))
				}
			},
			"ack": func(rt *rapid.T) {
				if s := w.stream(); s != nil && len(s.carried) > 0 {
					s.ack(rapid.SampledFrom(s.carried).Draw(rt, "publish"), meshv1.PublishError(rapid.IntRange(0, 2).Draw(rt, "error")))
				}
			},
			"taken": func(*rapid.T) {
				if s := w.stream(); s != nil {
					s.ackInterest(s.port.view.hash)
				}
			},
			"want": func(*rapid.T) {
				topic := w.topic()
				if _, asked := w.asked[topic]; !asked && !w.joined[topic] {
					w.asked[topic] = w.now
					w.core.want(topic)
				}
			},
			"drop": func(*rapid.T) {
				if topic := w.topic(); w.joined[topic] {
					delete(w.joined, topic)
					w.core.drop(topic)
				}
			},
			"pass": func(rt *rapid.T) {
				w.pass(time.Duration(rapid.IntRange(1, 20).Draw(rt, "sweeps")) * SweepInterval)
			},
		})
		w.settle()
	})
}
