package bench

import (
	"testing"

	"pgregory.net/rapid"
)

func TestTallyCountsExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const sent = 40
		tl := newTally(2)
		arrivals := rapid.SliceOfN(rapid.Uint32Range(0, sent-1), 0, 80).Draw(t, "arrivals")
		seen, highest := map[uint32]bool{}, -1
		for i, seq := range arrivals {
			want := inOrder
			switch {
			case seen[seq]:
				want = duplicate
			case int(seq) < highest:
				want = outOfOrder
			}
			if got := tl.take(1, seq); got != want {
				t.Fatalf("arrival %d of %v: got %d, want %d", i, arrivals, got, want)
			}
			seen[seq], highest = true, max(highest, int(seq))
		}
		refused := rapid.Uint32Range(0, sent-1).Draw(t, "refused")
		lost := sent - len(seen)
		if !seen[refused] {
			lost-- // nobody promised to deliver it
		}
		if got := tl.lost(1, sent, func(seq uint32) bool { return seq != refused }); got != lost {
			t.Fatalf("lost %d, want %d of %v", got, lost, arrivals)
		}
		if got := tl.lost(0, 3, func(uint32) bool { return true }); got != 3 {
			t.Fatalf("the other publisher: lost %d, want 3", got)
		}
	})
}

func TestTallyOfNonsense(t *testing.T) {
	tl := newTally(1)
	if tl.take(1, 0) != foreign || tl.take(0, 4_000_000_000) != foreign || tl.take(0, 0) != inOrder {
		t.Error("nonsense was counted")
	}
}
