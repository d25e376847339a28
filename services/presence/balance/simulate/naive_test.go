package simulate

import (
	"math"
	"testing"
)

// run simulates the defaults after change.
func run(t *testing.T, change func(*Options)) *Result {
	t.Helper()
	o := Default()
	change(&o)
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// about fails unless got is want, give or take 3 %.
func about(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.03*math.Max(want, 0.1) {
		t.Errorf("%s is %.3f, want about %.3f", what, got, want)
	}
}

// An empty edge joins four of 10,000: what the rules of others cost, and where
// they stop. At least 8,000 have to move.
func TestAnEmptyEdgeJoinsAndASimpleRuleLevels(t *testing.T) {
	for _, c := range []struct {
		strategy, policy      string
		moved, least, fullest float64
	}{
		{strategy: "drain", policy: "roundrobin", fullest: 1.25},
		{strategy: "half", policy: "roundrobin", moved: 20_000, least: 0.5, fullest: 1.125},
		{strategy: "half", policy: "leastconn", moved: 20_000, least: 1, fullest: 1},
		{strategy: "threshold", policy: "roundrobin", moved: 8_000, least: 0.2, fullest: 1.2},
		{strategy: "narrow", policy: "roundrobin", moved: 36_800, least: 0.92, fullest: 1.02},
		{strategy: "once", policy: "roundrobin", moved: 8_000, least: 0.2, fullest: 1.2},
		{strategy: "surplus", policy: "roundrobin", moved: 36_800, least: 0.92, fullest: 1.02},
	} {
		t.Run(c.strategy+" "+c.policy, func(t *testing.T) {
			r := run(t, func(o *Options) { o.Strategy, o.Policy = c.strategy, c.policy })
			about(t, "moved", float64(r.Moved), c.moved)
			about(t, "the emptiest edge", r.Least, c.least)
			about(t, "the fullest edge", r.Fullest, c.fullest)
			if r.Minimum != 8_000 || r.Refused > 0 || r.NotBack > 0 {
				t.Errorf("minimum %d, refused %d, not back %d; want 8000, 0 and 0", r.Minimum, r.Refused, r.NotBack)
			}
		})
	}
}

// 24/24/24 become 45/27/0 in the end: edges that only drain do that.
func TestARollingRestartWithoutLevellingEndsSkewed(t *testing.T) {
	for _, c := range []struct {
		edges                           int
		perClient, peak, least, fullest float64
	}{
		{2, 1.50, 2.00, 0, 2.00},
		{3, 1.58, 2.25, 0, 1.88},
		{6, 1.65, 2.49, 0, 1.79},
		{20, 1.70, 2.65, 0, 1.74},
	} {
		r := run(t, func(o *Options) {
			o.Scenario, o.Strategy, o.Policy, o.Edges = "roll-in-place", "drain", "plain-roundrobin", c.edges
		})
		about(t, "reconnects per client", r.PerClient, c.perClient)
		about(t, "peak", r.Peak, c.peak)
		about(t, "the emptiest edge", r.Least, c.least)
		about(t, "the fullest edge", r.Fullest, c.fullest)
		if r.Refused > 0 || r.NotBack > 0 {
			t.Errorf("refused %d, not back %d", r.Refused, r.NotBack)
		}
	}
}

// The skew of such a restart, levelled without telling balancers.
func TestWithoutSteeringMostMovesAreInVain(t *testing.T) {
	r := run(t, func(o *Options) {
		o.Scenario, o.Strategy, o.Connections = "level", "surplus", []string{"45000", "27000", "0"}
	})
	about(t, "moved", float64(r.Moved), 70_199)
	if r.Minimum != 24_000 {
		t.Errorf("minimum is %d, want 24000", r.Minimum)
	}
}
