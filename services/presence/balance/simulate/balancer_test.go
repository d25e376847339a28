package simulate

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// balancing is a balancer before ready edges that tell the given weights, which
// it has heard.
func balancing(t *testing.T, name string, weights ...int) (*balancer, []*edge) {
	t.Helper()
	b := &balancer{policy: choose(policies(), name), inter: time.Second, random: rand.New(rand.NewPCG(1, 2))}
	var edges []*edge
	for _, weight := range weights {
		e := &edge{state: ready, weight: weight}
		edges = append(edges, e)
		b.meet(e, 0)
	}
	b.poll(time.Second)
	return b, edges
}

// send connects n clients and returns how many of them each edge got.
func send(b *balancer, edges []*edge, n int) []int {
	got := make([]int, len(edges))
	for range n {
		if i := slices.Index(edges, b.connect(0)); i >= 0 {
			got[i]++
		}
	}
	return got
}

// The figures are those of HAProxy 2.6.12 and nginx 1.22.1 with the same weights.
func TestBalancersChooseAsRealOnesDo(t *testing.T) {
	for _, c := range []struct {
		policy  string
		weights []int
		clients int
		want    []int
	}{
		{"roundrobin", []int{50, 50, 100}, 100, []int{25, 25, 50}},
		{"roundrobin", []int{1, 1, 100}, 102, []int{1, 1, 100}},
		{"roundrobin", []int{100, 100, 100}, 30, []int{10, 10, 10}},
		{"plain-roundrobin", []int{1, 1, 100}, 30, []int{10, 10, 10}},
		{"leastconn", []int{100, 100, 50}, 50, []int{20, 20, 10}},
		{"plain-leastconn", []int{1, 1, 100}, 30, []int{10, 10, 10}},
	} {
		b, edges := balancing(t, c.policy, c.weights...)
		if got := send(b, edges, c.clients); !slices.Equal(got, c.want) {
			t.Errorf("%s with %v: %v, want %v", c.policy, c.weights, got, c.want)
		}
	}
	b, edges := balancing(t, "random", 1, 1, 98)
	if got := send(b, edges, 10_000); got[2] < 9_700 || got[2] > 9_900 {
		t.Errorf("random: %v, want about 9800 for the last", got)
	}
}

// A new worker knows nothing of the connections of the old one.
func TestAReloadForgetsConnections(t *testing.T) {
	b, edges := balancing(t, "leastconn", 100, 100, 100)
	edges[2].state = draining
	b.poll(2 * time.Second)
	if got := send(b, edges, 40); !slices.Equal(got, []int{20, 20, 0}) {
		t.Fatalf("without the third: %v", got)
	}
	edges[2].state = ready
	b.poll(3 * time.Second)
	b.reload()
	b.closed(edges[0], 0) // of before
	if got := send(b, edges, 30); !slices.Equal(got, []int{10, 10, 10}) {
		t.Errorf("after the reload: %v, want 10 each", got)
	}
}

func TestAnEdgeThatRefusesIsPassedOver(t *testing.T) {
	b, edges := balancing(t, "roundrobin", 100, 100)
	edges[0].state = gone
	if got := send(b, edges, 10); !slices.Equal(got, []int{0, 10}) {
		t.Errorf("got %v, want all at the second", got)
	}
	for i := range fall {
		b.poll(time.Duration(2+i) * time.Second)
	}
	if b.servers[0].weight != 0 {
		t.Error("an edge that does not answer is still given clients")
	}
	edges[1].state = gone
	if e := b.connect(0); e != nil {
		t.Error("a client was given to an edge that is gone")
	}
	edges[0].state = ready
	b.poll(10 * time.Second)
	if e := b.connect(0); e != edges[0] {
		t.Error("an edge that is back gets nobody")
	}
}
