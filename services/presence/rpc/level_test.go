package rpc_test

import (
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/bubble"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/balance"
	"github.com/skein-mesh/skein/services/presence/rpc"
)

// hinted is an edge that understands hints and whose balancer asks for weights.
func hinted(id string, connections uint64) *presencev1.Edge {
	e := sample(id, 1, connections)
	e.Weight, e.Polled, e.UptimeMs, e.Opened = 100, true, 3_600_000, connections
	return e
}

// fleetOfTwo is an edge with all connections and an empty one, which report to
// all instances. Who is moved away from the first comes back on the second.
func fleetOfTwo(t *testing.T, connections uint64, all []*instance) (full, empty *life) {
	t.Helper()
	full, empty = newLife(t, hinted("full", connections)), newLife(t, hinted("empty", 0))
	full.balancer = empty.arrive
	for _, i := range all {
		full.reports(i)
		empty.reports(i)
	}
	return full, empty
}

func realPlanner(id string) func() rpc.Planner {
	return func() rpc.Planner { return balance.New(balance.Default(), id) }
}

// levelled checks that both edges have the same, with as few moves as that takes.
func levelled(t *testing.T, full, empty *life, each uint64) {
	t.Helper()
	f, e := full.state(), empty.state()
	if f.GetConnections() != each || e.GetConnections() != each || f.GetMoved() != each || e.GetMoved() != 0 {
		t.Errorf("%d moved, %d and %d connections", f.GetMoved(), f.GetConnections(), e.GetConnections())
	}
}

// The planner, the reports and the answers together level a fleet.
func TestFleetIsLevelled(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, all := instancesWith(t, realPlanner, "p1")
		defer all[0].stop()
		all[0].service.SetPlanner("p1")
		full, empty := fleetOfTwo(t, 300, all)
		time.Sleep(time.Minute) // virtual time
		levelled(t, full, empty, 150)
		s, err := all[0].rebalance().Status(t.Context(), &presencev1.StatusRequest{})
		if err != nil || s.GetStatus().GetPhase() != presencev1.Phase_PHASE_LEVEL {
			t.Errorf("got %v, %v", s, err)
		}
		h, err := all[0].rebalance().History(t.Context(), &presencev1.HistoryRequest{})
		if err != nil || len(h.GetRecords()) != 1 || h.GetRecords()[0].GetMoved() != 150 {
			t.Errorf("got %v, %v", h, err)
		}
	})
}

// Two instances that do not see each other plan for the same edges, both.
func TestFleetIsLevelledByTwo(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, all := instancesWith(t, realPlanner, "p1", "p2")
		for k, i := range all {
			defer i.stop()
			i.service.SetPlanner([]string{"p1", "p2"}[k])
		}
		full, empty := fleetOfTwo(t, 300, all)
		time.Sleep(time.Minute) // virtual time
		levelled(t, full, empty, 150)
	})
}

// The first instance dies when balancers know the weights and nobody was moved
// yet; the second carries on.
func TestFleetIsLevelledThroughATakeover(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, all := instancesWith(t, realPlanner, "p1", "p2")
		defer all[1].stop()
		for _, i := range all {
			i.service.SetPlanner("p1")
		}
		full, empty := fleetOfTwo(t, 300, all)
		for full.state().GetWeight() == 100 {
			time.Sleep(time.Second) // virtual time
		}
		all[0].stop()
		if full.state().GetMoved() != 0 {
			t.Error("moved before balancers know the weights")
		}
		time.Sleep(5 * time.Second) // virtual time: gossip finds out
		all[1].service.SetPlanner("p2")
		time.Sleep(time.Minute) // virtual time
		levelled(t, full, empty, 150)
	})
}

// A paused fleet stays as it is, also when nobody remembers but the edges.
func TestPausedFleetStaysAsItIs(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, all := instancesWith(t, realPlanner, "p1", "p2")
		defer all[1].stop()
		full, empty := fleetOfTwo(t, 300, all)
		all[0].order(paused(true), 0)
		all[0].stop()
		all[1].service.SetPlanner("p2")
		time.Sleep(time.Minute) // virtual time
		if full.state().GetMoved() != 0 {
			t.Error("moved though paused")
		}
		all[1].order(paused(false), 0)
		time.Sleep(time.Minute) // virtual time
		levelled(t, full, empty, 150)
	})
}
