package exchange

import (
	"time"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// lane is the way of one topic's publishes through this router while any of
// them waits or is on its way to the owner. Publishes of edges and backends
// leave in the order they came; those of peers too, but independently: the two
// have no publisher in common.
type lane struct {
	topic       string
	target      string // where the outstanding forwards went
	outstanding int
	held        []waiting // from edges and backends
	parked      []waiting // from peers
}

type waiting struct {
	publish
	since time.Time
}

// forward is a publish on its way to the owner.
type forward struct {
	publish
	lane   *lane
	traced func(Outcome) // nil if nobody follows it
}

// end tells everybody what became of it.
func (f *forward) end(o Outcome) {
	if f.traced != nil {
		f.traced(o)
	}
	f.done(o)
}

func (l *lane) idle() bool { return l.outstanding == 0 && len(l.held) == 0 && len(l.parked) == 0 }

// hold lets p wait in a list of l. The caller holds mu.
func (x *Exchange) hold(l *lane, list *[]waiting, p publish) {
	if x.held+p.cost() > x.opts.Held {
		x.stats.Drops[DropHoldFull]++
		p.done(refused(meshv1.PublishError_PUBLISH_ERROR_OVERLOADED))
		return
	}
	x.stats.Held++
	x.held += p.cost()
	*list = append(*list, waiting{p, x.opts.Now()})
	x.lanes[l.topic] = l
	x.wake()
}

// forwarded ends a forward and lets go what waited for it. The caller holds mu.
func (x *Exchange) forwarded(f *forward, o Outcome) {
	x.published() // the answer needs time to leave, too
	f.end(o)
	f.lane.outstanding--
	x.drain(f.lane)
}

// drainAll lets everything go that need not wait any longer. The caller holds
// mu.
func (x *Exchange) drainAll() {
	for _, l := range x.lanes {
		x.drain(l)
	}
}

func (x *Exchange) drain(l *lane) {
	for len(l.parked) > 0 && x.mayOrder(l.topic) {
		x.order(x.pop(&l.parked).publish)
	}
	for len(l.held) > 0 && x.route(l, l.held[0].publish) {
		x.pop(&l.held)
	}
	if l.idle() {
		delete(x.lanes, l.topic)
	}
}

func (x *Exchange) pop(list *[]waiting) waiting {
	w := (*list)[0]
	(*list)[0] = waiting{}
	*list = (*list)[1:]
	x.held -= w.cost()
	return w
}

// lanesByTime gives up on what waited too long: a forward without owner is
// flooded, any other publish refused. The caller holds mu.
func (x *Exchange) lanesByTime(now time.Time) {
	for _, l := range x.lanes {
		var late []publish
		owned := x.views.ring.Owner(l.topic) == x.opts.ID
		for len(l.parked) > 0 && !owned && now.Sub(l.parked[0].since) >= ParkTime {
			late = append(late, x.pop(&l.parked).publish)
		}
		if len(late) > 0 {
			x.floodLate(late)
		}
		for len(l.held) > 0 && now.Sub(l.held[0].since) >= x.patience(l) {
			x.stats.Drops[DropNoOwner]++
			x.pop(&l.held).done(refused(meshv1.PublishError_PUBLISH_ERROR_UNAVAILABLE))
		}
		x.drain(l)
	}
}

// patience is how long the publishes of l may wait: not as long if nobody could
// take them as if they only wait for their turn.
func (x *Exchange) patience(l *lane) time.Duration {
	owner := x.views.ring.Owner(l.topic)
	if owner == x.opts.ID || l.outstanding > 0 {
		return HoldTime
	}
	if p := x.peers[owner]; p != nil && p.link != nil {
		return HoldTime
	}
	return RouteTime
}
