package people

import (
	"errors"
	"time"

	"github.com/skein-mesh/skein/pkg/cluster"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Bounds of waiting.
const (
	// ReturnTime is how long the rows of an edge outlive its stream.
	ReturnTime = 2 * time.Second
	// MoveTime is how long a moving row waits for its person.
	MoveTime = 10 * time.Second
	// SettleTime is how long a topic waits for edges that have not said all.
	SettleTime = 2 * time.Second
	// ReleaseTime is how long a topic that one edge released waits for the others
	// to do so too.
	ReleaseTime = 10 * time.Second
	// CountInterval is the least time between two counts of one topic.
	CountInterval = time.Second
	// TickInterval is how often [Ledger.Tick] is called while something waits.
	TickInterval = 100 * time.Millisecond
)

// MaxEdges bounds the edges that are known at once.
const MaxEdges = 10_000

// Port takes what is said to one edge. It must only queue.
type Port interface {
	// Tell hands u over, which is not changed any more.
	Tell(u *presencev1.PeopleUpdate)
}

// Why an edge cannot attach.
var (
	ErrNoEdge      = errors.New("people: an edge needs a valid id and an incarnation")
	ErrEarlierLife = errors.New("people: a later life of this edge is attached")
	ErrFull        = errors.New("people: too many edges")
)

// Ledger is who is online in the topics of one instance.
type Ledger struct {
	limits    Limits
	topics    map[string]*topic
	edges     map[string]*Edge
	keys      map[string]int      // rows of each key in all topics
	detached  map[*Edge]struct{}  // edges without a stream
	unsettled map[*topic]struct{} // topics that wait to be settled
	counting  map[*topic]struct{} // topics with a count to tell
	held      []*row              // moving rows, soonest end first; some may be gone
	arrivals  uint64              // rows so far
	agreed    bool                // every edge has said all, under one view
	differs   time.Time           // since when they do not agree
	fresh     time.Time           // until when edges may exist that have not attached yet
	stats     Stats
}

// Edge is one life of an edge that attached.
type Edge struct {
	id          string
	incarnation uint64
	port        Port              // of its stream; nil while it has none
	since       time.Time         // when it lost its stream
	round       uint64            // streams so far
	complete    bool              // it said all on this stream, under view
	view        uint64            // hash of the presence view it adopted
	rows        int               // that it has in all topics
	shares      map[*topic]*share // its part in topics
}

// share is an edge's part in a topic: it has rows there, or watches, or both.
type share struct {
	edge  *Edge
	round uint64 // in which the edge said so last
	watch uint64 // number that goes with what it is told; 0 while it does not watch
	told  bool   // it got a state, and gets changes
	rows  int
}

// New returns an empty ledger as of now.
func New(limits Limits, now time.Time) *Ledger {
	return &Ledger{
		limits: limits, topics: map[string]*topic{}, edges: map[string]*Edge{}, keys: map[string]int{},
		detached: map[*Edge]struct{}{}, unsettled: map[*topic]struct{}{}, counting: map[*topic]struct{}{},
		agreed: true, fresh: now.Add(SettleTime),
	}
}

// ID of the edge.
func (e *Edge) ID() string { return e.id }

// Attach begins a stream of an edge. It returns the port of the stream that this
// one replaces, nil if there is none. An earlier life of the edge is over.
func (l *Ledger) Attach(hello *presencev1.PeopleHello, port Port, now time.Time) (e *Edge, replaced Port, _ error) {
	id, incarnation := hello.GetEdge(), hello.GetIncarnation()
	if cluster.CheckID(id) != nil || incarnation == 0 {
		return nil, nil, ErrNoEdge
	}
	e = l.edges[id]
	switch {
	case e == nil && len(l.edges) >= MaxEdges:
		return nil, nil, ErrFull
	case e != nil && e.incarnation > incarnation:
		return nil, nil, ErrEarlierLife
	case e != nil && e.incarnation < incarnation:
		replaced = e.port
		l.remove(e, now)
		e = nil
	}
	if len(l.edges) == len(l.detached) { // the first of all: others are about to follow
		l.fresh = now.Add(SettleTime)
	}
	if e == nil {
		e = &Edge{id: id, incarnation: incarnation, shares: map[*topic]*share{}}
		l.edges[id] = e
	} else if e.port != nil {
		replaced = e.port
		e.untold()
	}
	delete(l.detached, e)
	e.port, e.complete = port, false
	e.round++
	l.agree(now)
	return e, replaced, nil
}

// Detach ends the stream of port, unless a later one replaced it.
func (l *Ledger) Detach(e *Edge, port Port, now time.Time) {
	if e.port != port || l.edges[e.id] != e {
		return
	}
	e.port, e.since, e.complete = nil, now, false
	e.untold()
	l.detached[e] = struct{}{}
	l.agree(now)
}

// untold ends what the edge watched on a stream: the next one asks again.
func (e *Edge) untold() {
	for _, s := range e.shares {
		s.watch, s.told = 0, false
	}
}

// Current reports whether what comes from port is still to be taken in.
func (l *Ledger) Current(e *Edge, port Port) bool { return e.port == port && l.edges[e.id] == e }

// Announcing says that the edge begins to tell what it needs under another view.
func (l *Ledger) Announcing(e *Edge, now time.Time) {
	e.complete = false
	l.agree(now)
}

// Announced says that the edge has said all, under the view with this hash: what
// it said on an earlier stream only is over. If it had another view then, it may
// have told the rest to another instance: that is a release.
func (l *Ledger) Announced(e *Edge, view uint64, now time.Time) {
	for t, s := range e.shares {
		if view != e.view && s.round < e.round {
			l.release(t, s, now)
		} else {
			l.sweep(t, s, now)
		}
	}
	e.complete, e.view = true, view
	l.agree(now)
}

// sweep ends what the edge did not say again on its stream.
func (l *Ledger) sweep(t *topic, s *share, now time.Time) {
	d := delta{by: s.edge}
	if s.rows > 0 {
		for _, r := range t.refs {
			if r.edge == s.edge && r.round < s.edge.round {
				d.leaves = append(d.leaves, r)
			}
		}
		for _, r := range d.leaves {
			l.drop(t, r)
		}
	}
	if s.round < s.edge.round {
		l.leave(t, s)
	}
	l.changed(t, &d, now)
}

// remove ends an edge: its rows are gone.
func (l *Ledger) remove(e *Edge, now time.Time) {
	delete(l.edges, e.id)
	delete(l.detached, e)
	e.round++ // so that nothing it said counts
	for t, s := range e.shares {
		l.sweep(t, s, now)
	}
	e.port = nil
	l.agree(now)
}

// leave ends an edge's part in a topic; it has no rows there.
func (l *Ledger) leave(t *topic, s *share) {
	delete(t.shares, s.edge)
	delete(s.edge.shares, t)
}

// agree notes whether all edges have said all under one view, and settles the
// topics that waited for it.
func (l *Ledger) agree(now time.Time) {
	agreed := len(l.detached) == 0
	var first *Edge
	for _, e := range l.edges {
		if first == nil {
			first = e
		}
		agreed = agreed && e.complete && e.view == first.view
	}
	if l.agreed && !agreed {
		l.differs = now
	}
	l.agreed = agreed
	l.settleAll(now)
}
