package exchange

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Drop is why something was not delivered or not accepted.
type Drop int

// Every reason there is.
const (
	DropEdgeQueueFull       Drop = iota // an edge is too slow: it misses a broadcast
	DropPeerQueueFull                   // a peer is too slow: a publish is refused, or its backends miss a broadcast
	DropSubscriberQueueFull             // a backend is too slow: its subscription is ended
	DropHoldFull                        // too much waits for the view to settle: a publish is refused
	DropNoOwner                         // no owner could be reached in time: a publish is refused
	Drops
)

// String is the reason as metrics name it.
func (d Drop) String() string {
	return [...]string{"edge_queue_full", "peer_queue_full", "subscriber_queue_full", "hold_full", "no_owner"}[d]
}

// String is the source as metrics name it.
func (s Source) String() string { return [...]string{"edge", "backend", "peer"}[s] }

// Stats are totals since the start, and what is there now.
type Stats struct {
	Publishes     [sources]uint64
	Rows          uint64 // deliveries to edges with a row
	Floods        uint64 // deliveries to edges that were not synced
	Subscriptions uint64 // deliveries to peers and backends
	Forwards      uint64
	Held          uint64 // publishes that had to wait, parked ones included
	Parked        uint64 // forwards that met a router which was not the owner
	Views         uint64 // changes of the view's hash
	Drops         [Drops]uint64

	Routers     int // ready ones, in the view
	Edges       int // attached
	EdgeRows    int // announced by them
	HeldBytes   int
	Outstanding int // topics with publishes that wait or are on their way
}

// Stats returns the counts as they are now.
func (x *Exchange) Stats() Stats {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.stats
	s.Routers = len(x.views.ring.Members())
	s.Edges, s.HeldBytes, s.Outstanding = len(x.edges), x.held, len(x.lanes)
	for _, e := range x.edges {
		if e.rows != nil {
			s.EdgeRows += e.rows.topics
		}
	}
	return s
}

func (x *Exchange) count(f Fanout) {
	x.stats.Rows += uint64(f.Rows)                   //nolint:gosec // a count
	x.stats.Floods += uint64(f.Floods)               //nolint:gosec // a count
	x.stats.Subscriptions += uint64(f.Subscriptions) //nolint:gosec // a count
}

// EdgeInfo is one attached edge.
type EdgeInfo struct {
	Hello  *meshv1.Hello
	Synced bool
	Rows   int
}

// Edges returns the attached edges, sorted by id.
func (x *Exchange) Edges() []EdgeInfo {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make([]EdgeInfo, 0, len(x.edges))
	for _, id := range sortedKeys(x.edges) {
		e := x.edges[id]
		info := EdgeInfo{Hello: e.hello, Synced: e.synced}
		if e.rows != nil {
			info.Rows = e.rows.topics
		}
		list = append(list, info)
	}
	return list
}

// Reason is why a receiver gets a message.
type Reason int

// The reasons.
const (
	ReasonRow Reason = iota
	ReasonFlood
	ReasonSubscription
)

// Receiver is an edge or router that a message would be sent to.
type Receiver struct {
	ID     string
	Reason Reason
}

// TopicInfo explains a topic as this router sees it.
type TopicInfo struct {
	Owner     string // under this router's view
	View      uint64
	Receivers []Receiver // of a message that this router would order now, sorted by id
}

// Topic explains who would receive a message now, and why.
func (x *Exchange) Topic(topic string) TopicInfo {
	x.mu.Lock()
	defer x.mu.Unlock()
	info := TopicInfo{Owner: x.views.ring.Owner(topic), View: x.views.ring.Hash()}
	add := func(id string, r Reason) { info.Receivers = append(info.Receivers, Receiver{id, r}) }
	for _, a := range x.rows.of(topic) {
		if a.current() && a.edge.synced {
			add(a.edge.hello.GetId(), ReasonRow)
		}
	}
	for _, e := range x.flood {
		add(e.hello.GetId(), ReasonFlood)
	}
	x.subs.remote.match(topic, func(p *peer) { add(p.id, ReasonSubscription) })
	x.subs.local.match(topic, func(*Subscription) { add(x.opts.ID, ReasonSubscription) })
	slices.SortFunc(info.Receivers, func(a, b Receiver) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Reason, b.Reason))
	})
	info.Receivers = slices.Compact(info.Receivers)
	return info
}

// Topics returns the topics that begin with prefix and have rows of attached
// edges here, which is where they are owned: the first ones in the order of their
// bytes, at most limit of them, and whether there are more. It holds the lock for
// a few buckets at a time, so what changes meanwhile may be missed.
func (x *Exchange) Topics(prefix string, limit int) (first []string, more bool) {
	for from := 0; from < buckets; from += bucketsPerGap {
		first = x.topicsOf(first, from, prefix)
		if len(first) > 2*limit || from+bucketsPerGap >= buckets {
			slices.Sort(first)
			more = more || len(first) > limit
			first = first[:min(len(first), limit)]
		}
	}
	return first, more
}

// topicsOf appends the topics of the next buckets.
func (x *Exchange) topicsOf(topics []string, from int, prefix string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, byTopic := range x.rows.byTopic[from : from+bucketsPerGap] {
		for topic, list := range byTopic {
			if strings.HasPrefix(topic, prefix) && slices.ContainsFunc(list, (*announcement).current) {
				topics = append(topics, topic)
			}
		}
	}
	return topics
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
