package rpc

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skein-mesh/skein/pkg/queue"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/balance"
	"github.com/skein-mesh/skein/services/presence/load"
	"github.com/skein-mesh/skein/services/presence/orders"
)

// hintLease is how long a hint is told without a newer one: a planner that does
// not step any more plans for nobody.
const hintLease = load.Lease

// board is what reports say and what answers tell, shared by all streams.
type board struct {
	// Static after construction.
	self string // id of this instance

	// mu guards the fields below. Only queues of answers are locked under it.
	mu      sync.Mutex
	ledger  load.Ledger
	planner string
	term    uint64               // counts planners
	hints   map[string]hint      // by id of the edge, of this term
	hinted  time.Time            // when the hints were made
	orders  *presencev1.Orders   // the latest known, nil for none; immutable
	answers map[uint64]answering // by number of the stream
	version uint64               // of the ledger when changed was made
	changed chan struct{}        // closed, and replaced, when what readers see changes
}

// hint is for one life of an edge: its totals mean nothing to the next.
type hint struct {
	*presencev1.Hint

	incarnation uint64
}

// answering is a stream that answers reports of an edge.
type answering struct {
	edge  string
	queue *queue.Queue[struct{}] // an item asks for an answer before the next beat
}

func newBoard(self string) *board {
	return &board{self: self, answers: map[uint64]answering{}, changed: make(chan struct{})}
}

// open returns the number of a stream of reports that begins now.
func (b *board) open() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ledger.Open()
}

// answer says where answers to an edge's stream are asked for, and asks for the
// first.
func (b *board) answer(stream uint64, id string, q *queue.Queue[struct{}]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers[stream] = answering{id, q}
	_ = q.Push(struct{}{}) // the queue is empty
}

// report takes in what an edge says, and later orders that it keeps.
func (b *board) report(stream uint64, e *presencev1.Edge) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.tell()
	later := orders.Compare(e.GetOrders(), b.orders)
	if later == 0 {
		e.Orders = b.orders // one copy for all rows
	}
	if err := b.ledger.Report(stream, e, time.Now()); err != nil {
		return err
	}
	if later > 0 {
		b.setOrders(e.GetOrders())
	}
	return nil
}

// ended forgets a stream; with left, the edge said that it goes.
func (b *board) ended(stream uint64, id string, left bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.answers, stream)
	if left {
		b.ledger.Leave(stream, id)
		b.tell()
	}
}

// expire ends leases and returns when the next one ends, and what is closed at
// the next change.
func (b *board) expire(now time.Time) (time.Time, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.ledger.Expire(now)
	b.tell()
	return next, b.changed
}

// setPlanner begins a term: what the last planner wanted is forgotten.
func (b *board) setPlanner(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.planner != id {
		b.planner, b.hints = id, nil
		b.term++
		b.renew()
	}
}

func (b *board) plans() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.planner
}

// leads returns the term, and whether this instance plans in it.
func (b *board) leads() (term uint64, leads bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.term, b.planner == b.self
}

// sample returns the fleet as a planner sees it, and the term; false if another
// instance plans in it.
func (b *board) sample(now time.Time) (s balance.Sample, term uint64, leads bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.planner != b.self {
		return balance.Sample{}, b.term, false
	}
	return balance.Sample{At: now, Edges: b.ledger.Edges(now), Late: b.ledger.Late(now), Orders: b.orders}, b.term, true
}

// decide replaces the hints by those that a planner made of a sample, unless its
// term is over. Edges whose hint differs are answered at once.
func (b *board) decide(term uint64, s balance.Sample, hints map[string]*presencev1.Hint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.term != term {
		return
	}
	before := b.hints
	b.hints, b.hinted = map[string]hint{}, s.At
	for _, e := range s.Edges {
		if h := hints[e.GetId()]; h != nil {
			b.hints[e.GetId()] = hint{h, e.GetIncarnation()}
		}
	}
	for _, a := range b.answers {
		if !proto.Equal(before[a.edge].Hint, b.hints[a.edge].Hint) {
			_ = a.queue.Push(struct{}{}) // full: an answer is about to go out
		}
	}
}

// response is what the edge of a stream is told now.
func (b *board) response(stream uint64) *presencev1.ReportResponse {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &presencev1.ReportResponse{
		LeaseMs: uint32(load.Lease / time.Millisecond), Elected: b.planner, Instance: b.self, Orders: b.orders,
	}
	now, id := time.Now(), b.answers[stream].edge
	h := b.hints[id]
	if h.Hint == nil || now.Sub(b.hinted) >= hintLease {
		return r
	}
	if e := b.ledger.Reported(stream, id, now); e.GetIncarnation() == h.incarnation {
		r.Hint = h.Hint
	}
	return r
}

// read returns the edges and the planner as of now, and what is closed when
// either changes.
func (b *board) read() ([]*presencev1.Edge, string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ledger.Edges(time.Now()), b.planner, b.changed
}

// order takes an order, and returns the orders that count with it.
func (b *board) order(req *presencev1.OrderRequest) (*presencev1.Orders, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	edges := b.ledger.Edges(time.Now())
	if len(edges) == 0 {
		return nil, errNoEdge
	}
	next, err := orders.Next(req, b.orders, edges, b.self)
	if err == nil && next != b.orders {
		b.setOrders(next)
	}
	return next, err
}

// latest returns the latest orders known.
func (b *board) latest() *presencev1.Orders {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.orders
}

// setOrders makes every answer tell later orders, at once. The caller holds mu.
func (b *board) setOrders(o *presencev1.Orders) {
	b.orders = o
	for _, a := range b.answers {
		_ = a.queue.Push(struct{}{}) // full: an answer is about to go out
	}
	b.renew()
}

// tell wakes readers if the ledger changed. The caller holds mu.
func (b *board) tell() {
	if v := b.ledger.Version(); v != b.version {
		b.version = v
		b.renew()
	}
}

// renew wakes readers. The caller holds mu.
func (b *board) renew() {
	close(b.changed)
	b.changed = make(chan struct{})
}
