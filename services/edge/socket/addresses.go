package socket

import (
	"net/netip"
	"sync"
)

// addresses counts the sockets of each address. A limit of zero is none, and
// then nothing is counted.
type addresses struct {
	limit int

	mu    sync.Mutex
	count map[netip.Addr]int
}

// below reports whether one more socket would be within the limit.
func (a *addresses) below(addr netip.Addr) bool {
	if a.limit == 0 || !addr.IsValid() {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count[addr] < a.limit
}

// enter counts a socket and reports whether it is within the limit. Each enter
// needs a leave, whatever it returned.
func (a *addresses) enter(addr netip.Addr) bool {
	if a.limit == 0 || !addr.IsValid() {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count == nil {
		a.count = map[netip.Addr]int{}
	}
	a.count[addr]++
	return a.count[addr] <= a.limit
}

func (a *addresses) leave(addr netip.Addr) {
	if a.limit == 0 || !addr.IsValid() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count[addr]--; a.count[addr] <= 0 {
		delete(a.count, addr)
	}
}
