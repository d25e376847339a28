package socket

import (
	"net/netip"
	"sync"
)

// Addresses counts the connections of each address, over all transports. Its
// methods may be called concurrently, and on nil, which has no limit.
type Addresses struct {
	limit int // static

	mu    sync.Mutex
	count map[netip.Addr]int
}

// NewAddresses returns a count with a limit for each address; zero is none.
func NewAddresses(limit int) *Addresses {
	if limit == 0 {
		return nil
	}
	return &Addresses{limit: limit, count: map[netip.Addr]int{}}
}

// below reports whether one more socket would be within the limit.
func (a *Addresses) below(addr netip.Addr) bool {
	if a == nil || !addr.IsValid() {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count[addr] < a.limit
}

// Enter counts a connection and reports whether it is within the limit. Each
// Enter needs a Leave, whatever it returned. What is not an IP address has no
// limit.
func (a *Addresses) Enter(addr netip.Addr) bool {
	if a == nil || !addr.IsValid() {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count[addr]++
	return a.count[addr] <= a.limit
}

// Leave undoes Enter.
func (a *Addresses) Leave(addr netip.Addr) {
	if a == nil || !addr.IsValid() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count[addr]--; a.count[addr] <= 0 {
		delete(a.count, addr)
	}
}
