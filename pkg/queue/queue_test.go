package queue_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/queue"
)

func cost(v int) int { return v }

// A queue behaves as a slice with a sum does.
func TestQueueIsABoundedFIFO(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(0, 20).Draw(t, "limit")
		q := queue.New(limit, cost)
		var model, buf []int
		total := 0
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				v := rapid.IntRange(0, 30).Draw(t, "cost")
				fits := len(model) == 0 || total+v <= limit
				if err := q.Push(v); (err == nil) != fits || err != nil && !errors.Is(err, queue.ErrFull) {
					t.Fatalf("push %d on %v: %v", v, model, err)
				}
				if fits {
					model, total = append(model, v), total+v
				}
			},
			"take": func(t *rapid.T) {
				if buf = q.Take(buf); !slices.Equal(buf, model) {
					t.Fatalf("took %v, want %v", buf, model)
				}
				model, total = nil, 0
			},
			"": func(t *rapid.T) {
				if q.Cost() != total {
					t.Fatalf("cost %d, want %d", q.Cost(), total)
				}
			},
		})
	})
}

func TestReadyDeliversWhileSomethingWaits(t *testing.T) {
	q := queue.New(10, cost)
	ready := func() bool {
		select {
		case <-q.Ready():
			return true
		default:
			return false
		}
	}
	if ready() {
		t.Error("an empty queue is ready")
	}
	_, _ = q.Push(1), q.Push(1)
	if !ready() || ready() {
		t.Error("two items are not one token")
	}
	q.Take(nil)
	_ = q.Push(1)
	if !ready() {
		t.Error("an item after Take gives no token")
	}
}

// No item is lost between a producer and a consumer that waits for Ready.
func TestConcurrentProducers(t *testing.T) {
	const producers, each = 8, 2000
	q := queue.New(1<<30, cost)
	var running sync.WaitGroup
	for range producers {
		running.Go(func() {
			for i := range each {
				_ = q.Push(i)
			}
		})
	}
	var buf []int
	for got := 0; got < producers*each; got += len(buf) {
		<-q.Ready()
		buf = q.Take(buf)
	}
	running.Wait()
	if q.Cost() != 0 {
		t.Errorf("cost %d of an empty queue", q.Cost())
	}
}

func TestTakenItemsAreNotKept(t *testing.T) {
	q := queue.New(10, func(*int) int { return 1 })
	_ = q.Push(new(int))
	taken := q.Take(nil)
	q.Take(taken)
	if taken[0] != nil {
		t.Error("an item that was handed back is still referred to")
	}
}

func TestSteadyConsumerAllocatesNothing(t *testing.T) {
	q := queue.New(1000, cost)
	var buf []int
	work := func() {
		for range 10 {
			_ = q.Push(1)
		}
		buf = q.Take(buf)
	}
	work()
	work() // two arrays take turns
	if n := testing.AllocsPerRun(100, work); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestArrayOfABurstIsGivenUp(t *testing.T) {
	q := queue.New(1<<20, cost)
	for range 1 << 16 {
		_ = q.Push(1)
	}
	buf := q.Take(nil)
	for range 8 {
		_ = q.Push(1)
		buf = q.Take(buf)
	}
	if cap(buf) > 1<<13 {
		t.Errorf("still %d items large", cap(buf))
	}
}

func BenchmarkPushTake(b *testing.B) {
	q := queue.New(1<<30, cost)
	var buf []int
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = q.Push(1)
		if i%64 == 0 {
			buf = q.Take(buf)
		}
	}
}
