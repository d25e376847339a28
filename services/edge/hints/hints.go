// Package hints keeps what presence wants of this edge: hints of planners, which
// count for a lease, and the orders of operators, which the edge keeps for life.
//
// # Whom to follow
//
// While presence is cut in two, two instances may plan. The edge follows one: of
// those whose hints are alive the one with the lowest id. As hints say totals, a
// hint that comes twice, late, or of another planner moves nobody twice.
//
// # Without a planner
//
// When no hint is alive the edge takes its plain share and moves nobody.
//
// The package decides only: time is passed in, nothing waits, no goroutine is
// started.
package hints

import (
	"cmp"
	"maps"
	"math"
	"sync"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Bounds of weights, in percent of what balancers are configured with. The
// least is not 0: HAProxy refuses everybody if all weights are.
const (
	MinWeight     = 1
	NeutralWeight = 100 // without a planner
	MaxWeight     = 256 // HAProxy's own
)

// Bounds of what instances may say.
const (
	defaultLease = 3 * time.Second // of an instance that does not say
	maxLease     = 30 * time.Second
	maxRate      = 10_000 // moves in a second
)

// Advice is what the edge should do now.
type Advice struct {
	Weight     uint32    // to tell balancers, in percent: MinWeight to MaxWeight
	Since      time.Time // when Weight came to be what it is
	Planner    string    // id of the instance that is followed; empty for none
	MovedUntil uint64    // how many connections the edge should have moved; 0 for none
	Rate       float64   // most moves in a second: finite, not negative, 0 for none
}

// Hints of all instances. All methods may be called concurrently.
type Hints struct {
	// Static after construction.
	edge        string
	incarnation uint64

	// mu guards the fields below.
	mu     sync.Mutex
	given  map[string]lease // by id of the instance
	orders *presencev1.Orders
	advice Advice // as of the last look
}

// lease is a hint and when it stops counting.
type lease struct {
	hint *presencev1.Hint
	ends time.Time
}

// New returns the hints of one life of an edge, which starts now.
func New(edge string, incarnation uint64, now time.Time) *Hints {
	return &Hints{
		edge: edge, incarnation: incarnation, given: map[string]lease{},
		advice: Advice{Weight: NeutralWeight, Since: now},
	}
}

// Take takes in what the instance from answered to a report. r is not changed.
func (h *Hints) Take(from string, r *presencev1.ReportResponse, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expire(now)
	if later(r.GetOrders(), h.orders) {
		h.orders = r.GetOrders()
	}
	if hint := r.GetHint(); hint != nil && from != "" {
		lasts := min(cmp.Or(time.Duration(r.GetLeaseMs())*time.Millisecond, defaultLease), maxLease)
		h.given[from] = lease{hint, now.Add(lasts)}
	} else {
		delete(h.given, from)
	}
	h.follow(now)
}

// Advice is what counts now.
func (h *Hints) Advice(now time.Time) Advice {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expire(now)
	return h.advice
}

// Orders are the latest that any instance told; nil for none. They are not to be
// changed.
func (h *Hints) Orders() *presencev1.Orders {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.orders
}

// Drained reports whether the orders are that this life of the edge drains.
func (h *Hints) Drained() bool {
	for _, d := range h.Orders().GetDrains() {
		if d.GetEdge() == h.edge && d.GetIncarnation() == h.incarnation {
			return true
		}
	}
	return false
}

// expire ends the leases that are over, in order, so that the age of the weight
// is right however late somebody looks.
func (h *Hints) expire(now time.Time) {
	for {
		first, found := now, false
		for _, l := range h.given {
			if !l.ends.After(first) {
				first, found = l.ends, true
			}
		}
		if !found {
			return
		}
		maps.DeleteFunc(h.given, func(_ string, l lease) bool { return !l.ends.After(first) })
		h.follow(first)
	}
}

// follow decides anew what counts from now on.
func (h *Hints) follow(now time.Time) {
	next := Advice{Weight: NeutralWeight, Since: h.advice.Since}
	for from := range h.given {
		if next.Planner == "" || from < next.Planner {
			next.Planner = from
		}
	}
	if hint := h.given[next.Planner].hint; hint != nil && !h.orders.GetPaused() {
		next.Weight = min(max(hint.GetWeight(), MinWeight), MaxWeight)
		next.MovedUntil, next.Rate = hint.GetMovedUntil(), rate(hint.GetRate())
	}
	if next.Weight != h.advice.Weight && now.After(next.Since) {
		next.Since = now
	}
	h.advice = next
}

// rate is what counts of a rate that came over the network.
func rate(said float64) float64 {
	if math.IsNaN(said) || said < 0 {
		return 0
	}
	return min(said, maxRate)
}

// later reports whether orders replace others. Nil is the earliest.
func later(o, than *presencev1.Orders) bool {
	if o == nil || than == nil {
		return o != nil
	}
	return cmp.Or(cmp.Compare(o.GetSeq(), than.GetSeq()), cmp.Compare(o.GetInstance(), than.GetInstance())) > 0
}
