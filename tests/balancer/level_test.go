//go:build e2e

package balancer

import (
	"context"
	"fmt"
	"testing"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/tests/process"
)

// What is asked of levelling.
const (
	levelWithin = 0.05 // of the average, each edge
	levelTime   = time.Minute
	mostMoves   = 1.10 // of the least that is possible
)

// arrivals is how many connections an edge may have to take in a second.
const arrivals = 60

// levelling makes plans last no longer than that rate says, so that it counts.
func levelling(rate int) []string {
	return []string{fmt.Sprintf("--max-arrivals-per-second=%d", rate), "--move-budget=1s", "--steer-wait=3s"}
}

// status asks the first presence instance that answers what the planner does;
// nil if none does.
func (f *fleet) status(t *testing.T) *presencev1.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, p := range f.presence {
		answer, err := presencev1.NewRebalanceServiceClient(p.conn).Status(ctx, &presencev1.StatusRequest{})
		if err == nil {
			return answer.GetStatus()
		}
	}
	return nil
}

// level reports whether each of n edges has the average, more or less.
func level(counts map[string]int, n, clients int) bool {
	average := float64(clients) / float64(n)
	for _, count := range counts {
		if float64(count) > average*(1+levelWithin) || float64(count) < average*(1-levelWithin) {
			return false
		}
	}
	return len(counts) == n
}

// awaitLevel waits until n edges are level.
func (f *fleet) awaitLevel(t *testing.T, within time.Duration, n, clients int) {
	t.Helper()
	var counts map[string]int
	var status *presencev1.Status
	defer func() {
		if t.Failed() {
			t.Logf("connections: %v; the planner: %v, %v, %q", counts, status.GetPhase(), status.GetGates(), status.GetWarnings())
		}
	}()
	process.Eventually(t, within, fmt.Sprintf("%d edges are level with %d clients", n, clients), func() bool {
		counts, status = f.counts(t), f.status(t)
		return level(counts, n, clients)
	})
}

// crowd is a fleet of 3 edges full of clients, and edges that are not started.
type crowd struct {
	*fleet
	*swarm

	lb     *balancer
	spares []*edge
}

func newCrowd(t *testing.T, p plan, clients, spares int, start func(t *testing.T, hosts []string) *balancer) *crowd {
	t.Helper()
	p.edgeFlags = append(p.edgeFlags, drainDelay)
	f := p.start(t)
	f.startEdges(t, 3)
	c := &crowd{fleet: f}
	for range spares {
		c.spares = append(c.spares, f.newEdge(t))
	}
	c.lb = start(t, f.hosts())
	if c.lb.stats != "" {
		c.lb.awaitWeights(t, "100", "100", "100")
	}
	c.swarm = newSwarm(t, c.lb.listen, clients)
	f.awaitConnections(t, clients)
	return c
}

func behindHAProxy(t *testing.T, hosts []string) *balancer {
	t.Helper()
	return haproxy(t, "http.cfg", hosts, "MAXCONN=9000")
}

// TestNewcomerIsLevelled: 3 edges with 3,000 clients get a fourth.
func TestNewcomerIsLevelled(t *testing.T) {
	const clients = 3000
	c := newCrowd(t, plan{presenceFlags: levelling(arrivals)}, clients, 1, behindHAProxy)
	least := clients / 4 // what the newcomer lacks
	begin := time.Now()
	c.spares[0].Start(t)
	c.awaitLevel(t, levelTime, 4, clients)
	took := time.Since(begin).Round(time.Second)
	c.awaitNoPlan(t)
	c.settle(t, clients)

	moves, busiest := c.tally().connects-clients, c.busiest(begin)
	t.Logf("level after %s and %d moves (least %d), busiest second %d arrivals; %v", took, moves, least, busiest, c.counts(t))
	if float64(moves) > mostMoves*float64(least) {
		t.Errorf("%d moves, the least is %d", moves, least)
	}
	if busiest > arrivals {
		t.Errorf("%d arrivals in a second, the rate is %d", busiest, arrivals)
	}
	c.nobodyRefused(t)
	c.closedOnly(t, closedForRestart)
	c.stays(t, clients)
}

// stays checks that a plan is no reason for another.
func (c *crowd) stays(t *testing.T, clients int) {
	t.Helper()
	before := c.tally().connects
	for range 5 { // seconds, each of which the planner looks at anew
		look := c.reports(t)
		process.Eventually(t, patience, "every edge has reported anew", func() bool { return c.reports(t) > look })
	}
	if more := c.tally().connects - before; more > clients/100 {
		t.Errorf("%d more moves after everything was level", more)
	}
}

// awaitNoPlan waits until the planner is done.
func (f *fleet) awaitNoPlan(t *testing.T) {
	t.Helper()
	process.Eventually(t, 2*patience, "the planner has ended its plan", func() bool {
		s := f.status(t)
		return s != nil && s.GetCurrent() == nil
	})
}

// reports is when the edge reported that did so least recently.
func (c *crowd) reports(t *testing.T) int64 {
	t.Helper()
	oldest := int64(0)
	for _, e := range c.look(t).GetEdges() {
		if at := e.GetTaken().AsTime().UnixNano(); oldest == 0 || at < oldest {
			oldest = at
		}
	}
	return oldest
}

// TestRoundRobinIsFoundOut: nginx without least_conn hears of no weights, so that
// those who are moved come back anywhere. That costs moves, of which there must
// be an end; it must be told, and lose nobody.
func TestRoundRobinIsFoundOut(t *testing.T) {
	const clients = 600
	c := newCrowd(t, plan{presenceFlags: levelling(4 * arrivals)}, clients, 1, func(t *testing.T, hosts []string) *balancer {
		t.Helper()
		return nginx(t, "http.conf", hosts, "        least_conn; ", "        # least_conn; ")
	})
	begin := time.Now()
	c.spares[0].Start(t)
	var warnings []string
	process.Eventually(t, patience, "the planner has begun, and says that hints are ignored", func() bool {
		s := c.status(t)
		warnings = s.GetWarnings()
		return len(warnings) > 0 && s.GetCurrent() != nil
	})
	c.awaitNoPlan(t)
	c.settle(t, clients)
	t.Logf("%q; over after %s and %d moves (least %d) with %v",
		warnings, time.Since(begin).Round(time.Second), c.tally().connects-clients, clients/4, c.counts(t))
	c.nobodyRefused(t)
	c.closedOnly(t, closedForRestart)
}
