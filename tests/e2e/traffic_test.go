//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

const (
	trafficTopics = 20
	trafficTick   = 10 * time.Millisecond // five messages of sockets and five of the backend: 1,000/s
	perTick       = 5
)

// traffic is a steady 1,000 messages a second, half from sockets of edge-a and
// half from a backend, to subscribers at edge-b.
type traffic struct {
	ledger      *ledger
	topics      []string
	sockets     []*socketPublisher
	backend     *backend
	subscribers []*client
	stop        context.CancelFunc
	stopped     sync.WaitGroup
}

func startTraffic(t *testing.T, f *fleet) *traffic {
	t.Helper()
	tr := &traffic{ledger: newLedger()}
	for i := range trafficTopics {
		tr.topics = append(tr.topics, fmt.Sprintf("room:%d", i))
	}
	for i := range 2 {
		subscriber := connect(t, f.edges[1], tr.ledger.subscriber(fmt.Sprintf("subscriber-%d", i)))
		subscriber.join(t, tr.topics...)
		tr.subscribers = append(tr.subscribers, subscriber)
	}
	for i := range perTick {
		tr.sockets = append(tr.sockets, newSocketPublisher(t, f.edges[0], fmt.Sprintf("socket-%d", i), tr.ledger, tr.topics))
	}
	tr.backend = newBackend(t, f, "backend", tr.ledger)
	ctx, cancel := context.WithCancel(t.Context())
	tr.stop = cancel
	tr.stopped.Go(func() { tr.run(ctx, t.Context()) })
	return tr
}

// run publishes until ctx ends; calls may outlive it. It catches up on ticks
// that a busy machine made it miss.
func (tr *traffic) run(ctx, calls context.Context) {
	tick := time.NewTicker(trafficTick)
	defer tick.Stop()
	start := time.Now()
	for n := 0; ; {
		for ; n < int(time.Since(start)/trafficTick); n++ {
			for i, socket := range tr.sockets {
				socket.publish(tr.topics[(n+i)%len(tr.topics)])
				tr.backend.publish(calls, tr.topics[(n*perTick+i)%len(tr.topics)])
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// finish ends the traffic and checks that everything arrived once, in order,
// over sockets that stayed open.
func (tr *traffic) finish(t *testing.T) {
	t.Helper()
	tr.stop()
	tr.stopped.Wait()
	for _, socket := range tr.sockets {
		socket.flush(t)
		socket.stays(t, socket.name)
	}
	tr.backend.flush(t)
	tr.ledger.check(t)
	if len(tr.ledger.unsure) > 0 {
		t.Error("messages with unknown fate although no process was killed")
	}
	for i, subscriber := range tr.subscribers {
		subscriber.stays(t, fmt.Sprintf("subscriber-%d", i))
	}
}

func TestTrafficArrivesOnceAndInOrder(t *testing.T) {
	f := startFleet(t)
	tr := startTraffic(t, f)
	pass(t, 30*time.Second)
	tr.finish(t)
}

func TestTrafficSurvivesARollingRestartOfRouters(t *testing.T) {
	f := startFleet(t)
	tr := startTraffic(t, f)
	pass(t, 2*time.Second)
	for _, r := range f.routers {
		r.Restart(t)
		pass(t, 2*time.Second)
	}
	tr.finish(t)
}

func TestDeliveryResumesAfterARouterIsKilled(t *testing.T) {
	f := startFleet(t)
	const topics = 30
	var mu sync.Mutex
	latest := map[string]time.Time{}
	subscriber := connect(t, f.edges[1], func(m message) {
		mu.Lock()
		defer mu.Unlock()
		latest[m.Topic] = time.Now()
	})
	publisher := connect(t, f.edges[0], nil)
	victim := f.owner(t, "room:0")
	owned := 0
	for i := range topics {
		topic := fmt.Sprintf("room:%d", i)
		subscriber.join(t, topic)
		publisher.join(t, topic)
		if f.owner(t, topic) == victim {
			owned++
		}
	}
	stop := pushSteadily(t, publisher, topics)
	defer stop()
	process.Eventually(t, 5*time.Second, "every topic delivers", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(latest) == topics
	})

	victim.Signal(t, syscall.SIGKILL)
	killed := time.Now()
	process.Eventually(t, 3*time.Second, "every topic delivers again", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, at := range latest {
			if at.Before(killed.Add(100 * time.Millisecond)) { // what was on its way does not count
				return false
			}
		}
		return true
	})
	t.Logf("%d of %d topics were owned by the killed router; all deliver again after %s", owned, topics, time.Since(killed).Round(time.Millisecond))
	victim.Start(t)
	publisher.stays(t, "the publisher")
	subscriber.stays(t, "the subscriber")
}

// pushSteadily pushes to every topic each 20 ms, whatever the answers are.
func pushSteadily(t *testing.T, c *client, topics int) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			for i := range topics {
				_ = c.ask(fmt.Sprintf("room:%d", i), "n", struct{}{}, nil) // the socket's end is noticed elsewhere
			}
			<-tick.C
		}
	})
	return func() { cancel(); done.Wait() }
}

// pass lets time pass while traffic runs: that is the test, nothing is waited
// for.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
