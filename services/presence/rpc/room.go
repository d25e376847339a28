package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/skein-mesh/skein/services/presence/people"
)

// queues is the memory that may wait for one edge, and for one backend that
// watches, in bytes. Who is further behind is cut off, and gets a state when it
// comes again.
type queues struct{ edge, backend int }

func defaultQueues() queues { return queues{edge: 64 << 20, backend: 16 << 20} }

// What a change takes of a queue, and a person in it, in bytes.
const (
	changeBytes = 128
	personBytes = 16
)

// room is who is online, shared by all streams.
type room struct {
	waits chan struct{} // capacity one: "something waits, tick"

	// mu guards the ledger. It is a leaf: what the ledger tells is only queued.
	mu     sync.Mutex
	ledger *people.Ledger
}

func newRoom() *room {
	return &room{waits: make(chan struct{}, 1), ledger: people.New(people.DefaultLimits(), time.Now())}
}

// do lets f use the ledger, alone.
func (r *room) do(f func(l *people.Ledger, now time.Time)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.ledger, time.Now())
	if r.ledger.Waits() {
		select {
		case r.waits <- struct{}{}:
		default:
		}
	}
}

// run ticks while something waits, until ctx ends.
func (r *room) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.waits:
			r.tick(ctx)
		}
	}
}

// tick ticks until nothing waits.
func (r *room) tick(ctx context.Context) {
	ticker := time.NewTicker(people.TickInterval)
	defer ticker.Stop()
	for more := true; more; {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			r.mu.Lock()
			more = r.ledger.Tick(now)
			r.mu.Unlock()
		}
	}
}

func (r *room) stats() people.Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ledger.Stats()
}
