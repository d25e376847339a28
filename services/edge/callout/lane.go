package callout

import (
	"sync"

	"github.com/skein-mesh/skein/pkg/channel"
)

// lane runs jobs, a bounded number at a time. The others wait in order, bounded
// in bytes. Its workers exist only while there are jobs.
type lane struct {
	// Static after construction.
	limit   int             // most workers
	room    int             // most bytes that wait
	workers *sync.WaitGroup // those of all lanes

	mu      sync.Mutex // guards the fields below
	working int
	waiting []job
	bytes   int // of those that wait
	closed  bool
}

type job struct {
	run  func()
	cost int
}

// run has f run soon. It returns [channel.ErrOverloaded] if there is no room
// for f to wait, and [channel.ErrUnavailable] after close; f then never runs.
func (l *lane) run(cost int, f func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return channel.ErrUnavailable
	case l.working < l.limit:
		l.working++
		// Under the lock, so that nobody waits for the workers in between.
		l.workers.Go(func() { l.work(f) })
	case len(l.waiting) > 0 && l.bytes+cost > l.room:
		return channel.ErrOverloaded
	default:
		l.waiting, l.bytes = append(l.waiting, job{f, cost}), l.bytes+cost
	}
	return nil
}

// work runs f and then what waits, until nothing does.
func (l *lane) work(f func()) {
	for f != nil {
		f()
		f = l.next()
	}
}

// next takes the first that waits. Without one it returns nil, and the worker
// has ended.
func (l *lane) next() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.waiting, l.working = nil, l.working-1
		return nil
	}
	first := l.waiting[0]
	l.waiting[0] = job{}
	l.waiting, l.bytes = l.waiting[1:], l.bytes-first.cost
	return first.run
}

// close refuses jobs from now on; those that wait still run.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}
