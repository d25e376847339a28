package doctor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/balance"
)

func clock(offset, doubt time.Duration) Clock {
	return Clock{Known: true, Offset: offset, Error: doubt}
}

// healthy is a fleet that nothing is wrong with.
func healthy() Fleet {
	var f Fleet
	for i := range 3 {
		f.Routers = append(f.Routers, Member{
			ID: fmt.Sprintf("r%d", i+1), Address: "10.0.0.1:5000", Version: "1.2.0", Ready: true, View: 0xaa,
			Attached: map[string]bool{"e1": true, "e2": true}, Clock: clock(time.Hour, time.Millisecond), // the tool's own clock may be wrong
		})
	}
	for i := range 2 {
		f.Presence = append(f.Presence, Member{
			ID: fmt.Sprintf("p%d", i+1), Address: "10.0.0.2:6000", Version: "1.2.0", Ready: true, View: 0xaa, Elected: "p1",
			Clock: clock(time.Hour+400*time.Millisecond, time.Millisecond),
		})
	}
	for i := range 2 {
		id := fmt.Sprintf("e%d", i+1)
		f.Edges = append(f.Edges, Edge{ID: id, Version: "1.2.0", Clock: clock(time.Hour+2*time.Second, 2*time.Second), Report: &presencev1.Edge{
			Id: id, State: presencev1.EdgeState_EDGE_STATE_READY, View: 0xaa, Planner: "p1", UptimeMs: 60_000, Polled: true, PollAgeMs: 900,
		}})
	}
	f.Status = &presencev1.Status{Orders: &presencev1.Orders{}}
	return f
}

func TestNothingIsWrongWithAHealthyFleet(t *testing.T) {
	young := healthy()
	young.Edges[0].Report.Planner, young.Edges[0].Report.UptimeMs = "", 5_000
	draining := healthy()
	draining.Edges[0].Report.Planner, draining.Edges[0].Report.State = "", presencev1.EdgeState_EDGE_STATE_DRAINING
	joining := healthy()
	joining.Routers[2].Ready, joining.Routers[2].Attached = false, nil
	for name, f := range map[string]Fleet{"usual": healthy(), "young": young, "draining": draining, "joining": joining} {
		if got := Examine(f); len(got) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestEachFaultIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		cause   func(*Fleet)
		check   Check
		subject string
		text    string
	}{
		"a router with another view":   {func(f *Fleet) { f.Routers[1].View = 0xbb }, ViewDisagreement, "views", "00000000000000bb by r2"},
		"presence with another view":   {func(f *Fleet) { f.Presence[1].View = 0 }, ViewDisagreement, "views", "0000000000000000 by p2"},
		"an edge with another view":    {func(f *Fleet) { f.Edges[0].Report.View = 0xcc }, ViewDisagreement, "views", "00000000000000cc by e1"},
		"two planners":                 {func(f *Fleet) { f.Presence[1].Elected = "p2" }, ViewDisagreement, "planners", "p1 by p1; p2 by p2"},
		"a router that is silent":      {func(f *Fleet) { f.Routers[0].Problem = "connection refused" }, UnreachableOwner, "r1", "10.0.0.1:5000 does not answer: connection refused"},
		"an edge without an owner":     {func(f *Fleet) { delete(f.Routers[0].Attached, "e2") }, UnreachableOwner, "e2", "not attached to r1"},
		"an edge that is not synced":   {func(f *Fleet) { f.Routers[0].Attached["e2"] = false }, EdgeNotReady, "e2", "has not announced its topics to r1"},
		"an edge that is not ready":    {func(f *Fleet) { f.Edges[0].Report.State = presencev1.EdgeState_EDGE_STATE_STARTING }, EdgeNotReady, "e1 starting", "edge e1 is not ready"},
		"presence that is silent":      {func(f *Fleet) { f.Presence[0].Problem = "no answer in time" }, UnreachablePresence, "p1", "no answer in time"},
		"no presence":                  {func(f *Fleet) { f.Presence, f.Status = nil, nil }, NoPlanner, "fleet", "no presence instance"},
		"an edge without a planner":    {func(f *Fleet) { f.Edges[1].Report.Planner = "" }, NoPlanner, "e2", "follow no planner: e2"},
		"an edge that does not report": {func(f *Fleet) { f.Edges[1].Report = nil }, NoPlanner, "e2", "do not report to presence: e2"},
		"hints that are ignored": {func(f *Fleet) {
			f.Status.Warnings = []string{"balancers ignore the weights: 10% of the latest arrivals went where they should"}
		}, IgnoredHints, "balancers", "10% of the latest"},
		"hints that nobody asks for": {func(f *Fleet) {
			f.Status.Warnings = []string{"no balancer asks the edges for their weights (HAProxy: agent-check): arrivals may go anywhere"}
		}, IgnoredHints, "balancers", "no balancer asks"},
		"a balancer that is gone":  {func(f *Fleet) { f.Edges[0].Report.PollAgeMs = 120_000 }, IgnoredHints, "e1", "for its weight for 2m0s"},
		"another warning":          {func(f *Fleet) { f.Status.Warnings = []string{"add edges"} }, PlannerWarning, "add edges", "add edges"},
		"paused rebalancing":       {func(f *Fleet) { f.Status.Orders.Paused = true }, PausedRebalancing, "fleet", "paused by an operator"},
		"a paused rollout":         {func(f *Fleet) { f.Status.Orders.Rollout = &presencev1.Rollout{From: "blue", Paused: true} }, PausedRebalancing, "rollout", `"blue"`},
		"a clock that is ahead":    {func(f *Fleet) { f.Routers[2].Clock.Offset += 4 * time.Second }, ClockSkew, "r3", "is 3.6s ahead of that of p2"},
		"a clock that is behind":   {func(f *Fleet) { f.Edges[0].Clock = clock(0, time.Second) }, ClockSkew, "e1", "behind"},
		"a member of another time": {func(f *Fleet) { f.Routers[0].Version = "1.3.0" }, MixedVersions, "fleet", "1.3.0 on r1"},
		"an edge of another time":  {func(f *Fleet) { f.Edges[0].Version = "1.1.0" }, MixedVersions, "fleet", "1.1.0 on e1"},
		"gossip without a key":     {func(f *Fleet) { f.Presence[1].Exposed = true }, GossipWithoutKey, "p2", "off loopback: p2"},
	} {
		f := healthy()
		c.cause(&f)
		got := Examine(f)
		if len(got) != 1 || got[0].Check != c.check || got[0].Subject != c.subject || !strings.Contains(got[0].Text, c.text) ||
			got[0].Meaning == "" || got[0].Do == "" {
			t.Errorf("%s: found %+v", name, got)
		}
	}
}

