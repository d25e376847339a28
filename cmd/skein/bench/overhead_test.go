package bench

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestHodgesLehmann(t *testing.T) {
	for name, test := range map[string]struct {
		differences []float64
		want        Interval
	}{
		"one":             {[]float64{3}, Interval{3, 3, 3}},
		"all the same":    {[]float64{2, 2, 2, 2, 2, 2}, Interval{2, 2, 2}},
		"one is far away": {[]float64{1, 2, 3, 4, 5, 600}, Interval{3.5, 1, 600}},
		"eight of them":   {[]float64{-2, 0, 1, 4, 5, 7, 8, 11}, Interval{4.25, 0, 8}},
	} {
		if got := hodgesLehmann(test.differences); got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
}

// TestIntervalsHoldTheTruth draws many experiments with a known result, in which
// one turn in ten is disturbed.
func TestIntervalsHoldTheTruth(t *testing.T) {
	const truth, experiments = 1.5, 1000
	random := rand.New(rand.NewPCG(1, 2))
	held := 0
	for range experiments {
		differences := make([]float64, 24)
		for i := range differences {
			differences[i] = truth + random.NormFloat64()
			if random.IntN(10) == 0 {
				differences[i] += 30 * random.NormFloat64()
			}
		}
		if i := hodgesLehmann(differences); i.Low <= truth && truth <= i.High {
			held++
		}
	}
	if share := float64(held) / experiments; share < 0.93 || share > 0.98 {
		t.Errorf("%.1f %% of the intervals hold the truth, want 95 %%", 100*share)
	}
}

func TestOverhead(t *testing.T) {
	var costs [volumes][]float64
	for _, slow := range []float64{1, 1.1, 3, 1, 1.2, 1, 0.9, 1} { // the machine as a whole
		costs[off] = append(costs[off], 10+slow)
		costs[usual] = append(costs[usual], 10.11+slow)
		costs[amplified] = append(costs[amplified], 12.2+slow)
	}
	o := overhead(costs, time.Second)
	if o.Off != 11 || !near(o.Usual.Estimate, 1) || !near(o.Amplified.Estimate, 1) || !near(o.Amplified.High, 1) {
		t.Errorf("%+v", o)
	}
	var text strings.Builder
	(&Report{Target: &Result{Telemetry: o}}).Print(&text)
	if want := "usual        +1.00 %  (+1.00 to +1.00 with 95 % confidence)"; !strings.Contains(text.String(), want) {
		t.Errorf("no %q in\n%s", want, text.String())
	}
}

func near(a, b float64) bool { return a > b-1e-9 && a < b+1e-9 }

func TestOrdersAreFair(t *testing.T) {
	o := TelemetryOptions{Rounds: len(orders())}
	plan := o.plan()
	after := map[[2]volume]int{}
	for i, v := range plan {
		after[[2]volume{plan[(i+len(plan)-1)%len(plan)], v}]++
	}
	if len(after) != int(volumes*volumes) {
		t.Errorf("one after the other: %v", after)
	}
	for pair, n := range after {
		if n != 2 {
			t.Errorf("%v: %d times", pair, n)
		}
	}
	o.Rounds++
	if again := o.plan(); !slices.Equal(again, append(plan, plan[:volumes]...)) {
		t.Errorf("plan %v", again)
	}
}

func TestScrapes(t *testing.T) {
	for v, want := range [volumes]int{0, 2, 40} {
		n := 0
		for nth := range 30 {
			n += volume(v).scrapes(nth, time.Second)
		}
		if n != want {
			t.Errorf("volume %d: %d scrapes in 30 s, want %d", v, n, want)
		}
	}
}
