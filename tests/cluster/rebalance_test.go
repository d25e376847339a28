package cluster

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/cluster/clustertest"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/presence/balance"
)

// quick are settings for few clients: a handful of moves is worth it.
func quick() *balance.Settings {
	s := balance.Default()
	s.LeastMoves, s.Budget, s.SteerWait, s.Settle = 3, 10*time.Second, 3*time.Second, 20*time.Second
	return &s
}

// levelled runs a fleet behind a balancer with a crowd of clients on its edges.
func levelled(t *testing.T, s size, clients int, f func(c *fleet, crowd *crowd)) {
	t.Helper()
	s.planning, s.delay = quick(), 3*time.Second
	run(t, s, func(c *fleet) {
		b := c.balance()
		defer b.end()
		time.Sleep(5 * time.Second) // virtual time: the planner knows the fleet
		crowd := b.gather(clients)
		defer crowd.end()
		time.Sleep(30 * time.Second) // virtual time: arrivals of late are no news any more
		f(c, crowd)
	})
}

// settles waits until nobody has moved for a while, and everybody is there.
func (c *crowd) settles(n int) {
	t := c.balancer.fleet.t
	t.Helper()
	last, since := -1, time.Now()
	eventually(t, 5*time.Minute, "clients stay where they are", func() bool {
		if now := c.rejoins(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 40*time.Second && c.here() == n
	})
}

// spread is the difference between the edges with most and fewest clients.
func (c *crowd) spread() int {
	var counts []int
	for _, e := range c.balancer.fleet.listed() {
		counts = append(counts, c.counts()[e.clients])
	}
	return slices.Max(counts) - slices.Min(counts)
}

// only checks that nobody was refused, nobody was seen to leave, and every close
// was a request to come back.
func (c *crowd) only(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused > 0 {
		t.Errorf("%d connections were refused", c.refused)
	}
	if c.left > 0 {
		t.Errorf("%d times somebody saw people leave who only moved", c.left)
	}
	if others := slices.DeleteFunc(slices.Collect(maps.Keys(c.codes)), func(code wsframe.Code) bool { return code == wsframe.CodeRestart }); len(others) > 0 {
		t.Errorf("sockets were closed with %v", others)
	}
}

func TestAnEdgeThatJoinsGetsItsShare(t *testing.T) {
	levelled(t, size{edges: 3, routers: 2, presence: 2}, 60, func(c *fleet, crowd *crowd) {
		c.addEdge("e4").awaitReady(t)
		crowd.settles(60)
		if moves := crowd.rejoins(); moves < 15-2 || moves > 17 {
			t.Errorf("%d moves of at least 15", moves)
		}
		if crowd.spread() > 2 {
			t.Errorf("left at %v", crowd.counts())
		}
		crowd.only(t)
	})
}

func TestPresenceIsKilledWhileClientsMove(t *testing.T) {
	levelled(t, size{edges: 3, routers: 2, presence: 2}, 60, func(c *fleet, crowd *crowd) {
		c.addEdge("e4").awaitReady(t)
		eventually(t, time.Minute, "moves", func() bool { return crowd.rejoins() >= 5 })
		c.killPresence(c.presence[0])
		crowd.settles(60)
		if moves := crowd.rejoins(); moves > 18 {
			t.Errorf("%d moves of at least 15", moves)
		}
		if crowd.spread() > 3 {
			t.Errorf("left at %v", crowd.counts())
		}
	})
}

func TestPresenceIsCutInTwoWhileClientsMove(t *testing.T) {
	levelled(t, size{edges: 3, routers: 2, presence: 2}, 60, func(c *fleet, crowd *crowd) {
		c.addEdge("e4").awaitReady(t)
		eventually(t, time.Minute, "moves", func() bool { return crowd.rejoins() >= 5 })
		one, other := c.presence[0], c.presence[1]
		c.network.cut(one.host, other.host, true)
		c.gossip.Cut([]*clustertest.Transport{one.gossip}, []*clustertest.Transport{other.gossip})
		crowd.settles(60)
		if moves := crowd.rejoins(); moves > 18 {
			t.Errorf("%d moves of at least 15 while two instances planned", moves)
		}
		if crowd.spread() > 3 {
			t.Errorf("left at %v", crowd.counts())
		}
		crowd.only(t)
		before := crowd.rejoins()
		c.network.cut(one.host, other.host, false)
		c.gossip.Heal([]*clustertest.Transport{one.gossip}, []*clustertest.Transport{other.gossip})
		crowd.settles(60)
		if more := crowd.rejoins() - before; more > 0 {
			t.Errorf("%d moved when the instances met again", more)
		}
	})
}

func TestAnEdgeIsKilledWhileClientsMove(t *testing.T) {
	levelled(t, size{edges: 3, routers: 2, presence: 1}, 60, func(c *fleet, crowd *crowd) {
		c.addEdge("e4").awaitReady(t)
		eventually(t, time.Minute, "moves", func() bool { return crowd.rejoins() >= 5 })
		victim := c.edges[1]
		lost := crowd.counts()[victim.clients]
		c.killEdge(victim)
		crowd.settles(60)
		if moves := crowd.rejoins(); moves > 15+lost+6 {
			t.Errorf("%d came back, of which %d had to", moves, lost)
		}
		if crowd.spread() > 3 {
			t.Errorf("left at %v", crowd.counts())
		}
	})
}

func TestARollingRestartMovesEverybodyOnce(t *testing.T) {
	levelled(t, size{edges: 3, routers: 2, presence: 1}, 60, func(c *fleet, crowd *crowd) {
		c.addEdge("e4").awaitReady(t) // the surge: it takes the place of the last one
		time.Sleep(2 * time.Second)   // virtual time: balancers know it
		for _, e := range slices.Clone(c.edges[:2]) {
			c.restartEdge(e)
			time.Sleep(10 * time.Second) // virtual time: as an orchestrator waits for it to stay ready
		}
		last := c.edges[0]
		if last.id != "e3" {
			t.Fatalf("%s is the last", last.id)
		}
		last.end(t)
		c.forgetEdge(last)
		crowd.settles(60)
		if moves := crowd.rejoins(); moves > 63 {
			t.Errorf("60 clients came back %d times", moves)
		}
		if crowd.spread() > 4 {
			t.Errorf("left at %v", crowd.counts())
		}
		crowd.only(t)
	})
}
