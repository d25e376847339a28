//go:build e2e

package balancer

import (
	"fmt"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

// TestMishapsMidPlan: while clients move to an edge, the instance that plans is
// killed, and HAProxy is reloaded; while they move to another, an edge is killed.
func TestMishapsMidPlan(t *testing.T) {
	const clients = 2400
	c := newCrowd(t, plan{presence: 2, presenceFlags: levelling(arrivals)}, clients, 2, behindHAProxy)
	begin := time.Now()
	first, second := c.spares[0], c.spares[1]

	first.Start(t)
	c.awaitShare(t, first, clients/16)
	planner := c.status(t).GetPlanner()
	for _, p := range c.presence {
		if p.ID == planner {
			p.Kill(t)
		}
	}
	c.awaitShare(t, first, clients/8)
	if next := c.status(t).GetPlanner(); next == planner || next == "" {
		t.Errorf("%q plans, as before it was killed", next)
	}
	c.lb.reload(t)
	c.awaitLevel(t, levelTime, 4, clients)
	c.awaitNoPlan(t)
	least := clients / 4
	moves := c.tally().connects - clients
	t.Logf("planner killed and HAProxy reloaded: %d moves (least %d); %v", moves, least, c.counts(t))
	// The new worker knows no weights for a second: who comes meanwhile lands anywhere.
	if most := float64(least)*mostMoves + 2*arrivals; float64(moves) > most {
		t.Errorf("%d moves, at most %.0f", moves, most)
	}
	if busiest := c.busiest(begin); busiest > arrivals {
		t.Errorf("%d arrivals in a second, the rate is %d", busiest, arrivals)
	}
	c.nobodyRefused(t)
	c.closedOnly(t, closedForRestart)
	c.loseOne(t, second, clients)
}

// loseOne kills an edge while clients move to another.
func (c *crowd) loseOne(t *testing.T, next *edge, clients int) {
	t.Helper()
	before := c.tally()
	next.Start(t)
	c.awaitShare(t, next, clients/20)
	victim := c.edges[0]
	victim.Kill(t)
	c.settle(t, clients)
	c.awaitLevel(t, 2*levelTime, 4, clients)
	c.awaitNoPlan(t)
	after := c.tally()
	lost := after.closes[1006] + after.closes[1005]
	moves := after.connects - before.connects - lost
	t.Logf("an edge killed: %d clients lost it, %d were moved; %v", lost, moves, c.counts(t))
	// Those who lost their edge come back by the weights of that moment: most to the
	// newcomer, which has too many then.
	if moves > clients/2 {
		t.Errorf("%d moves after an edge was killed", moves)
	}
	c.nobodyRefused(t)
	c.stays(t, clients)
}

// awaitShare waits until an edge has so many clients.
func (c *crowd) awaitShare(t *testing.T, e *edge, n int) {
	t.Helper()
	process.Eventually(t, patience, fmt.Sprintf("%s has %d clients", e.ID, n), func() bool { return c.counts(t)[e.ID] >= n })
}
