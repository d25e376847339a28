package cluster

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// walk does at random to a fleet what operators, kernels and cables do, while
// clients on every edge publish and listen.
type walk struct {
	*fleet
	random      *rand.Rand
	subscribers []*client
	publishers  []*publisher
	names       int
}

// TestRandomWalk checks, along any way through changes of the membership, that
// nobody ever gets a message twice, and that everybody gets each exactly once
// while the membership is stable.
func TestRandomWalk(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			run(t, size{edges: 2, routers: 3, seed: seed}, func(c *fleet) {
				w := &walk{fleet: c, random: rand.New(rand.NewPCG(seed, 0)), names: 3}
				w.begin()
				for range 4 {
					for range 1 + w.random.IntN(3) {
						w.step()
						w.pass(0, 3*time.Second)
					}
					w.stable()
				}
				w.finish()
			})
		})
	}
}

func (w *walk) begin() {
	topics := []string{"room:1", "room:2", "room:3", "room:4"}
	for i, e := range w.edges {
		cl := w.connect(e)
		for _, topic := range topics {
			cl.join(topic)
			w.publishers = append(w.publishers, cl.publisher(topic, fmt.Sprint("from", i)))
		}
		w.subscribers = append(w.subscribers, cl)
	}
	for _, p := range w.publishers {
		p.begin(25 * time.Millisecond)
	}
}

// pass lets some time pass.
func (w *walk) pass(least, most time.Duration) {
	time.Sleep(least + time.Duration(w.random.Int64N(int64(most-least)+1))) // virtual time
}

func (w *walk) router() *routerNode { return w.routers[w.random.IntN(len(w.routers))] }

// step does one thing. Outages last less than it takes to fail topics.
func (w *walk) step() {
	n := len(w.routers)
	switch what := w.random.IntN(8); {
	case what == 0 && n > 1:
		w.t.Log("crash")
		w.kill(w.router())
	case what == 1 && n > 1:
		w.t.Log("leave")
		r := w.router()
		r.end(w.t)
		w.forget(r)
	case what == 2 || n < 2:
		w.t.Log("join")
		w.names++
		w.addRouter(fmt.Sprint("r", w.names))
	case what == 3:
		w.t.Log("restart")
		w.restart(w.router())
	case what == 4:
		w.t.Log("partition")
		minority := w.routers[:1+w.random.IntN(n-1)]
		w.partition(minority, true)
		w.pass(time.Second, 8*time.Second)
		w.partition(minority, false)
	case what == 5:
		w.t.Log("cut between routers")
		w.cut(w.router().host, w.router().host, 6*time.Second)
	case what == 6:
		w.t.Log("cut between edge and router")
		w.cut(w.edges[w.random.IntN(len(w.edges))].host, w.router().host, 6*time.Second)
	default:
		w.t.Log("loss")
		w.gossip.SetLoss(0.3)
		w.pass(time.Second, 5*time.Second)
		w.gossip.SetLoss(0.02)
	}
}

func (w *walk) cut(a, b string, most time.Duration) {
	if a == b {
		return
	}
	w.network.cut(a, b, true)
	w.pass(100*time.Millisecond, most)
	w.network.cut(a, b, false)
}

// stable waits until nothing changes any more and checks a second of traffic.
func (w *walk) stable() {
	w.settled(len(w.routers))
	w.adopted(len(w.routers))
	time.Sleep(3 * time.Second) // virtual time
	first := w.marks()
	time.Sleep(time.Second) // virtual time
	last := w.marks()
	time.Sleep(time.Second) // virtual time
	for i, p := range w.publishers {
		for _, s := range w.subscribers {
			count := map[int]int{}
			for _, n := range s.numbers(p.topic, p.event) {
				count[n]++
			}
			for n := first[i] + 1; n <= last[i]; n++ {
				if count[n] != 1 {
					w.t.Errorf("%s on %s: %d came %d times in a stable fleet", p.event, p.topic, n, count[n])
				}
			}
		}
		for n := first[i] + 1; n <= last[i]; n++ {
			if status := p.client.reply(p.ref(n)); status != "ok" {
				w.t.Errorf("%s on %s: %d was answered %q in a stable fleet", p.event, p.topic, n, status)
			}
		}
	}
}

func (w *walk) marks() []int {
	var marks []int
	for _, p := range w.publishers {
		marks = append(marks, p.pushed())
	}
	return marks
}

func (w *walk) finish() {
	for _, p := range w.publishers {
		p.end()
		for _, s := range w.subscribers {
			p.once(w.t, s)
		}
		w.noErrors(p.topic)
	}
	w.socketsStay()
}
