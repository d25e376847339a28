package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Bounds of what is usual.
const (
	youth    = 10_000      // milliseconds that an edge runs: nobody plans for it yet
	pollLate = time.Minute // balancers ask about each second
)

// planners finds edges that nobody plans for.
func planners(f Fleet) []Finding {
	if len(f.Presence) == 0 {
		return []Finding{{
			NoPlanner, "fleet", "no presence instance is in the fleet",
			"Nobody knows who is online, and load is not levelled: every edge takes its plain share of new connections.",
			"Start skein-presence with --join, at least two for a fleet that must not stand still.",
		}}
	}
	if !slices.ContainsFunc(f.Presence, func(p Member) bool { return p.Problem == "" && !p.Mute }) {
		return nil // nobody could say; that is found by itself
	}
	var silent, alone []string
	for _, e := range f.Edges {
		switch {
		case e.Report == nil:
			silent = append(silent, e.ID)
		case e.Report.GetPlanner() == "" && e.Report.GetUptimeMs() > youth &&
			e.Report.GetState() != presencev1.EdgeState_EDGE_STATE_DRAINING:
			alone = append(alone, e.ID)
		}
	}
	var all []Finding
	if len(silent) > 0 {
		all = append(all, Finding{
			NoPlanner, strings.Join(silent, ", "), "edges are attached to routers but do not report to presence: " + strings.Join(silent, ", "),
			"Their connections are not counted, and nobody is moved from or to them.",
			"See that they reach the gRPC addresses of the presence instances (skein members shows them), and their logs for why reports fail.",
		})
	}
	if len(alone) > 0 {
		all = append(all, Finding{
			NoPlanner, strings.Join(alone, ", "), "edges follow no planner: " + strings.Join(alone, ", "),
			"They tell balancers their plain share, 100 %, and move nobody.",
			"Usual for some seconds after another instance was elected. If it lasts, see skein rebalance status, and that these edges reach the elected instance.",
		})
	}
	return all
}

// aboutBalancers tells the planner's warnings about balancers from its others.
func aboutBalancers(warning string) bool {
	return strings.HasPrefix(warning, "balancers ignore") || strings.HasPrefix(warning, "no balancer asks")
}

// warnings finds what the planner warns of.
func warnings(f Fleet) []Finding {
	var all []Finding
	for _, text := range f.Status.GetWarnings() {
		if aboutBalancers(text) {
			all = append(all, Finding{
				IgnoredHints, "balancers", "the planner warns: " + text,
				"New connections do not go where the edges ask for them, so moving connections helps little and is done slowly.",
				"Let balancers ask the edges' agent-check (HAProxy: agent-check agent-port 4002 agent-inter 1s, and weights that may change); docs/rebalancing.md has tested settings.",
			})
			continue
		}
		all = append(all, Finding{
			PlannerWarning, text, "the planner warns: " + text,
			"The fleet is not levelled as well as it could be.",
			"skein rebalance status shows the plan, its gates and its reasons; docs/rebalancing.md explains them.",
		})
	}
	return all
}

// polls finds edges that a balancer asked once, and does no more.
func polls(f Fleet) []Finding {
	var all []Finding
	for _, e := range f.Edges {
		age := time.Duration(min(e.Report.GetPollAgeMs(), 1<<40)) * time.Millisecond
		if e.Report.GetPolled() && age > pollLate {
			all = append(all, Finding{
				IgnoredHints, e.ID, fmt.Sprintf("no balancer has asked edge %s for its weight for %s", e.ID, age.Round(time.Second)),
				"A balancer did so before. It goes on with the last weight it heard, or does not know the edge any more.",
				"See that the balancer runs, has this edge in its list and reaches its agent port.",
			})
		}
	}
	return all
}

// orders finds what operators left in force.
func orders(f Fleet) []Finding {
	var all []Finding
	found := func(subject, text, do string) {
		all = append(all, Finding{
			PausedRebalancing, subject, text, "Nobody is moved until somebody says so: load stays as it is, whatever joins or leaves.", do,
		})
	}
	if f.Status.GetOrders().GetPaused() {
		found("fleet", "rebalancing is paused by an operator", "When the reason is gone: skein rebalance resume.")
	}
	if r := f.Status.GetOrders().GetRollout(); r.GetPaused() {
		found("rollout", fmt.Sprintf("the rollout from group %q to %q is paused", r.GetFrom(), r.GetTo()), "Go on with it, or take it back: skein rollout --help.")
	}
	return all
}
