package balance

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestApportionIsExact(t *testing.T) {
	for _, tt := range []struct {
		total   int
		weights []float64
		have    []int
		want    []int
	}{
		{10, []float64{1, 1, 1}, []int{4, 3, 3}, []int{4, 3, 3}},
		{10, []float64{1, 1, 1}, []int{3, 3, 4}, []int{3, 3, 4}},
		{11, []float64{1, 1, 1}, []int{0, 9, 2}, []int{3, 4, 4}},
		{100, []float64{100, 300}, []int{0, 0}, []int{25, 75}},
		{7, []float64{0, 2}, []int{7, 0}, []int{0, 7}},
		{5, []float64{0, 0}, []int{5, 0}, []int{0, 0}},
		{0, []float64{1}, []int{0}, []int{0}},
	} {
		if got := apportion(tt.total, tt.weights, tt.have); !slices.Equal(got, tt.want) {
			t.Errorf("apportion(%d, %v, %v) = %v, want %v", tt.total, tt.weights, tt.have, got, tt.want)
		}
	}
}

func TestApportionGivesEachItsQuota(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 50).Draw(t, "edges")
		total := rapid.IntRange(0, 1<<31).Draw(t, "total")
		weights := rapid.SliceOfN(rapid.Float64Range(0.01, 1000), n, n).Draw(t, "weights")
		parts, sum, all := apportion(total, weights, make([]int, n)), 0.0, 0
		for _, w := range weights {
			sum += w
		}
		for i, part := range parts {
			all += part
			if quota := float64(total) * weights[i] / sum; float64(part) < quota-1.01 || float64(part) > quota+1.01 {
				t.Fatalf("part %d is %d of a quota of %v", i, part, quota)
			}
		}
		if all != total {
			t.Fatalf("the parts add up to %d of %d", all, total)
		}
	})
}
