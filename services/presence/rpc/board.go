package rpc

import (
	"sync"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/load"
)

// board is the ledger and the planner, shared by all streams.
type board struct {
	// mu guards the fields below. It is a leaf.
	mu      sync.Mutex
	ledger  load.Ledger
	planner string
	version uint64        // of the ledger when changed was made
	changed chan struct{} // closed, and replaced, when what readers see changes
}

func newBoard() *board { return &board{changed: make(chan struct{})} }

// open returns the number of a stream of reports that begins now.
func (b *board) open() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ledger.Open()
}

func (b *board) report(stream uint64, e *presencev1.Edge) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.tell()
	return b.ledger.Report(stream, e, time.Now())
}

func (b *board) leave(stream uint64, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.tell()
	b.ledger.Leave(stream, id)
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

func (b *board) setPlanner(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.planner != id {
		b.planner = id
		b.renew()
	}
}

func (b *board) plans() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.planner
}

// read returns the edges and the planner as of now, and what is closed when
// either changes.
func (b *board) read() ([]*presencev1.Edge, string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ledger.Edges(time.Now()), b.planner, b.changed
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
