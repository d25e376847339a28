package exchange

import (
	"maps"
	"slices"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Sink is where one backend subscription hears this router. Its methods are
// called under the exchange's lock and must only queue.
type Sink interface {
	// Deliver queues a broadcast; false means that there was no room.
	Deliver(b *meshv1.Broadcast) bool
	// Placed says, once, that every router knows the subscription.
	Placed()
}

// Filter chooses topics: one by its exact name, or all with a prefix.
type Filter struct {
	Name   string
	Prefix bool
}

// Subscription is one backend's interest. Guarded by the exchange's mu.
type Subscription struct {
	filter  Filter
	sink    Sink
	seq     uint64
	waiting bool // for some router to know it
}

// subscriptions are those of backends here and at the peers. Guarded by the
// exchange's mu.
type subscriptions struct {
	seq     uint64 // of the last change to local
	stamp   uint64 // of the last broadcast matched
	local   index[*Subscription]
	remote  index[*peer]
	waiting []*Subscription
}

func newSubscriptions() subscriptions {
	return subscriptions{local: newIndex[*Subscription](), remote: newIndex[*peer]()}
}

// Subscribe adds a backend's subscription.
func (x *Exchange) Subscribe(f Filter, sink Sink) *Subscription {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := &Subscription{filter: f, sink: sink, waiting: true}
	x.subs.local.add(f, s)
	s.seq = x.subs.again()
	x.subs.waiting = append(x.subs.waiting, s)
	x.tellAllSubscriptions()
	x.placeAll()
	return s
}

// Unsubscribe removes a subscription; its sink hears nothing afterwards.
func (x *Exchange) Unsubscribe(s *Subscription) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.subs.local.remove(s.filter, s)
	x.subs.waiting = slices.DeleteFunc(x.subs.waiting, func(other *Subscription) bool { return other == s })
	x.subs.again()
	x.tellAllSubscriptions()
}

func (x *Exchange) tellAllSubscriptions() {
	for _, p := range x.peers {
		if p.link != nil {
			x.tellSubscriptions(p)
		}
	}
}

// placeAll ends the waiting of subscriptions that every router knows which is
// alive and not suspect, and which has a link here to deliver on: it has told
// its edges there. A router that joins does not know every router yet. The
// caller holds mu.
func (x *Exchange) placeAll() {
	if s := x.views.self.GetState(); s != meshv1.State_STATE_READY && s != meshv1.State_STATE_LEAVING {
		return
	}
	x.subs.waiting = slices.DeleteFunc(x.subs.waiting, func(s *Subscription) bool {
		for _, m := range x.views.members {
			id := m.GetId()
			if m.GetRole() != meshv1.Role_ROLE_ROUTER || id == x.opts.ID || x.views.suspects[id] {
				continue
			}
			if p := x.peers[id]; p == nil || p.acked < s.seq || !p.told {
				return false
			}
		}
		s.sink.Placed()
		return true
	})
}

// again numbers the subscriptions anew.
func (s *subscriptions) again() uint64 {
	s.seq++
	return s.seq
}

// message returns the local subscriptions for peers.
func (s *subscriptions) message() *meshv1.Subscriptions {
	return &meshv1.Subscriptions{
		Seq:      s.seq,
		Topics:   slices.Sorted(maps.Keys(s.local.topics)),
		Prefixes: slices.Sorted(maps.Keys(s.local.prefixes)),
	}
}

// filters are the subscriptions of one peer.
type filters struct{ topics, prefixes []string }

func newFilters(m *meshv1.Subscriptions) filters {
	return filters{topics: m.GetTopics(), prefixes: m.GetPrefixes()}
}

func (f filters) empty() bool { return len(f.topics) == 0 && len(f.prefixes) == 0 }

func (f filters) each(do func(Filter)) {
	for _, t := range f.topics {
		do(Filter{Name: t})
	}
	for _, p := range f.prefixes {
		do(Filter{Name: p, Prefix: true})
	}
}

// index finds the subscribers of a topic. Prefixes are found by cutting the
// topic at each length that some prefix has.
type index[T comparable] struct {
	topics   map[string][]T
	prefixes map[string][]T
	lengths  []int // of the prefixes, each once
}

func newIndex[T comparable]() index[T] {
	return index[T]{topics: map[string][]T{}, prefixes: map[string][]T{}}
}

func (i *index[T]) empty() bool { return len(i.topics) == 0 && len(i.prefixes) == 0 }

func (i *index[T]) add(f Filter, v T) {
	if !f.Prefix {
		i.topics[f.Name] = append(i.topics[f.Name], v)
		return
	}
	i.prefixes[f.Name] = append(i.prefixes[f.Name], v)
	if !slices.Contains(i.lengths, len(f.Name)) {
		i.lengths = append(i.lengths, len(f.Name))
	}
}

func (i *index[T]) remove(f Filter, v T) {
	table := i.topics
	if f.Prefix {
		table = i.prefixes
	}
	at := slices.Index(table[f.Name], v)
	if at < 0 {
		return
	}
	table[f.Name] = slices.Delete(table[f.Name], at, at+1)
	if len(table[f.Name]) > 0 {
		return
	}
	delete(table, f.Name)
	if f.Prefix {
		i.lengths = slices.DeleteFunc(i.lengths, func(n int) bool {
			for p := range i.prefixes {
				if len(p) == n {
					return false
				}
			}
			return true
		})
	}
}

// replace exchanges the filters of v.
func (i *index[T]) replace(v T, before, after filters) {
	before.each(func(f Filter) { i.remove(f, v) })
	after.each(func(f Filter) { i.add(f, v) })
}

// match calls do for each subscriber of topic, once for each of its filters
// that match.
func (i *index[T]) match(topic string, do func(T)) {
	for _, v := range i.topics[topic] {
		do(v)
	}
	for _, n := range i.lengths {
		if n <= len(topic) {
			for _, v := range i.prefixes[topic[:n]] {
				do(v)
			}
		}
	}
}
