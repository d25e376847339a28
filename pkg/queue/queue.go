// Package queue is a bounded FIFO from many producers to one consumer. Every
// hop between goroutines in the mesh is one, so the ways a message can wait or
// be lost are exactly its Push calls.
package queue

import (
	"errors"
	"sync"
)

// ErrFull is returned by [Queue.Push]. The caller decides what a full queue
// means: a publish is refused, a delivery is dropped and counted. Nobody blocks.
var ErrFull = errors.New("queue: full")

// Queue is a FIFO bounded by the summed cost of its items. Push may be called
// by all goroutines, Ready and Take by one consumer only.
type Queue[T any] struct {
	limit int
	cost  func(T) int
	ready chan struct{} // holds a token while items is non-empty

	mu    sync.Mutex // guards the fields below
	items []T
	total int
}

// New returns a queue that holds items costing at most limit in total. An item
// that alone costs more than limit is taken by an empty queue.
func New[T any](limit int, cost func(T) int) *Queue[T] {
	return &Queue[T]{limit: limit, cost: cost, ready: make(chan struct{}, 1)}
}

// Push appends v, or returns [ErrFull] and leaves the queue unchanged.
func (q *Queue[T]) Push(v T) error {
	c := q.cost(v)
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) > 0 && q.total+c > q.limit {
		return ErrFull
	}
	q.items, q.total = append(q.items, v), q.total+c
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return nil
}

// Ready delivers when there is something to Take. A token may be left over from
// items already taken: Take then returns none.
func (q *Queue[T]) Ready() <-chan struct{} { return q.ready }

// keep is the capacity that a backing array may have without being well used.
const keep = 4096

// Take empties the queue and returns its items in order. It keeps buf, cleared,
// as the next backing array, so a steady consumer allocates nothing; an array
// that a burst left behind is given up.
func (q *Queue[T]) Take(buf []T) []T {
	if cap(buf) > keep && len(buf) < cap(buf)/4 {
		buf = nil
	}
	clear(buf)
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items, q.total = buf[:0], 0
	return items
}

// Cost is the summed cost of the items that wait.
func (q *Queue[T]) Cost() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}
