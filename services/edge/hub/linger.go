package hub

import (
	"context"
	"time"
)

// Linger is how long a topic is still wanted after its last subscriber left.
const Linger = time.Second

// sweepInterval is how late a topic may be dropped.
const sweepInterval = 100 * time.Millisecond

// vacancy says that a topic lost its last member at that time, and is void if
// it has got others since.
type vacancy struct {
	topic *topic
	since time.Duration // the hub's age
}

// vacate notes that a topic has no member. The lock of its shard is held.
func (h *Hub) vacate(sh *shard, t *topic) {
	t.vacant = time.Since(h.born)
	sh.vacant = append(sh.vacant, vacancy{t, t.vacant})
	h.counts.vacancies.Add(1)
}

// Run drops topics whose time is over, until ctx ends. One timer serves them
// all, however many there are.
func (h *Hub) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			h.sweep()
		}
	}
}

func (h *Hub) sweep() {
	if h.counts.vacancies.Load() == 0 {
		return
	}
	before := time.Since(h.born) - Linger
	for i := range h.shards {
		h.sweepShard(&h.shards[i], before)
	}
}

// sweepShard drops what has been vacant since before. A topic that the mesh has
// not confirmed yet is left to [Hub.Confirm]: else a late Confirm could be
// taken for the answer to a later Want.
func (h *Hub) sweepShard(sh *shard, before time.Duration) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n := 0
	for n < len(sh.vacant) && sh.vacant[n].since <= before {
		t, since := sh.vacant[n].topic, sh.vacant[n].since
		n++
		if len(t.members) == 0 && t.confirmed && t.vacant == since && sh.topics[t.name] == t {
			h.forget(sh, t)
		}
	}
	if n == 0 {
		return
	}
	h.counts.vacancies.Add(-int64(n))
	clear(sh.vacant[:n])
	if sh.vacant = sh.vacant[n:]; len(sh.vacant) == 0 {
		sh.vacant = nil
	}
}
