// Package hub hands what the mesh broadcasts to the sockets of one edge: it
// owns which subscribers each topic has, and the joins that wait for the mesh.
//
// The first subscriber of a topic makes the hub ask the mesh for it
// ([Interest]); until the mesh confirms, subscribers wait. A topic without
// subscribers is kept for [Linger], so quick rejoins cost the mesh nothing.
//
// Everything that a subscriber gets, it gets under the lock of its topic's
// shard: what follows its Joined follows the reply to the join, and after
// [Hub.Leave] nothing comes. This is the one place that calls other packages
// under a lock; they may only put something into a queue.
package hub

import (
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// Interest is told which topics this edge needs to hear. Each Want is followed
// by exactly one [Hub.Confirm] of that topic, and later by one Drop.
//
// Both are called under a lock of the hub and must only queue. In particular
// they must not take a lock that is held while the hub is called.
type Interest interface {
	Want(topic string)
	Drop(topic string)
}

// Subscriber is one channel of one socket. It must embed a [Seat].
//
// Its methods are called under a lock of the hub, from any goroutine. They must
// only push to an outbox, and never call the hub.
type Subscriber interface {
	// Joined answers [Hub.Join], once. With an error, or if it returns false,
	// the subscriber is not seated, and nothing follows.
	Joined(err error) (stays bool)
	// Deliver hands over a broadcast. m is valid during the call only.
	Deliver(m *Message)
	// Failed says that the mesh lost the topic. Nothing follows.
	Failed()

	seat() *Seat
}

// Seat is a subscriber's place in its topic.
type Seat struct {
	// Connection is the id of the subscriber's socket, unique in this edge. It
	// must be set before Join and not be changed.
	Connection uint64

	place int32 // in the topic's members, from 1; 0 for none; guarded by the shard's lock
}

func (s *Seat) seat() *Seat { return s } //nolint:unused // makes a Subscriber of whoever embeds a Seat

const shardCount = 64

// Hub is the local fan-out of an edge. All methods may be called concurrently.
type Hub struct {
	interest Interest
	edge     string
	seed     maphash.Seed
	born     time.Time
	shards   [shardCount]shard
	counts   counts
}

type shard struct {
	mu     sync.RWMutex // guards the fields below, and the topics in them
	topics map[string]*topic
	vacant []vacancy // oldest first
}

// topic is wanted from the mesh as long as it exists.
type topic struct {
	name      string
	members   []Subscriber // they wait until confirmed is set
	confirmed bool
	vacant    time.Duration // since when it has no member
}

// New returns the hub of the named edge. It does nothing by itself; topics are
// dropped only while [Hub.Run] runs.
func New(interest Interest, edge string, meter metric.Meter) (*Hub, error) {
	h := &Hub{interest: interest, edge: edge, seed: maphash.MakeSeed(), born: time.Now()}
	for i := range h.shards {
		h.shards[i].topics = make(map[string]*topic)
	}
	if err := h.observe(meter); err != nil {
		return nil, fmt.Errorf("register the metrics of the hub: %w", err)
	}
	return h, nil
}

func (h *Hub) shard(topic string) *shard {
	return &h.shards[maphash.String(h.seed, topic)%shardCount]
}

// Name returns topic, as the hub's own string if it has it, so that the
// subscribers of a topic share one.
func (h *Hub) Name(topic string) string {
	sh := h.shard(topic)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if t := sh.topics[topic]; t != nil {
		return t.name
	}
	return topic
}

// Join seats s at a topic. If replaces, which may be nil, is seated there, s
// takes its place: no broadcast is missed and none comes to both. Joined has
// been called when Join returns, unless the mesh must be asked first.
func (h *Hub) Join(name string, s, replaces Subscriber) {
	sh := h.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := sh.topics[name]
	if t == nil {
		t = &topic{name: name}
		sh.topics[name] = t
		h.counts.topics.Add(1)
		h.interest.Want(name)
	}
	if replaces != nil && replaces.seat().place > 0 {
		t.replace(replaces, s)
	} else {
		t.add(s)
		h.counts.members.Add(1)
	}
	if t.confirmed && !s.Joined(nil) {
		h.unseat(sh, t, s)
	}
}

// Leave takes s, or its waiting join, out of a topic. Nothing is delivered to
// it afterwards. It reports whether s was there; if it was, last, which may be
// nil, was called behind everything else that s got. It must only push to an
// outbox.
func (h *Hub) Leave(name string, s Subscriber, last func()) bool {
	sh := h.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s.seat().place == 0 {
		return false
	}
	h.unseat(sh, sh.topics[name], s)
	if last != nil {
		last()
	}
	return true
}

// unseat takes s out of t. The lock of its shard is held.
func (h *Hub) unseat(sh *shard, t *topic, s Subscriber) {
	t.remove(s)
	h.counts.members.Add(-1)
	if len(t.members) == 0 {
		h.vacate(sh, t)
	}
}

// IfSeated calls do if s is in the topic, and keeps it there meanwhile: what do
// sends comes before anything that ends the channel. do must only push to an
// outbox.
func (h *Hub) IfSeated(name string, s Subscriber, do func()) bool {
	sh := h.shard(name)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if s.seat().place == 0 {
		return false
	}
	do()
	return true
}

// Confirm answers [Interest].Want: the topic's broadcasts reach this edge from
// now on, or, with an error, they do not and the joins that wait fail. It does
// nothing for a topic that does not wait.
func (h *Hub) Confirm(name string, err error) {
	sh := h.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := sh.topics[name]
	if t == nil || t.confirmed {
		return
	}
	if err != nil {
		h.drop(sh, t, func(s Subscriber) { _ = s.Joined(err) })
		return
	}
	t.confirmed = true
	if len(t.members) == 0 {
		h.vacate(sh, t)
		return
	}
	for _, s := range slices.Backward(t.members) { // whoever takes an empty seat was asked before
		if !s.Joined(nil) {
			h.unseat(sh, t, s)
		}
	}
}

// Fail takes every confirmed topic that match accepts from its subscribers,
// because the mesh cannot be heard there. match is called under locks of the hub.
func (h *Hub) Fail(match func(topic string) bool) {
	for i := range h.shards {
		h.failShard(&h.shards[i], match)
	}
}

func (h *Hub) failShard(sh *shard, match func(topic string) bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, t := range sh.topics {
		if t.confirmed && match(t.name) {
			h.drop(sh, t, Subscriber.Failed)
		}
	}
}

// drop forgets a topic. Each of its members is told, then gone.
func (h *Hub) drop(sh *shard, t *topic, tell func(Subscriber)) {
	for _, s := range t.members {
		s.seat().place = 0
		tell(s)
	}
	h.counts.members.Add(-int64(len(t.members)))
	t.members = nil
	h.forget(sh, t)
}

func (h *Hub) forget(sh *shard, t *topic) {
	delete(sh.topics, t.name)
	h.counts.topics.Add(-1)
	h.interest.Drop(t.name)
}
