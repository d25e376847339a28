package simulate

import (
	"container/heap"
	"time"
)

// client is one user's socket, or the lack of it.
type client struct {
	edge     *edge     // nil while it is not connected
	via      *balancer // through which it is connected
	epoch    int       // of via when it connected: a reloaded balancer has forgotten it
	seq      uint64    // of its connection; unique in a run
	attempts int       // that failed in a row
	closes   int       // how often it lost its connection to the server
	hidden   bool
	left     bool // for good
}

// backoff is when stock phoenix.js tries again after so many failures. It has no
// jitter.
func backoff(failures int) time.Duration {
	table := [...]int{10, 50, 100, 150, 200, 250, 500, 1000, 2000, 5000} // milliseconds
	return time.Duration(table[min(failures, len(table)-1)]) * time.Millisecond
}

// line holds the connections of an edge in the order in which they were opened.
// Those that ended otherwise stay in it until they come to its front.
type line struct {
	entries []entry
	front   int
}

// entry is a connection.
type entry struct {
	client *client
	seq    uint64
}

func (l *line) push(c *client) { l.entries = append(l.entries, entry{c, c.seq}) }

// head returns the oldest connection that still is one of e.
func (l *line) head(e *edge) (entry, bool) {
	for l.front < len(l.entries) {
		if first := l.entries[l.front]; first.client.edge == e && first.client.seq == first.seq {
			return first, true
		}
		l.front++
	}
	l.entries, l.front = l.entries[:0], 0
	return entry{}, false
}

// returning is a client that will try to connect.
type returning struct {
	at     time.Duration
	order  uint64 // breaks ties, so that runs are the same
	client *client
}

// agenda has the clients that will try to connect, the next one first.
type agenda []returning //nolint:recvcheck // as container/heap wants it

// Len implements [heap.Interface].
func (a agenda) Len() int { return len(a) }

// Less implements [heap.Interface].
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].order < a[j].order
}

// Swap implements [heap.Interface].
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push implements [heap.Interface].
func (a *agenda) Push(x any) {
	if r, ok := x.(returning); ok {
		*a = append(*a, r)
	}
}

// Pop implements [heap.Interface].
func (a *agenda) Pop() any {
	last := len(*a) - 1
	r := (*a)[last]
	*a = (*a)[:last]
	return r
}

func (a *agenda) add(r returning) { heap.Push(a, r) }

// due returns the next client whose time has come.
func (a *agenda) due(now time.Duration) (*client, bool) {
	if len(*a) == 0 || (*a)[0].at > now {
		return nil, false
	}
	r, ok := heap.Pop(a).(returning)
	return r.client, ok
}
