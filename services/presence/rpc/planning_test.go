package rpc_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-mesh/skein/pkg/bubble"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/balance"
	"github.com/skein-mesh/skein/services/presence/load"
)

func TestHintsWhileElected(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n, all := instancesOf(t, "p1")
		defer all[0].stop()
		e := newLife(t, sample("a", 1, 100))
		e.reports(all[0])
		hinted := func(when string, want bool) {
			t.Helper()
			if got := e.answer("p1"); (got.GetHint() != nil) != want {
				t.Errorf("%s: answered %v", when, got)
			}
		}
		time.Sleep(5 * time.Second) // virtual time
		hinted("nobody is elected", false)
		all[0].service.SetPlanner("p1")
		hinted("just elected", false)
		time.Sleep(2 * balance.StepInterval) // virtual time
		hinted("stepped", true)
		all[0].service.SetPlanner("p0")
		time.Sleep(time.Second) // virtual time
		hinted("another is elected", false)
		_, steps := n.scripts["p1"].counts()
		time.Sleep(5 * time.Second) // virtual time
		if _, got := n.scripts["p1"].counts(); got != steps {
			t.Errorf("%d steps while another is elected", got-steps)
		}
		all[0].service.SetPlanner("p1")
		time.Sleep(2 * balance.StepInterval) // virtual time
		hinted("elected again", true)
		if made, _ := n.scripts["p1"].counts(); made != 2 {
			t.Errorf("%d planners for 2 terms", made)
		}
	})
}

// An election that is lost and won between two steps is a new term all the same.
func TestEachTermHasAPlannerOfItsOwn(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n, all := instancesOf(t, "p1")
		defer all[0].stop()
		e := newLife(t, sample("a", 1, 100))
		e.reports(all[0])
		all[0].service.SetPlanner("p1")
		time.Sleep(1500 * time.Millisecond) // virtual time
		all[0].service.SetPlanner("p0")
		all[0].service.SetPlanner("p1")
		if _, err := all[0].rebalance().Status(t.Context(), &presencev1.StatusRequest{}); err == nil {
			t.Error("the new planner has a status before its first step")
		}
		time.Sleep(time.Second) // virtual time
		if made, _ := n.scripts["p1"].counts(); made != 2 {
			t.Errorf("%d planners for 2 terms", made)
		}
	})
}

func TestHintThatDiffersGoesOutAtOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n, all := instancesOf(t, "p1")
		defer all[0].stop()
		time.Sleep(500 * time.Millisecond) // virtual time: beats come between two steps
		e := newLife(t, sample("a", 1, 100))
		e.reports(all[0])
		all[0].service.SetPlanner("p1")
		weigh := func(weight uint32) {
			n.scripts["p1"].set(func(balance.Sample) balance.Decision {
				return balance.Decision{Hints: map[string]*presencev1.Hint{"a": {Weight: weight}, "b": {Weight: 1}}}
			})
		}
		weigh(1)
		time.Sleep(5 * time.Second) // virtual time
		weigh(7)
		for n.scripts["p1"].last().At.Before(time.Now()) {
			time.Sleep(time.Millisecond) // virtual time
			synctest.Wait()
		}
		if got := e.answer("p1"); got.GetHint().GetWeight() != 7 {
			t.Errorf("right after the step the edge knows %v", got)
		}
	})
}

// What counts for one life of an edge would be nonsense for the next, whose
// totals begin anew.
func TestHintIsForOneLife(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n, all := instancesOf(t, "p1")
		defer all[0].stop()
		all[0].service.SetPlanner("p1")
		before := newLife(t, sample("a", 1, 300))
		before.reports(all[0])
		time.Sleep(1500 * time.Millisecond) // virtual time
		if before.answer("p1").GetHint().GetMovedUntil() != 200 {
			t.Fatalf("answered %v", before.answer("p1"))
		}
		n.scripts["p1"].set(func(balance.Sample) balance.Decision { time.Sleep(time.Hour); return balance.Decision{} }) // virtual time
		after := newLife(t, sample("a", 2, 50))
		after.reports(all[0])
		if got := after.answer("p1"); got == nil || got.GetHint() != nil {
			t.Errorf("the next life is answered %v", got)
		}
		time.Sleep(2 * time.Hour) // virtual time: the step ends
	})
}

