package exchange

import (
	"errors"
	"slices"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Errors of [Exchange.Attach].
var (
	// ErrEarlierLife refuses an edge whose later life is attached already.
	ErrEarlierLife = errors.New("a later incarnation of this edge is attached")
	// ErrAttached refuses the bootstrap stream of an edge that has another: the edge
	// would drop the newer one, and miss messages until the older is back.
	ErrAttached = errors.New("this edge is attached by a stream that is not for bootstrap")
)

// Edge is one attached edge. Its fields are guarded by the exchange's mu.
type Edge struct {
	hello  *meshv1.Hello
	port   Port
	rows   *announcement      // current; nil before the first and after the last
	handed map[string]*handed // by the router that leaves; nil if none does
	synced bool               // every topic it needs here is known
	gone   bool               // detached or replaced
}

// Attach adds an edge. If an earlier stream of it was attached, it is detached
// and its port returned.
func (x *Exchange) Attach(hello *meshv1.Hello, port Port) (e *Edge, replaced Port, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old := x.edges[hello.GetId()]; old != nil {
		switch has, is := old.hello.GetIncarnation(), hello.GetIncarnation(); {
		case has > is:
			return nil, nil, ErrEarlierLife
		case has == is && hello.GetBootstrap() && !old.hello.GetBootstrap():
			return nil, nil, ErrAttached
		}
		replaced = old.port
		x.detach(old)
	}
	e = &Edge{hello: hello, port: port}
	x.edges[hello.GetId()] = e
	port.View(x.views.message)
	x.resync()
	x.tellEdges()
	return e, replaced, nil
}

// Detach removes an edge whose stream ended. Detaching twice is the same as
// once.
func (x *Exchange) Detach(e *Edge) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e.gone {
		return
	}
	x.detach(e)
	x.resync()
	x.tellEdges()
}

// detach forgets e; the caller holds mu and calls resync afterwards.
func (x *Exchange) detach(e *Edge) {
	e.gone = true
	x.setRows(e, nil)
	delete(x.edges, e.hello.GetId())
	x.fences.withoutEdge(e)
	x.completeFences()
}

// Interest takes in one step of an edge's rows. It returns the hash of this
// router's view at a moment when all of the step was taken in.
func (x *Exchange) Interest(e *Edge, i *meshv1.Interest) (view uint64) {
	if i.GetReset_() {
		x.locked(func() {
			if !e.gone {
				x.setRows(e, &announcement{edge: e, view: i.GetView()})
				x.resync()
			}
		})
	}
	for part := range slices.Chunk(i.GetAdd(), itemsPerLock) {
		x.locked(func() {
			for _, topic := range part {
				if e.rows != nil {
					x.rows.add(topic, e.rows)
				}
			}
		})
	}
	for part := range slices.Chunk(i.GetRemove(), itemsPerLock) {
		x.locked(func() {
			for _, topic := range part {
				if e.rows != nil {
					x.rows.remove(topic, e.rows)
				}
			}
		})
	}
	x.locked(func() {
		x.announced(e, i)
		view = x.views.ring.Hash()
	})
	return view
}

// announced notes how far an announcement has come. The caller holds mu.
func (x *Exchange) announced(e *Edge, i *meshv1.Interest) {
	if e.rows == nil {
		return
	}
	// A step under another view than its announcement's says nothing certain.
	e.rows.complete = e.rows.view == i.GetView() && (e.rows.complete || i.GetComplete())
	if e.synced != x.isSynced(e) {
		x.resync()
	}
}

// Fenced takes an edge's answer to a fence.
func (x *Exchange) Fenced(e *Edge, number uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fences.edgeAnswered(e, number)
	x.completeFences()
}

// setRows replaces the announcement of e. The caller holds mu.
func (x *Exchange) setRows(e *Edge, a *announcement) {
	x.rows.forget(e.rows)
	e.rows = a
	if x.rows.stale {
		x.wake()
	}
}

// resync decides anew which edges are synced. The caller holds mu.
func (x *Exchange) resync() {
	clear(x.flood)
	x.flood = x.flood[:0]
	for _, e := range x.edges {
		if e.synced = x.isSynced(e); !e.synced {
			x.flood = append(x.flood, e)
		}
	}
}

// isSynced reports whether every topic that e needs here is known: e announced
// all under the current view, or it did so under the view before and the only
// router that left since handed over the rest.
func (x *Exchange) isSynced(e *Edge) bool {
	a, v := e.rows, &x.views
	if a == nil || !a.complete {
		return false
	}
	if a.view == v.ring.Hash() {
		return true
	}
	h := e.handed[v.gone]
	return h != nil && h.complete && h.rows == a && h.view == v.ring.Hash() && a.view == v.before.Hash()
}

func (x *Exchange) locked(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f()
}

// ID of the edge.
func (e *Edge) ID() string { return e.hello.GetId() }
