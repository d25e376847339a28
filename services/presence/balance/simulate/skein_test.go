package simulate

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// bounds are what a run must keep to.
type bounds struct {
	ratio, perClient, peak float64 // at most
	arrivals               int     // at most; 0 for any
	level                  time.Duration
}

func (b bounds) check(t *testing.T, r *Result) {
	t.Helper()
	after, level := r.LevelAfter()
	ok := r.Ratio <= b.ratio && r.PerClient <= b.perClient && r.Peak <= b.peak && r.Refused == 0 &&
		(b.arrivals == 0 || r.Arrivals <= b.arrivals) && (b.level == 0 || level && after <= b.level)
	if ok {
		return
	}
	t.Errorf("%s: closed %d of %d needed (%.3f), %.3f per client, peak %.2f, %d arrivals a second, %d refused, level after %s (%v), %.2f to %.2f; want %+v",
		r.Scenario, r.Moved+r.Drained+r.Lost, r.Minimum, r.Ratio, r.PerClient, r.Peak, r.Arrivals, r.Refused, after, level, r.Least, r.Fullest, b)
	for _, e := range r.Events {
		t.Logf("%8.1fs %s", e.At, e.What)
	}
}

// An empty edge joins four of 10,000. Whoever is before the edges, and whatever
// goes wrong meanwhile, as good as nobody moves twice, and no edge has to take
// more in a second than it is said to.
func TestAnEmptyEdgeIsFilledWithTheFewestMoves(t *testing.T) {
	within := bounds{ratio: 1.05, perClient: 0.21, peak: 1.25, arrivals: 250, level: time.Minute}
	for name, change := range map[string]func(*Options){
		"one balancer":                func(*Options) {},
		"two balancers":               func(o *Options) { o.Count = 2 },
		"ten balancers, slow to ask":  func(o *Options) { o.Count, o.AgentInter, o.SteerWait = 10, 5*time.Second, 11*time.Second },
		"least connections":           func(o *Options) { o.Policy = "leastconn" },
		"at random":                   func(o *Options) { o.Policy = "random" },
		"hidden tabs, shown later":    func(o *Options) { o.Hidden = 0.3 },
		"hidden tabs, never shown":    func(o *Options) { o.Hidden, o.ShownAfter = 0.3, 0 },
		"presence is away meanwhile":  func(o *Options) { o.Scenario = "outage" },
		"balancers reloaded meantime": func(o *Options) { o.Scenario = "reload" },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				within.check(t, run(t, func(o *Options) {
					o.Seed = seed
					change(o)
				}))
			}
		})
	}
}

// Two edges join two, one of them larger.
func TestCapacityCounts(t *testing.T) {
	r := run(t, func(o *Options) {
		o.Connections, o.Add, o.Capacity = []string{"15000", "15000"}, 2, []string{"100", "100", "100", "200"}
	})
	bounds{ratio: 1.05, perClient: 1, peak: 3, arrivals: 300, level: 2 * time.Minute}.check(t, r)
	if last := r.Series.Counts[len(r.Series.Counts)-1]; last[3] < 11_000 {
		t.Errorf("the edge of 200 %% has %d connections of 30000, want about 12000", last[3])
	}
}

func TestARollingRestartCostsOneReconnectEach(t *testing.T) {
	// Edges of the old version are told the floor and not nothing, so with many of
	// them some clients land on one and have to move once more.
	// Several at a time leave fewer such edges, and more that are done.
	for _, c := range []struct {
		edges, surge int
		most         float64
	}{{3, 1, 1.01}, {6, 1, 1.015}, {20, 1, 1.04}, {20, 4, 1.01}, {6, 4, 1.01}} {
		t.Run(fmt.Sprintf("%d edges, %d at a time", c.edges, c.surge), func(t *testing.T) {
			r := run(t, func(o *Options) { o.Scenario, o.Edges, o.Surge = "roll", c.edges, c.surge })
			bounds{ratio: c.most, perClient: c.most, peak: 1.10}.check(t, r)
			serving := 0
			for _, n := range r.Series.Counts[len(r.Series.Counts)-1] {
				serving += min(n, 1)
			}
			if serving != c.edges {
				t.Errorf("%d edges have connections at the end", serving)
			}
			if r.NotBack > 0 {
				t.Errorf("%d clients are not back", r.NotBack)
			}
		})
	}
}

func TestADeadEdgeIsFilledAgainWhenItIsBack(t *testing.T) {
	r := run(t, func(o *Options) { o.Scenario = "kill" })
	bounds{ratio: 1.05, perClient: 0.52, peak: 1.34, level: 90 * time.Second}.check(t, r)
	r = run(t, func(o *Options) { o.Scenario = "kill-midway" })
	// All clients of the dead edge come to the one that is being filled, because the
	// others tell balancers the floor: some are moved again.
	bounds{ratio: 1.15, perClient: 1, peak: 1.34, level: 90 * time.Second}.check(t, r)
}

func TestARolloutMovesAGroup(t *testing.T) {
	r := run(t, func(o *Options) { o.Scenario = "blue-green" })
	bounds{ratio: 1.02, perClient: 1.02, peak: 1.05, arrivals: 150, level: time.Second}.check(t, r)
	if r.NotBack > 0 {
		t.Errorf("%d clients are not back", r.NotBack)
	}
}

// Two instances plan at once, one for a part of the fleet: nobody is moved for
// both, and all is well afterwards.
func TestTwoPlannersDoNotShedTwice(t *testing.T) {
	r := run(t, func(o *Options) { o.Scenario = "partition" })
	bounds{ratio: 1.25, perClient: 0.25, peak: 1.25, arrivals: 250, level: time.Minute}.check(t, r)
}

// A balancer that does not listen is found out: moves are slow then and end
// early, and the record says why.
func TestADeafBalancerIsFoundOut(t *testing.T) {
	r := run(t, func(o *Options) { o.Policy = "plain-roundrobin" })
	bounds{ratio: 3.5, perClient: 0.75, peak: 1.25, arrivals: 250}.check(t, r)
	if len(r.Plans) == 0 || !strings.Contains(r.Plans[len(r.Plans)-1].Outcome, "ignore") {
		t.Errorf("plans are %+v; want one that says that weights are ignored", r.Plans)
	}
	if r.Fullest > 1.15 {
		t.Errorf("an edge has %.2f of its share", r.Fullest)
	}
}

// Whatever comes and goes at a level fleet, nobody is moved.
func TestALevelFleetIsLeftAlone(t *testing.T) {
	for _, n := range []int{1, 2, 4, 20} {
		r := run(t, func(o *Options) {
			o.Scenario, o.Edges, o.Clients, o.Coming, o.Leaving = "level", n, 2000, 20, 20
		})
		if r.Moved > 0 {
			t.Errorf("%d edges: %d were moved", n, r.Moved)
		}
	}
}