func TestHintHasALease(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n, all := instancesOf(t, "p1")
		defer all[0].stop()
		all[0].service.SetPlanner("p1")
		e := newLife(t, sample("a", 1, 100))
		e.reports(all[0])
		time.Sleep(1500 * time.Millisecond)                                                                               // virtual time
		n.scripts["p1"].set(func(balance.Sample) balance.Decision { time.Sleep(time.Minute); return balance.Decision{} }) // virtual time
		time.Sleep(time.Second)                                                                                           // virtual time
		if e.answer("p1").GetHint() == nil {
			t.Error("no hint within the lease")
		}
		time.Sleep(load.Lease) // virtual time
		if got := e.answer("p1"); got.GetHint() != nil {
			t.Errorf("a planner that hangs still hints %v", got)
		}
		time.Sleep(2 * time.Minute) // virtual time: the step ends
	})
}

func TestSampleTellsWhoIsLate(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n, all := instancesOf(t, "p1")
		defer all[0].stop()
		all[0].service.SetPlanner("p1")
		newLife(t, sample("a", 1, 100)).reports(all[0])
		silent := all[0].edge()
		silent.say(sample("b", 1, 1))
		time.Sleep(load.LateAfter + 900*time.Millisecond) // virtual time
		synctest.Wait()
		if got := n.scripts["p1"].last(); len(got.Edges) != 2 || len(got.Late) != 0 {
			t.Errorf("two seconds after its report: %v", got)
		}
		time.Sleep(time.Second) // virtual time
		if got := n.scripts["p1"].last(); len(got.Edges) != 1 {
			t.Errorf("after its lease: %v", got)
		}
	})
}

// Edges report to both instances; when the first dies the second goes on with
// what it sees, and moves nobody twice.
func TestTakeover(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, all := instancesOf(t, "p1", "p2")
		defer all[1].stop()
		e := newLife(t, sample("a", 1, 300))
		for _, i := range all {
			i.service.SetPlanner("p1")
			e.reports(i)
		}
		time.Sleep(3 * time.Second) // virtual time
		if s := e.state(); s.GetMoved() != 200 || s.GetConnections() != 100 {
			t.Errorf("with the first: %v", s)
		}
		all[0].stop()
		all[1].service.SetPlanner("p2")
		if got := e.answer("p2"); got.GetHint() != nil {
			t.Errorf("before its first step the second hints %v", got)
		}
		time.Sleep(5 * time.Second) // virtual time
		if got := e.answer("p2"); got.GetHint().GetMovedUntil() != 200 || got.GetElected() != "p2" {
			t.Errorf("the second says %v", got)
		}
		if s := e.state(); s.GetMoved() != 200 || s.GetConnections() != 100 {
			t.Errorf("with the second: %v", s)
		}
	})
}

// Two instances that do not see each other both plan; totals make that harmless.
func TestPartition(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, all := instancesOf(t, "p1", "p2")
		e := newLife(t, sample("a", 1, 300))
		for k, i := range all {
			defer i.stop()
			i.service.SetPlanner([]string{"p1", "p2"}[k])
			e.reports(i)
		}
		time.Sleep(10 * time.Second) // virtual time
		for _, id := range []string{"p1", "p2"} {
			if got := e.answer(id); got.GetInstance() != id || got.GetHint().GetMovedUntil() != 200 {
				t.Errorf("%s says %v", id, got)
			}
		}
		if s := e.state(); s.GetMoved() != 200 || s.GetConnections() != 100 {
			t.Errorf("got %v", s)
		}
	})
}
