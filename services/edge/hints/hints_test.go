package hints

import (
	"cmp"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

var start = time.Unix(1_000_000, 0)

func hinting(weight uint32, until uint64) *presencev1.ReportResponse {
	return &presencev1.ReportResponse{LeaseMs: 3000, Hint: &presencev1.Hint{Weight: weight, MovedUntil: until, Rate: 5}}
}

func TestWithoutAnyAnswer(t *testing.T) {
	h := New("e", 1, start)
	if got, want := h.Advice(start.Add(time.Hour)), (Advice{Weight: 100, Since: start}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if h.Drained() || h.Orders() != nil {
		t.Error("orders of nobody")
	}
}

func TestLeaseEnds(t *testing.T) {
	h := New("e", 1, start)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	h.Take("p1", hinting(40, 7), at(1))
	h.Take("p1", hinting(40, 9), at(2))
	if got, want := h.Advice(at(4.9)), (Advice{Weight: 40, Since: at(1), Planner: "p1", MovedUntil: 9, Rate: 5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// However late somebody looks: it has been told since the lease ended.
	if got, want := h.Advice(at(60)), (Advice{Weight: 100, Since: at(5)}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestLowestPlannerIsFollowed(t *testing.T) {
	h := New("e", 1, start)
	h.Take("p2", hinting(40, 7), start)
	h.Take("p1", hinting(50, 3), start)
	h.Take("p3", hinting(60, 9), start)
	if got := h.Advice(start); got.Planner != "p1" || got.Weight != 50 || got.MovedUntil != 3 {
		t.Errorf("got %+v", got)
	}
	h.Take("p1", &presencev1.ReportResponse{LeaseMs: 3000}, start) // it plans no more
	if got := h.Advice(start); got.Planner != "p2" || got.MovedUntil != 7 {
		t.Errorf("got %+v", got)
	}
}

func TestWhatInstancesSayIsBounded(t *testing.T) {
	for _, c := range []struct {
		weight uint32
		rate   float64
		want   Advice
	}{
		{0, -1, Advice{Weight: 1}},
		{257, math.NaN(), Advice{Weight: 256}},
		{math.MaxUint32, math.Inf(1), Advice{Weight: 256, Rate: maxRate}},
		{100, math.Inf(-1), Advice{Weight: 100}},
	} {
		h := New("e", 1, start)
		h.Take("p", &presencev1.ReportResponse{LeaseMs: math.MaxUint32, Hint: &presencev1.Hint{Weight: c.weight, Rate: c.rate}}, start)
		if got := h.Advice(start); got.Weight != c.want.Weight || got.Rate != c.want.Rate {
			t.Errorf("%d%% and %v a second: %+v", c.weight, c.rate, got)
		}
		if got := h.Advice(start.Add(maxLease)); got.Planner != "" {
			t.Errorf("a lease that never ends: %+v", got)
		}
	}
}

func TestOrdersOfTheLaterStampCount(t *testing.T) {
	h := New("e", 7, start)
	drain := func(seq uint64, instance string, incarnation uint64) *presencev1.ReportResponse {
		return &presencev1.ReportResponse{Orders: &presencev1.Orders{
			Seq: seq, Instance: instance, Drains: []*presencev1.Drain{{Edge: "other", Incarnation: 7}, {Edge: "e", Incarnation: incarnation}},
		}}
	}
	for _, c := range []struct {
		answer  *presencev1.ReportResponse
		drained bool
	}{
		{drain(2, "b", 7), true},
		{nil, true},
		{drain(1, "z", 6), true},
		{drain(2, "a", 6), true},
		{drain(2, "c", 6), false}, // an earlier life was meant
		{drain(3, "a", 7), true},
		{&presencev1.ReportResponse{Orders: &presencev1.Orders{Seq: 4}}, false},
	} {
		h.Take("p", c.answer, start)
		if h.Drained() != c.drained {
			t.Errorf("after %v: drained %t", c.answer, h.Drained())
		}
	}
	if h.Advice(start.Add(time.Hour)); h.Orders().GetSeq() != 4 {
		t.Errorf("orders %v after the lease", h.Orders())
	}
}

func TestNobodyMovesWhilePaused(t *testing.T) {
	h := New("e", 1, start)
	h.Take("p", hinting(40, 7), start)
	paused := hinting(40, 7)
	paused.Orders = &presencev1.Orders{Seq: 1, Paused: true}
	h.Take("p", paused, start.Add(time.Second))
	if got, want := h.Advice(start.Add(time.Second)), (Advice{Weight: 100, Since: start.Add(time.Second), Planner: "p"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// said is one answer of an instance, as the property remembers it.
type said struct {
	from     string
	hint     *presencev1.Hint
	at, ends time.Time
}

// TestAdviceIsThatOfTheLowestLivePlanner compares with a walk over all that was
// ever said: answers are lost, doubled and reordered, planners come and go.
func TestAdviceIsThatOfTheLowestLivePlanner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := New("e", 1, start)
		var all []said
		now := start
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond)
			if rapid.IntRange(0, 3).Draw(t, "look") == 0 {
				if got, want := h.Advice(now), expected(all, now); got != want {
					t.Fatalf("got %+v, want %+v", got, want)
				}
				continue
			}
			r := &presencev1.ReportResponse{LeaseMs: uint32(rapid.IntRange(1, 4000).Draw(t, "lease"))}
			if rapid.IntRange(0, 4).Draw(t, "hints") > 0 {
				r.Hint = &presencev1.Hint{
					Weight:     uint32(rapid.SampledFrom([]int{1, 50, 100, 256}).Draw(t, "weight")),
					MovedUntil: rapid.Uint64Range(0, 5).Draw(t, "until"), Rate: 1,
				}
			}
			from := rapid.SampledFrom([]string{"p1", "p2", "p3"}).Draw(t, "from")
			before := proto.CloneOf(r)
			h.Take(from, r, now)
			if !proto.Equal(before, r) {
				t.Fatal("an answer was changed")
			}
			all = append(all, said{from, r.GetHint(), now, now.Add(time.Duration(r.GetLeaseMs()) * time.Millisecond)})
		}
		if got, want := h.Advice(now), expected(all, now); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

// expected is the advice at now, after all that was said.
func expected(all []said, now time.Time) Advice {
	type moment struct {
		at   time.Time
		said int // how many answers are known; at the end of a lease as many as before
	}
	var moments []moment
	for i, s := range all {
		moments = append(moments, moment{s.at, i + 1})
		if !s.ends.After(now) {
			known := 0
			for _, o := range all {
				if o.at.Before(s.ends) {
					known++
				}
			}
			moments = append(moments, moment{s.ends, known})
		}
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.said, b.said)) })
	a := Advice{Weight: NeutralWeight, Since: start}
	for _, m := range moments {
		next := alive(all[:m.said], m.at)
		next.Since = a.Since
		if next.Weight != a.Weight {
			next.Since = m.at
		}
		a = next
	}
	return a
}

// alive is what the lowest instance hints whose latest hint is alive.
func alive(all []said, now time.Time) Advice {
	latest := map[string]said{}
	for _, s := range all {
		latest[s.from] = s
	}
	a := Advice{Weight: NeutralWeight}
	for from, s := range latest {
		if s.hint != nil && s.ends.After(now) && (a.Planner == "" || from < a.Planner) {
			a = Advice{Weight: s.hint.GetWeight(), Planner: from, MovedUntil: s.hint.GetMovedUntil(), Rate: 1}
		}
	}
	return a
}
