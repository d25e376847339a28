package load_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/load"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func edge(id string, incarnation, connections uint64) *presencev1.Edge {
	return &presencev1.Edge{Id: id, Incarnation: incarnation, Connections: connections}
}

// report is one step of a table test.
type report struct {
	at     time.Duration
	stream uint64
	edge   *presencev1.Edge
	want   error
}

func TestReports(t *testing.T) {
	for name, test := range map[string]struct {
		reports []report
		at      time.Duration // when the fleet is looked at
		want    uint64        // connections
	}{
		"the last report counts": {
			[]report{{0, 1, edge("a", 1, 10), nil}, {time.Second, 1, edge("a", 1, 7), nil}}, time.Second, 7,
		},
		"edges add up": {
			[]report{{0, 1, edge("a", 1, 10), nil}, {0, 2, edge("b", 1, 5), nil}}, 0, 15,
		},
		"a duplicate counts once": {
			[]report{{0, 1, edge("a", 1, 10), nil}, {0, 1, edge("a", 1, 10), nil}}, 0, 10,
		},
		"a lease ends": {
			[]report{{0, 1, edge("a", 1, 10), nil}, {time.Second, 2, edge("b", 1, 5), nil}}, load.Lease, 5,
		},
		"a lease is valid to its end": {
			[]report{{0, 1, edge("a", 1, 10), nil}}, load.Lease - 1, 10,
		},
		"a duplicate renews the lease": {
			[]report{{0, 1, edge("a", 1, 10), nil}, {2 * time.Second, 1, edge("a", 1, 10), nil}}, 4 * time.Second, 10,
		},
		"a later life counts": {
			[]report{{0, 1, edge("a", 1, 10), nil}, {0, 2, edge("a", 2, 0), nil}}, 0, 0,
		},
		"an earlier life is late": {
			[]report{{0, 2, edge("a", 2, 3), nil}, {0, 3, edge("a", 1, 10), load.ErrEarlierLife}}, 0, 3,
		},
		"an earlier stream is late": {
			[]report{{0, 2, edge("a", 1, 3), nil}, {0, 1, edge("a", 1, 10), load.ErrReplaced}}, 0, 3,
		},
		"a late report renews nothing": {
			[]report{{0, 2, edge("a", 1, 3), nil}, {2 * time.Second, 1, edge("a", 1, 10), load.ErrReplaced}}, load.Lease, 0,
		},
		"a later life on an earlier stream counts": {
			[]report{{0, 2, edge("a", 1, 3), nil}, {0, 1, edge("a", 2, 10), nil}}, 0, 10,
		},
		"an edge comes back after its lease": {
			[]report{{0, 1, edge("a", 1, 3), nil}, {time.Minute, 1, edge("a", 1, 4), nil}}, time.Minute, 4,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var ledger load.Ledger
			for i, r := range test.reports {
				if err := ledger.Report(r.stream, r.edge, start.Add(r.at)); !errors.Is(err, r.want) {
					t.Errorf("report %d: %v, want %v", i, err, r.want)
				}
			}
			if got := load.Connections(ledger.Edges(start.Add(test.at))); got != test.want {
				t.Errorf("%d connections, want %d", got, test.want)
			}
		})
	}
}

func TestLeave(t *testing.T) {
	var ledger load.Ledger
	first, second := ledger.Open(), ledger.Open()
	for _, stream := range []uint64{first, second} {
		if err := ledger.Report(stream, edge("a", 1, 10), start); err != nil {
			t.Fatal(err)
		}
	}
	ledger.Leave(first, "a")
	ledger.Leave(second, "b")
	if len(ledger.Edges(start)) != 1 {
		t.Error("a stream that was replaced ended the row")
	}
	ledger.Leave(second, "a")
	ledger.Leave(second, "a")
	if len(ledger.Edges(start)) != 0 {
		t.Error("the row did not end")
	}
	if err := ledger.Report(first, edge("a", 1, 10), start); !errors.Is(err, load.ErrReplaced) || len(ledger.Edges(start)) != 0 {
		t.Errorf("a late report revived it: %v", err)
	}
	if err := ledger.Report(ledger.Open(), edge("a", 1, 4), start); err != nil || len(ledger.Edges(start)) != 1 {
		t.Errorf("it cannot come back: %v", err)
	}
}

