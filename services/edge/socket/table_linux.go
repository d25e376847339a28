package socket

import (
	"sync"

	"golang.org/x/sys/unix"
)

// scanChunk is how many connections are looked at per lock of the table.
const scanChunk = 1024

// table finds the connections of a loop by descriptor.
type table struct {
	mu    sync.Mutex
	slots []*nativeConn
}

func (t *table) add(c *nativeConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for int(c.fd) >= len(t.slots) {
		t.slots = append(t.slots, nil)
	}
	t.slots[c.fd] = c
}

// remove must come before the descriptor is closed: then it can be another's.
func (t *table) remove(c *nativeConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slots[c.fd] = nil
}

// resolve looks up the connections of events and reports whether wakefd is
// among these. A descriptor can have changed hands since; its new owner then
// gets a look that finds nothing.
func (t *table) resolve(events []unix.EpollEvent, conns []*nativeConn, wakefd int) (woken bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range events {
		fd := int(events[i].Fd)
		switch {
		case fd == wakefd:
			woken = true
		case fd < len(t.slots):
			conns[i] = t.slots[fd]
		}
	}
	return woken
}

// chunk appends a part of the connections, from index from, and reports whether
// more follow. It keeps the table locked shortly.
func (t *table) chunk(buf []*nativeConn, from int) ([]*nativeConn, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := from; i < min(from+scanChunk, len(t.slots)); i++ {
		if c := t.slots[i]; c != nil {
			buf = append(buf, c)
		}
	}
	return buf, from+scanChunk < len(t.slots)
}

// all returns the connections there are.
func (t *table) all() (conns []*nativeConn) {
	for from, more := 0, true; more; from += scanChunk {
		conns, more = t.chunk(conns, from)
	}
	return conns
}
