package exchange

import (
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// publish is one that entered this router and is not done.
type publish struct {
	broadcast *meshv1.Broadcast
	origin    Origin
	seq       uint64
}

func (p publish) done(o Outcome) { p.origin.Done(p.seq, o) }

func (p publish) cost() int {
	return len(p.broadcast.GetTopic()) + len(p.broadcast.GetEvent()) + len(p.broadcast.GetPayload()) + 128
}

func refused(e meshv1.PublishError) Outcome { return Outcome{Error: e} }

// Publish takes a publish of an edge or a backend: this router orders it, or
// forwards it to the owner, or holds it for a while if neither is possible now.
func (x *Exchange) Publish(from Source, origin Origin, m *meshv1.Publish) {
	p := publish{m.GetBroadcast(), origin, m.GetSeq()}
	topic := p.broadcast.GetTopic()
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.enter(from, p) {
		return
	}
	l := x.lanes[topic]
	if l == nil {
		if x.mayOrder(topic) { // no lane, no allocation: the common case
			x.order(p)
			return
		}
		l = &lane{topic: topic}
	}
	if len(l.held) > 0 || !x.route(l, p) {
		x.hold(l, &l.held, p)
	}
}

// Forward takes a publish that a peer forwarded. This router orders it, or
// parks it until its own view says that it owns the topic, or at last floods it:
// it never forwards again.
func (x *Exchange) Forward(in *Inbound, m *meshv1.Publish) {
	p := publish{m.GetBroadcast(), in.origin, m.GetSeq()}
	topic := p.broadcast.GetTopic()
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.enter(FromPeer, p) {
		return
	}
	l := x.lanes[topic]
	if (l == nil || len(l.parked) == 0) && x.mayOrder(topic) {
		x.order(p)
		return
	}
	if l == nil {
		l = &lane{topic: topic}
	}
	x.stats.Parked++
	x.hold(l, &l.parked, p)
}

// enter counts a publish and refuses an empty one. The caller holds mu.
func (x *Exchange) enter(from Source, p publish) bool {
	x.stats.Publishes[from]++
	x.published()
	if p.broadcast == nil {
		p.done(refused(meshv1.PublishError_PUBLISH_ERROR_UNAVAILABLE))
		return false
	}
	return true
}

// mayOrder reports whether this router owns topic and no earlier owner may
// still order it. The caller holds mu.
func (x *Exchange) mayOrder(topic string) bool {
	return x.views.ring.Owner(topic) == x.opts.ID && !x.mustWait(topic)
}

// route orders or forwards p, or reports that it has to wait. The caller holds
// mu.
func (x *Exchange) route(l *lane, p publish) bool {
	owner := x.views.ring.Owner(l.topic)
	if l.outstanding > 0 && l.target != owner {
		return false // what was forwarded before comes first
	}
	if owner == x.opts.ID {
		if x.mustWait(l.topic) {
			return false
		}
		x.order(p)
		return true
	}
	to := x.peers[owner]
	if to == nil || to.link == nil {
		return false
	}
	x.forward(l, p, to)
	return true
}

// forward sends p to the owner of l. The caller holds mu.
func (x *Exchange) forward(l *lane, p publish, to *peer) {
	f := &forward{publish: p, lane: l}
	b := p.broadcast
	if len(b.GetTrace()) > 0 && x.opts.Trace != nil {
		b, f.traced = x.opts.Trace.Forward(b, to.id)
	}
	to.seq++
	if !to.link.Forward(&meshv1.Publish{Seq: to.seq, Broadcast: b}) {
		x.stats.Drops[DropPeerQueueFull]++
		f.end(refused(meshv1.PublishError_PUBLISH_ERROR_OVERLOADED))
		return
	}
	x.stats.Forwards++
	l.target = to.id
	l.outstanding++
	x.lanes[l.topic] = l
	to.pending[to.seq] = f
}

// order sends p to everybody who should have it and ends it. The caller holds
// mu.
func (x *Exchange) order(p publish) {
	b, traced := x.traced(p.broadcast)
	var f Fanout
	for _, a := range x.rows.of(b.GetTopic()) {
		if a.current() && a.edge.synced {
			f.Rows++
			x.deliver(a.edge, b, &f)
		}
	}
	for _, e := range x.flood {
		f.Floods++
		x.deliver(e, b, &f)
	}
	x.deliverBackends(b, &f)
	x.count(f)
	if traced != nil {
		traced(f)
	}
	p.done(Outcome{Owner: x.opts.ID})
}

// floodLate sends what found no owner to every edge and to matching backends.
// Each publish ends only when all of them took it in, because the next one of
// its publisher may come from another router. The caller holds mu.
func (x *Exchange) floodLate(late []publish) {
	for _, p := range late {
		b, traced := x.traced(p.broadcast)
		var f Fanout
		for _, e := range x.edges {
			f.Floods++
			x.deliver(e, b, &f)
		}
		x.deliverBackends(b, &f)
		x.count(f)
		if traced != nil {
			traced(f)
		}
	}
	x.fence(false, func() {
		x.published() // the answers need time to leave, too
		for _, p := range late {
			p.done(Outcome{Owner: x.opts.ID})
		}
	})
}

func (x *Exchange) deliver(e *Edge, b *meshv1.Broadcast, f *Fanout) {
	if !e.port.Deliver(b) {
		f.Dropped++
		x.stats.Drops[DropEdgeQueueFull]++
	}
}

func (x *Exchange) deliverBackends(b *meshv1.Broadcast, f *Fanout) {
	if !x.subs.remote.empty() {
		x.subs.stamp++
		x.subs.remote.match(b.GetTopic(), func(p *peer) {
			if p.link == nil || p.stamp == x.subs.stamp {
				return
			}
			p.stamp = x.subs.stamp
			f.Subscriptions++
			if !p.link.Deliver(b) {
				f.Dropped++
				x.stats.Drops[DropPeerQueueFull]++
			}
		})
	}
	x.deliverLocal(b, f)
}

func (x *Exchange) deliverLocal(b *meshv1.Broadcast, f *Fanout) {
	if x.subs.local.empty() {
		return
	}
	x.subs.local.match(b.GetTopic(), func(s *Subscription) {
		f.Subscriptions++
		if !s.sink.Deliver(b) {
			f.Dropped++
			x.stats.Drops[DropSubscriberQueueFull]++
		}
	})
}

func (x *Exchange) traced(b *meshv1.Broadcast) (*meshv1.Broadcast, func(Fanout)) {
	if len(b.GetTrace()) == 0 || x.opts.Trace == nil {
		return b, nil
	}
	return x.opts.Trace.Order(b)
}
