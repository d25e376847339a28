package ring_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/ring"
)

// members draws up to 12 members with ids of their own.
func members(t *rapid.T, least int) []ring.Member {
	ids := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9.-]{1,12}`), least, 12, rapid.ID[string]).Draw(t, "ids")
	ms := make([]ring.Member, len(ids))
	for i, id := range ids {
		ms[i] = ring.Member{ID: id, Incarnation: rapid.Uint64().Draw(t, "incarnation")}
	}
	return ms
}

func topics(n int) []string {
	ts := make([]string, n)
	for i := range ts {
		ts[i] = "room:" + strconv.Itoa(i)
	}
	return ts
}

func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := members(t, 0)
		a, b := ring.New(ms...), ring.New(rapid.Permutation(ms).Draw(t, "permutation")...)
		if a.Hash() != b.Hash() || !slices.Equal(a.Members(), b.Members()) {
			t.Fatalf("hash %x or %x, members %v or %v", a.Hash(), b.Hash(), a.Members(), b.Members())
		}
		for _, topic := range topics(50) {
			if a.Owner(topic) != b.Owner(topic) {
				t.Fatalf("%s: %s or %s", topic, a.Owner(topic), b.Owner(topic))
			}
		}
	})
}

func TestHashIsOfIDsAndIncarnations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := members(t, 1)
		before := ring.New(ms...)
		i := rapid.IntRange(0, len(ms)-1).Draw(t, "index")
		without := ring.New(slices.Delete(slices.Clone(ms), i, i+1)...)
		if without.Hash() == before.Hash() {
			t.Fatalf("the hash does not show that %v is gone", ms[i])
		}
		ms[i].Incarnation++
		again := ring.New(ms...)
		if again.Hash() == before.Hash() {
			t.Fatalf("the hash does not show that %v is another life", ms[i])
		}
		for _, topic := range topics(50) {
			if again.Owner(topic) != before.Owner(topic) {
				t.Fatalf("another life of %s moved %s", ms[i].ID, topic)
			}
		}
	})
}

func TestOnlyTheTopicsOfAChangedMemberMove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := members(t, 1)
		with := ring.New(ms...)
		without := ring.New(ms[1:]...)
		changed := ms[0].ID
		for _, topic := range topics(200) {
			before, after := without.Owner(topic), with.Owner(topic)
			if after != before && after != changed {
				t.Fatalf("%s moved from %q to %q when %q joined", topic, before, after, changed)
			}
			if without.Owner(topic) == changed {
				t.Fatalf("%s belongs to %q, which is not there", topic, changed)
			}
		}
	})
}

// Shares must be within six standard deviations of equal: a fair hash fails this
// once in hundreds of millions of shares.
func TestSharesAreFair(t *testing.T) {
	all := topics(20_000)
	rapid.Check(t, func(t *rapid.T) {
		ms := members(t, 2)
		r := ring.New(ms...)
		shares := map[string]int{}
		for _, topic := range all {
			shares[r.Owner(topic)]++
		}
		p := 1 / float64(len(ms))
		mean, deviation := float64(len(all))*p, math.Sqrt(float64(len(all))*p*(1-p))
		for _, m := range ms {
			if math.Abs(float64(shares[m.ID])-mean) > 6*deviation {
				t.Fatalf("%s owns %d of %d topics, %d members", m.ID, shares[m.ID], len(all), len(ms))
			}
		}
	})
}

func TestLaterIncarnationCounts(t *testing.T) {
	r := ring.New(ring.Member{ID: "a", Incarnation: 2}, ring.Member{ID: "a", Incarnation: 3}, ring.Member{ID: "b", Incarnation: 1}, ring.Member{ID: "a", Incarnation: 1})
	want := []ring.Member{{ID: "a", Incarnation: 3}, {ID: "b", Incarnation: 1}}
	if !slices.Equal(r.Members(), want) || r.Hash() != ring.New(want...).Hash() {
		t.Errorf("got %v, want %v", r.Members(), want)
	}
	if !r.Has("a") || r.Has("c") {
		t.Error("has a: false, or has c: true")
	}
}

func TestEmpty(t *testing.T) {
	for _, r := range []ring.Ring{{}, ring.New()} {
		if r.Owner("room:1") != "" || r.Hash() != 0 || len(r.Members()) != 0 || r.Has("") {
			t.Errorf("%+v is not empty", r)
		}
	}
}

func TestCallersSliceIsNotKept(t *testing.T) {
	ms := []ring.Member{{ID: "b", Incarnation: 1}, {ID: "a", Incarnation: 1}}
	r := ring.New(ms...)
	ms[0].ID = "c"
	if ms[1].ID != "a" || r.Has("c") {
		t.Error("the ring shares its caller's slice")
	}
}

// Versions run side by side while a fleet is rolled, so all must agree on owners
// and hashes. If this fails, the wire changed.
func TestOwnersAreTheSameInEveryVersion(t *testing.T) {
	r := ring.New(ring.Member{ID: "router-1", Incarnation: 1}, ring.Member{ID: "router-2", Incarnation: 2}, ring.Member{ID: "router-3", Incarnation: 3})
	if was := uint64(0xaef579b76e37635d); r.Hash() != was {
		t.Errorf("hash is %#x, was %#x", r.Hash(), was)
	}
	for topic, want := range map[string]string{
		"":           "router-2",
		"room:1":     "router-3",
		"room:2":     "router-2",
		"room:3":     "router-1",
		"room:lobby": "router-2",
		"日本":         "router-1",
	} {
		if got := r.Owner(topic); got != want {
			t.Errorf("%q belongs to %s, belonged to %s", topic, got, want)
		}
	}
}

func BenchmarkOwner(b *testing.B) {
	for _, n := range []int{1, 3, 10, 100} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			ms := make([]ring.Member, n)
			for i := range ms {
				ms[i] = ring.Member{ID: "router-" + strconv.Itoa(i), Incarnation: 1}
			}
			r := ring.New(ms...)
			b.ReportAllocs()
			for b.Loop() {
				r.Owner("room:lobby:1234")
			}
		})
	}
}
