//go:build e2e

package balancer

import (
	"fmt"
	"testing"

	"github.com/skein-mesh/skein/tests/process"
)

// closedForRestart is the code of a drain and of a planned move; phoenix.js comes
// back from it.
const closedForRestart = 1012

// drainDelay lets HAProxy, which asks each second, hear twice of a drain before
// the edge closes anything.
const drainDelay = "--drain-delay=2500ms"

// TestDrainHurtsNobody stops an edge behind each balancer, and starts it again.
func TestDrainHurtsNobody(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			flags := []string{drainDelay}
			if w.proxied {
				flags = append(flags, "--proxy-protocol")
			}
			f := plan{edgeFlags: flags}.start(t)
			f.startEdges(t, 3)
			drained(t, f, w.start(t, f.hosts()))
		})
	}
}

func drained(t *testing.T, f *fleet, lb *balancer) {
	t.Helper()
	const clients = 300
	if lb.stats != "" {
		lb.awaitWeights(t, "100", "100", "100")
	}
	s := newSwarm(t, lb.listen, clients)
	f.awaitConnections(t, clients)
	leaving := f.edges[0]
	before := f.counts(t)[leaving.ID]
	if before < clients/4 {
		t.Fatalf("%s has %d of %d connections", leaving.ID, before, clients)
	}

	leaving.Stop(t)
	s.settle(t, clients)
	if told := s.tally().closes[closedForRestart]; told != before {
		t.Errorf("%d clients were told to come back, of %d", told, before)
	}
	f.awaitConnections(t, clients)

	// HAProxy keeps a drain until it is taken back in words. The planner may prefer the
	// edge that has nobody by then.
	leaving.Start(t)
	if lb.stats != "" {
		lb.awaitWeights(t, "", "", "")
	}
	s.grow(t.Context(), clients/2, growth)
	s.settle(t, clients+clients/2)
	process.Eventually(t, patience, fmt.Sprintf("%s has clients again", leaving.ID), func() bool {
		return f.counts(t)[leaving.ID] > 0 // how many depends on when the planner heard of it
	})
	s.nobodyRefused(t)
	s.closedOnly(t, closedForRestart)
}
