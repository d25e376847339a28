package exchange

import (
	"slices"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// peer is another router. Two streams connect to it: link, which this router
// dialled and speaks on, and in, on which this router only answers.
type peer struct {
	id string

	link    Link // nil while broken
	seq     uint64
	pending map[uint64]*forward // sent on link and not acknowledged
	acked   uint64              // last subscriptions that it has taken in

	in       *Inbound        // nil while broken
	view     uint64          // the view that it released last
	released uint64          // the same, unless this router had another view since
	subs     filters         // what its backends subscribe to
	edges    []*meshv1.Hello // attached to it
	told     bool            // edges have arrived on in

	stamp uint64 // of the last broadcast that was queued for it
}

// Inbound is a stream that a peer opened to this router.
type Inbound struct {
	peer   *peer
	origin Origin
}

// replaced forgets a release of any other view than next: if that one comes
// back, it has to be released again.
func (p *peer) replaced(next uint64) {
	if p.released != next {
		p.released = 0
	}
}

func (x *Exchange) peer(id string) *peer {
	p := x.peers[id]
	if p == nil {
		p = &peer{id: id, pending: map[uint64]*forward{}}
		x.peers[id] = p
	}
	return p
}

// drop forgets a peer without streams. The caller holds mu.
func (x *Exchange) dropPeer(p *peer) {
	if p.link == nil && p.in == nil {
		delete(x.peers, p.id)
	}
}

// LinkUp says that the link this router dialled to a peer works. The peer is
// told the state of this router first.
func (x *Exchange) LinkUp(id string, link Link) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.peer(id)
	x.linkLost(p)
	p.link, p.acked = link, 0
	x.tellSubscriptions(p)
	link.Control(&meshv1.PeerRequest{Edges: x.attachedEdges()})
	if x.views.released {
		x.tellReleased(p, x.views.ring.Hash())
	}
	x.suspect(id, false)
	x.drainAll()
}

// LinkDown says that the link to a peer broke or could not be made. The peer is
// out of the view until LinkUp, and what was forwarded to it has failed.
func (x *Exchange) LinkDown(id string, link Link) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := x.peers[id]; p != nil {
		if p.link != link {
			return // a later link took its place
		}
		x.linkLost(p)
		x.dropPeer(p)
	}
	x.views.suspectKnown(x, id)
	x.placeAll()
	x.settle()
}

// suspectKnown suspects a router that gossip still calls alive.
func (v *views) suspectKnown(x *Exchange, id string) {
	if slices.ContainsFunc(v.members, func(m *meshv1.Member) bool {
		return m.GetRole() == meshv1.Role_ROLE_ROUTER && m.GetId() == id && id != x.opts.ID
	}) {
		x.suspect(id, true)
	}
}

// linkLost ends everything that waits for p's link. The caller holds mu.
func (x *Exchange) linkLost(p *peer) {
	if p.link == nil {
		return
	}
	p.link = nil
	x.fences.withoutPeer(p)
	x.completeFences()
	lost := p.pending
	p.pending = map[uint64]*forward{}
	for _, seq := range sortedKeys(lost) {
		x.forwarded(lost[seq], Outcome{Error: meshv1.PublishError_PUBLISH_ERROR_UNAVAILABLE})
	}
}

// ForwardDone takes a peer's acknowledgement of a forward.
func (x *Exchange) ForwardDone(id string, link Link, ack *meshv1.PublishAck) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.peers[id]
	if p == nil || p.link != link {
		return
	}
	f := p.pending[ack.GetSeq()]
	if f == nil {
		return
	}
	delete(p.pending, ack.GetSeq())
	x.forwarded(f, Outcome{Owner: id, Error: ack.GetError()})
}

// SubscriptionsDone takes a peer's acknowledgement of subscriptions.
func (x *Exchange) SubscriptionsDone(id string, link Link, seq uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.peers[id]
	if p == nil || p.link != link {
		return
	}
	p.acked = max(p.acked, seq)
	x.fences.peerAnswered(p, seq)
	x.completeFences()
	x.placeAll()
}

// Accept adds the stream of a peer that dialled this router; origin hears what
// becomes of its forwards. An earlier stream of that peer no longer counts.
func (x *Exchange) Accept(id string, origin Origin) *Inbound {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.peer(id)
	x.inboundLost(p)
	p.in = &Inbound{peer: p, origin: origin}
	return p.in
}

// Dismiss removes the stream of a peer.
func (x *Exchange) Dismiss(in *Inbound) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if in.peer.in != in {
		return
	}
	x.inboundLost(in.peer)
	x.dropPeer(in.peer)
}

func (x *Exchange) inboundLost(p *peer) {
	p.in, p.view, p.released, p.edges, p.told = nil, 0, 0, nil, false
	x.subs.remote.replace(p, p.subs, filters{})
	p.subs = filters{}
	for _, e := range x.edges {
		delete(e.handed, p.id)
	}
	x.resync()
}

// Heard takes in what a peer says about itself: its backend subscriptions, its
// attached edges, rows that it hands over and views that it released.
func (x *Exchange) Heard(in *Inbound, m *meshv1.PeerRequest) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := in.peer
	if p.in != in {
		return
	}
	if s := m.GetSubscriptions(); s != nil {
		next := newFilters(s)
		x.subs.remote.replace(p, p.subs, next)
		p.subs = next
	}
	if m.GetEdges() != nil {
		p.edges, p.told = m.GetEdges().GetEdges(), true
		x.placeAll()
	}
	for _, r := range m.GetRows() {
		x.takeOver(p, r)
	}
}

// Released takes a peer's word that all it ordered before it adopted a view was
// taken in.
func (x *Exchange) Released(in *Inbound, view uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if in.peer.in != in {
		return
	}
	in.peer.view, in.peer.released = view, view
	x.settle()
}

// Arrived hands a broadcast that a peer ordered to this router's backends.
func (x *Exchange) Arrived(b *meshv1.Broadcast) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.deliverLocal(b, &Fanout{})
}

// Prepared reports whether a joining router may become ready: each router that
// it should know is linked both ways, and each edge attached to one of them is
// attached here.
func (x *Exchange) Prepared() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, m := range x.views.members {
		if m.GetRole() != meshv1.Role_ROLE_ROUTER || m.GetState() == meshv1.State_STATE_LEAVING || m.GetId() == x.opts.ID {
			continue
		}
		p := x.peers[m.GetId()]
		if p == nil || p.link == nil || !p.told {
			return false
		}
		for _, hello := range p.edges {
			if e := x.edges[hello.GetId()]; e == nil || e.hello.GetIncarnation() < hello.GetIncarnation() {
				return false
			}
		}
	}
	return true
}

func (x *Exchange) tellEdges() {
	for _, p := range x.peers {
		if p.link != nil {
			p.link.Control(&meshv1.PeerRequest{Edges: x.attachedEdges()})
		}
	}
}

func (x *Exchange) tellSubscriptions(p *peer) {
	p.link.Control(&meshv1.PeerRequest{Subscriptions: x.subs.message()})
}

func (x *Exchange) tellReleased(p *peer, hash uint64) {
	if p.link != nil && hash != 0 {
		p.link.Control(&meshv1.PeerRequest{Released: hash})
	}
}

func (x *Exchange) attachedEdges() *meshv1.AttachedEdges {
	m := &meshv1.AttachedEdges{}
	for _, id := range sortedKeys(x.edges) {
		m.Edges = append(m.Edges, x.edges[id].hello)
	}
	return m
}
