package admit

import (
	"container/list"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Slowness says how clients that are refused again and again are slowed down:
// older phoenix.js tries again after 10 ms, without end.
type Slowness struct {
	Free   int           `conf:"refuse-slowly-after" usage:"refusals of one address that are answered at once; further ones wait"`
	Within time.Duration `conf:"refuse-slowly-within" usage:"time in which an address gets that many again"`
	Delay  time.Duration `conf:"refuse-slowly-by" usage:"how long further refusals wait for their answer; 0s for not at all"`
}

// DefaultSlowness delays refusals by a second after the third within ten.
func DefaultSlowness() Slowness {
	return Slowness{Free: 3, Within: 10 * time.Second, Delay: time.Second}
}

// Validate reports every problem at once.
func (s Slowness) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(s.Free >= 1, "refuse-slowly-after: must be at least 1, got %d", s.Free)
	check(s.Within > 0, "refuse-slowly-within: must be positive, got %s", s.Within)
	check(s.Delay >= 0 && s.Delay <= time.Minute, "refuse-slowly-by: must be 0s to 1m, got %s", s.Delay)
	return errors.Join(errs...)
}

// maxAddresses bounds the addresses that are remembered; the one that was not
// refused for the longest time is forgotten first.
const maxAddresses = 10_000

// Refusals remembers addresses that were refused, for all mounts of an edge. It
// may be used by any goroutine.
type Refusals struct {
	slowness Slowness

	mu     sync.Mutex // guards the fields below
	byAddr map[netip.Addr]*list.Element
	recent *list.List // of *refusal, the latest first
}

// refusal is how often an address was refused lately: a bucket that fills with
// each refusal, and empties over time.
type refusal struct {
	addr  netip.Addr
	level float64
	at    time.Time
}

// NewRefusals remembers nobody. s must be valid.
func NewRefusals(s Slowness) *Refusals {
	return &Refusals{slowness: s, byAddr: map[netip.Addr]*list.Element{}, recent: list.New()}
}

// refused notes a refusal and returns how long its answer has to wait.
func (r *Refusals) refused(from netip.Addr, now time.Time) time.Duration {
	if r.slowness.Delay == 0 || !from.IsValid() {
		return 0
	}
	from = network(from)
	r.mu.Lock()
	defer r.mu.Unlock()
	element, known := r.byAddr[from]
	if !known {
		element = r.recent.PushFront(&refusal{addr: from, at: now})
		r.byAddr[from] = element
		r.forget()
	}
	r.recent.MoveToFront(element)
	entry, _ := element.Value.(*refusal)
	free := float64(r.slowness.Free)
	drained := now.Sub(entry.at).Seconds() * free / r.slowness.Within.Seconds()
	entry.level, entry.at = min(max(entry.level-drained, 0)+1, 2*free), now
	if entry.level > free {
		return r.slowness.Delay
	}
	return 0
}

// admitted forgets an address.
func (r *Refusals) admitted(from netip.Addr) {
	if !from.IsValid() {
		return
	}
	from = network(from)
	r.mu.Lock()
	defer r.mu.Unlock()
	if element, known := r.byAddr[from]; known {
		r.recent.Remove(element)
		delete(r.byAddr, from)
	}
}

// forget keeps the table within its bound.
func (r *Refusals) forget() {
	if r.recent.Len() <= maxAddresses {
		return
	}
	oldest := r.recent.Back()
	entry, _ := oldest.Value.(*refusal)
	r.recent.Remove(oldest)
	delete(r.byAddr, entry.addr)
}

// network is what one client has: an IPv4 address, or the /64 of an IPv6 one.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a
	}
	prefix, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return prefix.Addr()
}
