package exchange

import (
	"time"

	"github.com/skein-mesh/skein/pkg/ring"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// maxHanded is how many topics one message hands over at most.
const maxHanded = 5000

// handing is the hand-over of a leaving router's rows.
type handing struct {
	before ring.Ring // in which this router owned topics
	after  ring.Ring
	links  map[string]Link         // to the new owners, as they were at the start
	edges  map[*Edge]*announcement // synced at the start
	topics map[*Edge]map[string][]string
}

// HandOver gives the rows of this router, which gossip calls leaving, to the
// new owners, and then fences. It takes a while if there are many rows, in steps
// between which others use the exchange.
func (x *Exchange) HandOver() {
	h := x.beginHandOver()
	for b := range buckets {
		if h == nil {
			break
		}
		x.locked(func() {
			if h.after.Hash() == x.views.ring.Hash() {
				x.handBucket(h, b)
			}
		})
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if h != nil && h.after.Hash() == x.views.ring.Hash() {
		x.endHandOver(h)
	}
	x.views.left, x.views.busy = true, x.opts.Now()
	x.fenceView()
}

// beginHandOver notes from whom and to whom rows go; nil if none do.
func (x *Exchange) beginHandOver() *handing {
	x.mu.Lock()
	defer x.mu.Unlock()
	v := &x.views
	if v.gone != x.opts.ID {
		return nil
	}
	h := &handing{
		before: v.before, after: v.ring,
		links: map[string]Link{}, edges: map[*Edge]*announcement{}, topics: map[*Edge]map[string][]string{},
	}
	for _, m := range h.after.Members() {
		if p := x.peers[m.ID]; p != nil && p.link != nil {
			h.links[m.ID] = p.link
		}
	}
	for _, e := range x.edges {
		if e.rows != nil && e.rows.complete && e.rows.view == h.before.Hash() {
			h.edges[e] = e.rows
			h.topics[e] = map[string][]string{}
		}
	}
	return h
}

func (x *Exchange) handBucket(h *handing, b int) {
	for topic, list := range x.rows.byTopic[b] {
		if h.before.Owner(topic) != x.opts.ID {
			continue
		}
		to := h.after.Owner(topic)
		for _, a := range list {
			if h.edges[a.edge] != a || !a.current() {
				continue
			}
			h.topics[a.edge][to] = append(h.topics[a.edge][to], topic)
			if len(h.topics[a.edge][to]) == maxHanded {
				x.hand(h, a.edge, to, false)
			}
		}
	}
}

// endHandOver sends the rest. An edge that began a new announcement meanwhile
// gets no complete: some of its rows were gone before they were handed.
func (x *Exchange) endHandOver(h *handing) {
	for e, a := range h.edges {
		if !a.current() || !a.complete {
			continue
		}
		for to := range h.links {
			x.hand(h, e, to, true)
		}
	}
}

func (x *Exchange) hand(h *handing, e *Edge, to string, complete bool) {
	topics := h.topics[e][to]
	h.topics[e][to] = nil
	p := x.peers[to]
	if p == nil || p.link == nil || p.link != h.links[to] {
		return
	}
	p.link.Control(&meshv1.PeerRequest{Rows: []*meshv1.HandedRows{{
		Edge: e.hello.GetId(), Incarnation: e.hello.GetIncarnation(), View: h.after.Hash(), Topics: topics, Complete: complete,
	}}})
}

// handed are rows of one edge that a leaving router handed over. They were
// added to the edge's own announcement.
type handed struct {
	rows     *announcement // the announcement they were added to, nil if it was replaced meanwhile
	view     uint64        // that they lead to
	complete bool
	until    time.Time // counts until then; zero afterwards
}

// takeOver adds rows that p hands over. The caller holds mu.
func (x *Exchange) takeOver(p *peer, m *meshv1.HandedRows) {
	e := x.edges[m.GetEdge()]
	if e == nil || e.rows == nil || e.hello.GetIncarnation() != m.GetIncarnation() {
		return
	}
	h := e.handed[p.id]
	if h == nil || h.view != m.GetView() {
		h = &handed{rows: e.rows, view: m.GetView()}
		if e.handed == nil {
			e.handed = map[string]*handed{}
		}
		e.handed[p.id] = h
	}
	if h.rows != e.rows {
		h.rows = nil // some of the rows went with the old announcement
		return
	}
	for _, topic := range m.GetTopics() {
		x.rows.add(topic, e.rows)
	}
	h.complete = m.GetComplete()
	h.until = x.opts.Now().Add(HandOverTime)
	x.wake()
	x.resync()
}

func (x *Exchange) handedByTime(now time.Time) {
	for _, e := range x.edges {
		for _, h := range e.handed {
			if !h.until.IsZero() && !now.Before(h.until) {
				h.rows, h.until = nil, time.Time{}
				x.resync()
			}
		}
	}
}

func (x *Exchange) anyHanded() bool {
	for _, e := range x.edges {
		for _, h := range e.handed {
			if !h.until.IsZero() {
				return true
			}
		}
	}
	return false
}

// published notes that this router is still in use. The caller holds mu.
func (x *Exchange) published() {
	if x.views.self.GetState() == meshv1.State_STATE_LEAVING {
		x.views.busy = x.opts.Now()
	}
}

// Left reports whether a leaving router may go: every edge and every router of
// its view knows that it leaves, nothing waits here, and nothing was published
// to it for [QuietTime]. If nobody takes over there is nothing to wait for.
func (x *Exchange) Left() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	hash := x.views.ring.Hash()
	if hash == 0 {
		return true
	}
	if len(x.lanes) > 0 || len(x.fences.open) > 0 || !x.views.left || x.opts.Now().Sub(x.views.busy) < QuietTime {
		return false
	}
	for _, m := range x.views.ring.Members() {
		if p := x.peers[m.ID]; p != nil && p.in != nil && p.view != hash {
			return false
		}
	}
	for _, e := range x.edges {
		if e.rows == nil || e.rows.view != hash || !e.rows.complete {
			return false
		}
	}
	return true
}