func TestLate(t *testing.T) {
	var ledger load.Ledger
	for i, id := range []string{"c", "b", "a"} {
		if err := ledger.Report(uint64(i), edge(id, 1, 1), start.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	ledger.Leave(1, "b")
	for at, want := range map[time.Duration][]string{
		load.LateAfter: nil, load.LateAfter + 1: {"c"}, load.Lease: nil, load.Lease + 1500*time.Millisecond: {"a"}, time.Minute: nil,
	} {
		if got := ledger.Late(start.Add(at)); !slices.Equal(got, want) {
			t.Errorf("after %s: %q are late, want %q", at, got, want)
		}
	}
}

func TestReported(t *testing.T) {
	var ledger load.Ledger
	for _, stream := range []uint64{1, 2} {
		if err := ledger.Report(stream, edge("a", stream, 1), start); err != nil {
			t.Fatal(err)
		}
	}
	if got := ledger.Reported(2, "a", start); got.GetIncarnation() != 2 {
		t.Errorf("got %v", got)
	}
	ended := start.Add(load.Lease)
	if ledger.Reported(1, "a", start) != nil || ledger.Reported(2, "b", start) != nil || ledger.Reported(2, "a", ended) != nil {
		t.Error("of a stream that was replaced, of nobody, or after its lease")
	}
	ledger.Leave(2, "a")
	if ledger.Reported(2, "a", start) != nil {
		t.Error("after it left")
	}
}

func TestExpireTellsWhenToLookAgain(t *testing.T) {
	var ledger load.Ledger
	if !ledger.Expire(start).IsZero() {
		t.Error("nothing can end")
	}
	for i, id := range []string{"a", "b"} {
		if err := ledger.Report(uint64(i), edge(id, 1, 1), start.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if next := ledger.Expire(start); !next.Equal(start.Add(load.Lease)) {
		t.Errorf("next is %s", next)
	}
	if next := ledger.Expire(start.Add(load.Lease)); !next.Equal(start.Add(load.Lease + time.Second)) {
		t.Errorf("then %s", next)
	}
	if !ledger.Expire(start.Add(time.Minute)).IsZero() {
		t.Error("all have ended")
	}
}

func TestVersionChangesWithTheContent(t *testing.T) {
	var ledger load.Ledger
	changes := func(what string, want bool, f func()) {
		t.Helper()
		before := ledger.Version()
		f()
		if (ledger.Version() != before) != want {
			t.Errorf("%s: change %v, want %v", what, !want, want)
		}
	}
	say := func(e *presencev1.Edge, at time.Duration) func() {
		return func() {
			e.Taken, e.UptimeMs = timestamppb.New(start.Add(at)), uint64(at.Milliseconds())
			e.WeightAgeMs, e.PollAgeMs = e.GetUptimeMs(), e.GetUptimeMs()
			if err := ledger.Report(1, e, start.Add(at)); err != nil {
				t.Error(err)
			}
		}
	}
	changes("a new edge", true, say(edge("a", 1, 1), 0))
	changes("the same again", false, say(edge("a", 1, 1), time.Second))
	changes("another count", true, say(edge("a", 1, 2), 2*time.Second))
	changes("nothing has ended", false, func() { ledger.Expire(start.Add(4 * time.Second)) })
	changes("the lease ends", true, func() { ledger.Expire(start.Add(5 * time.Second)) })
	changes("it is back", true, say(edge("a", 1, 2), 6*time.Second))
	changes("it leaves", true, func() { ledger.Leave(1, "a") })
	changes("what left is forgotten", false, func() { ledger.Expire(start.Add(time.Minute)) })
}

func TestRowsAreBounded(t *testing.T) {
	var ledger load.Ledger
	for i := range load.MaxEdges {
		if err := ledger.Report(1, edge(fmt.Sprint(i), 1, 1), start); err != nil {
			t.Fatal(err)
		}
	}
	if err := ledger.Report(1, edge("one more", 1, 1), start); !errors.Is(err, load.ErrFull) {
		t.Errorf("got %v", err)
	}
	if err := ledger.Report(1, edge("7", 1, 2), start); err != nil {
		t.Errorf("a known edge: %v", err)
	}
	if err := ledger.Report(1, edge("one more", 1, 1), start.Add(load.Lease)); err != nil {
		t.Errorf("after the others ended: %v", err)
	}
}

// However reports of several lives and streams of a few edges interleave, the
// fleet is what a simple model says: of each edge the largest incarnation, of
// that the largest stream, of that the last report, if its lease is valid and
// it did not leave.
func TestLedgerAgreesWithModel(t *testing.T) {
	type entry struct {
		incarnation, stream, connections uint64
		expires                          time.Time
		left                             bool
	}
	rapid.Check(t, func(t *rapid.T) {
		var ledger load.Ledger
		model, now := map[string]entry{}, start
		t.Repeat(map[string]func(*rapid.T){
			"report": func(t *rapid.T) {
				id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "edge")
				next := entry{
					incarnation: rapid.Uint64Range(1, 3).Draw(t, "incarnation"), stream: rapid.Uint64Range(1, 3).Draw(t, "stream"),
					connections: rapid.Uint64Range(0, 9).Draw(t, "connections"), expires: now.Add(load.Lease),
				}
				known, ok := model[id]
				late := ok && known.expires.After(now) && (known.incarnation > next.incarnation ||
					known.incarnation == next.incarnation && known.stream > next.stream)
				if err := ledger.Report(next.stream, edge(id, next.incarnation, next.connections), now); (err != nil) != late {
					t.Fatalf("late is %v, got %v", late, err)
				}
				if !late {
					model[id] = next
				}
			},
			"leave": func(t *rapid.T) {
				id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "edge")
				stream := rapid.Uint64Range(1, 3).Draw(t, "stream")
				ledger.Leave(stream, id)
				if known, ok := model[id]; ok && known.stream == stream {
					known.left = true
					model[id] = known
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond)
			},
			"": func(t *rapid.T) {
				want := map[string]uint64{}
				for id, e := range model {
					if !e.left && e.expires.After(now) {
						want[id] = e.connections
					}
				}
				edges := ledger.Edges(now)
				for i, e := range edges {
					if i > 0 && edges[i-1].GetId() >= e.GetId() {
						t.Fatalf("not sorted: %v", edges)
					}
					if n, ok := want[e.GetId()]; !ok || n != e.GetConnections() {
						t.Fatalf("got %v, want %v", edges, want)
					}
				}
				if len(edges) != len(want) {
					t.Fatalf("got %v, want %v", edges, want)
				}
			},
		})
	})
}
