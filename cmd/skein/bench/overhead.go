package bench

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Overhead is what metrics and traces cost, in percent of the CPU that a delivery
// takes without them.
type Overhead struct {
	Off       float64            `json:"off_us"`    // CPU of a delivery without them
	Usual     Interval           `json:"usual"`     // what the usual costs, as measured
	Amplified Interval           `json:"amplified"` // the same as a share of many times the usual
	Spans     int64              `json:"spans"`     // that a collector got
	Turn      float64            `json:"turn"`      // seconds
	Costs     [volumes][]float64 `json:"costs_us"`  // of a delivery, in the turns of each volume
}

// Interval holds a value with a confidence of 95 %.
type Interval struct {
	Estimate float64 `json:"estimate"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
}

func (i Interval) String() string {
	return fmt.Sprintf("%+.2f %%  (%+.2f to %+.2f with 95 %% confidence)", i.Estimate, i.Low, i.High)
}

// overhead compares the turns of each round with each other, so that what makes
// the machine slower for longer than that is on both sides.
func overhead(costs [volumes][]float64, turn time.Duration) *Overhead {
	o := &Overhead{Off: median(costs[off]), Turn: turn.Seconds(), Costs: costs}
	against := func(v volume) Interval {
		percent := make([]float64, len(costs[v]))
		for round, cost := range costs[v] {
			percent[round] = (cost - costs[off][round]) / o.Off / float64(v.times()) * 100
		}
		return hodgesLehmann(percent)
	}
	o.Usual, o.Amplified = against(usual), against(amplified)
	return o
}

// hodgesLehmann is where differences lie: the median of the means of all pairs of
// them, and the interval of Wilcoxon's signed-rank test. It asks nothing of their
// distribution but symmetry, and a few turns that something else disturbed move
// it little.
func hodgesLehmann(differences []float64) Interval {
	var means []float64
	for i, d := range differences {
		for _, e := range differences[i:] {
			means = append(means, (d+e)/2)
		}
	}
	slices.Sort(means)
	const z = 1.96 // 95 % of the normal distribution, which the rank sum is close to
	n := float64(len(differences))
	outside := int(n*(n+1)/4 - z*math.Sqrt(n*(n+1)*(2*n+1)/24))
	outside = max(outside, 1)
	return Interval{median(means), means[outside-1], means[len(means)-outside]}
}

// median of at least one value.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func (o *Overhead) print(line func(what, format string, args ...any)) {
	if o == nil {
		return
	}
	line("telemetry", "%d rounds of %d turns of %.3g s; %d spans received", len(o.Costs[off]), volumes, o.Turn, o.Spans)
	line("off", "%.2f us per delivery", o.Off)
	line("usual", "%s", o.Usual)
	line("amplified", "%s: a %dth of %d times the usual", o.Amplified, amplified.times(), amplified.times())
}