func TestWhatDoesNotLastIsNotTold(t *testing.T) {
	passing, lasting := Finding{Check: ViewDisagreement, Subject: "views"}, Finding{Check: ClockSkew, Subject: "r1"}
	other := Finding{Check: ClockSkew, Subject: "r2"}
	got := Lasting([]Finding{passing, lasting}, []Finding{lasting, other})
	if len(got) != 1 || got[0] != lasting {
		t.Errorf("got %+v", got)
	}
}

// The planner's warnings are text for people: what they begin with is all that
// tells which are about balancers.
func TestWarningsOfTheRealPlannerAreUnderstood(t *testing.T) {
	planner, at := balance.New(balance.Default(), "p1"), time.Unix(1_800_000_000, 0)
	var last *presencev1.Status
	for i := range 30 {
		var edges []*presencev1.Edge
		for n := range 3 {
			edges = append(edges, &presencev1.Edge{
				Id: fmt.Sprintf("e%d", n), Incarnation: 1, Version: "1.2.0", State: presencev1.EdgeState_EDGE_STATE_READY,
				Connections: uint64(1000 * n), Weight: 100, WeightAgeMs: uint64(1000 * i), UptimeMs: uint64(60_000 + 1000*i), Opened: uint64(1000 * n),
			})
		}
		last = planner.Step(balance.Sample{At: at.Add(time.Duration(i) * balance.StepInterval), Edges: edges}).Status
	}
	f := healthy()
	f.Status = last
	got := warnings(f)
	if len(got) != 1 || got[0].Check != IgnoredHints || !strings.Contains(got[0].Text, "agent-check") {
		t.Errorf("of %q: %+v", last.GetWarnings(), got)
	}
}
