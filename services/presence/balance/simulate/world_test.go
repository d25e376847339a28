package simulate

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/load"
)

// anything draws small fleets with any options.
func anything(t *rapid.T) Options {
	o := Default()
	o.Scenario = rapid.SampledFrom(namesOf(scenarios())).Draw(t, "scenario")
	o.Strategy = rapid.SampledFrom(namesOf(strategies())).Draw(t, "strategy")
	o.Policy = rapid.SampledFrom(namesOf(policies())).Draw(t, "policy")
	o.Edges = rapid.IntRange(1, 5).Draw(t, "edges")
	o.Clients = rapid.IntRange(0, 300).Draw(t, "clients")
	o.Add = rapid.IntRange(1, 3).Draw(t, "add")
	o.Count = rapid.IntRange(1, 3).Draw(t, "balancers")
	o.Hidden = rapid.SampledFrom([]float64{0, 0.3, 1}).Draw(t, "hidden")
	o.ShownAfter = rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "shown after")
	o.Coming = rapid.SampledFrom([]float64{0, 3}).Draw(t, "arrivals")
	o.Leaving = rapid.SampledFrom([]float64{0, 3}).Draw(t, "departures")
	o.DrainDelay = rapid.SampledFrom([]time.Duration{0, 5 * time.Second}).Draw(t, "drain delay")
	o.Seed = rapid.Uint64().Draw(t, "seed")
	o.Limit = 5 * time.Minute
	return o
}

// No client is lost or doubled, whatever happens: each is connected to one edge,
// on its way, or gone.
func TestClientsAreConserved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := anything(t)
		if err := o.Validate(); err != nil {
			t.Fatal(err)
		}
		w, err := newWorld(o)
		if err != nil {
			t.Fatal(err)
		}
		s := choose(strategies(), o.Strategy)(o)
		play(t.Context(), w, s, nil)
		counts := map[*edge]int{}
		away := 0
		for _, c := range w.clients {
			switch {
			case c.edge != nil:
				counts[c.edge]++
			case !c.left:
				away++
			}
		}
		pending := 0
		for _, r := range w.away {
			if !r.client.left {
				pending++
			}
		}
		if away != pending {
			t.Errorf("%d clients are away, %d are to come", away, pending)
		}
		for _, e := range w.edges {
			if counts[e] != e.count || e.count < 0 || e.state == gone && e.count > 0 {
				t.Errorf("%s has %d connections, %d clients are there (state %d)", e.id, e.count, counts[e], e.state)
			}
			if e.hint != nil && (e.weight < 1 || e.weight > 256) {
				t.Errorf("%s tells %d%%", e.id, e.weight)
			}
		}
	})
}

func TestRunsAreTheSameAgain(t *testing.T) {
	change := func(o *Options) {
		o.Scenario, o.Hidden, o.Coming, o.Leaving, o.Count, o.Clients = "kill-midway", 0.2, 5, 5, 2, 500
	}
	if a, b := run(t, change), run(t, change); !reflect.DeepEqual(a, b) {
		t.Errorf("two runs with the same seed differ: %+v and %+v", a, b)
	}
}

func TestARunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, err := Run(ctx, Default(), func(now time.Duration, _ string) {
		if calls++; now == 5*time.Second {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || calls != 5 {
		t.Errorf("error is %v after %d seconds, want context canceled after 5", err, calls)
	}
}

// Of two instances an edge follows the lower id, and nobody once leases are over.
func TestAnEdgeFollowsTheLowerIDWhileItHints(t *testing.T) {
	e := &edge{weight: 100}
	say := func(planner string, weight uint32, now time.Duration) int {
		e.hear(&presencev1.Hint{Weight: weight}, planner, now)
		e.follow(now)
		return e.weight
	}
	if got := say("p2", 20, 0); got != 20 {
		t.Errorf("alone: %d", got)
	}
	if got := say("p1", 10, 0); got != 10 {
		t.Errorf("the lower id comes: %d", got)
	}
	if got := say("p2", 30, time.Second); got != 10 {
		t.Errorf("the higher id speaks too: %d", got)
	}
	if got := say("p2", 999, load.Lease); got != 256 {
		t.Errorf("the lower id has gone: %d", got)
	}
	if e.follow(2 * load.Lease); e.weight != 100 || e.planner != "" {
		t.Errorf("nobody hints: %d, following %q", e.weight, e.planner)
	}
}

func TestOptionsSayEverythingThatIsWrong(t *testing.T) {
	o := Default()
	if err := o.Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	o = Options{
		Scenario: "x", Strategy: "y", Policy: "z", Limit: time.Second,
		Fleet:     Fleet{Connections: []string{"-1"}, Capacity: []string{"a"}},
		Operation: Operation{DrainDelay: -1, Load: 2}, Traffic: Traffic{Coming: -1, Leaving: -1, Hidden: 2, ShownAfter: -1},
	}
	err := o.Validate()
	for _, what := range []string{
		"scenario", "strategy", "policy", "limit", "connections", "add", "capacity", "drain-delay", "load", "rate",
		"arrivals", "departures", "hidden", "shown-after", "balancers", "agent-inter", "least-moves", "max-moves-per-second",
	} {
		if err == nil || !strings.Contains(err.Error(), what+": ") {
			t.Errorf("nothing is said about %s: %v", what, err)
		}
	}
	o = Default()
	o.Edges, o.Clients = 500, 5_000_000
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "clients: ") {
		t.Errorf("too many clients: %v", err)
	}
}
