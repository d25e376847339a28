package balance

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// drawWorld is up to eight edges with any connections.
func drawWorld(t *rapid.T) *world {
	counts := rapid.SliceOfN(rapid.IntRange(0, 5000), 2, 8).Draw(t, "connections")
	return newWorld(rapid.Uint64().Draw(t, "seed"), counts...)
}

func TestMovesAreTheSurplusUnderSteering(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.perfect = true
		least := w.surplus()
		if !w.until(600) {
			t.Fatalf("not level after 10 minutes: %v, %v", w.counts(), w.last.Status)
		}
		worth, slack := max(50, 5*sum(w.counts())/100), sum(w.counts())/100+2*len(w.edges)
		switch { // balancers deal one by one, so that each edge may have one more or less than its target
		case least <= worth && w.moves > 0:
			t.Fatalf("%d were moved though only %d are too many", w.moves, least)
		case least > worth && (w.moves > least+len(w.edges) || w.moves < least-slack):
			t.Fatalf("%d were moved, %d were too many", w.moves, least)
		}
		before := w.moves
		w.planner.Apply()
		if !w.until(600) {
			t.Fatal("not level after it was asked for again")
		}
		if again := w.moves - before; least > worth && again > slack {
			t.Fatalf("a plan for its own result moves %d", again)
		}
	})
}

func sum(counts []int) int {
	total := 0
	for _, c := range counts {
		total += c
	}
	return total
}

func TestSomebodyAlwaysAccepts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for range rapid.IntRange(1, 60).Draw(t, "seconds") {
			switch rapid.IntRange(0, 9).Draw(t, "event") {
			case 0:
				w.add(0)
			case 1:
				w.edges[rapid.IntRange(0, len(w.edges)-1).Draw(t, "edge")].State = presencev1.EdgeState_EDGE_STATE_DRAINING
			case 2:
				w.edges[rapid.IntRange(0, len(w.edges)-1).Draw(t, "edge")].State = presencev1.EdgeState_EDGE_STATE_READY
			case 3:
				w.edges[rapid.IntRange(0, len(w.edges)-1).Draw(t, "edge")].Version = "2"
			case 4:
				w.edges[rapid.IntRange(0, len(w.edges)-1).Draw(t, "edge")].Capacity = uint32(rapid.IntRange(1, 1000).Draw(t, "capacity"))
			case 5:
				w.orders = &presencev1.Orders{Paused: rapid.Bool().Draw(t, "paused")}
			}
			w.tick()
			checkWeights(t, w)
		}
	})
}

// checkWeights checks the bounds of what balancers are told.
func checkWeights(t *rapid.T, w *world) {
	if w.last.Hints == nil {
		return
	}
	top, serving := uint32(0), 0
	for _, e := range w.edges {
		weight := w.last.Hints[e.GetId()].GetWeight()
		if weight < floor || weight > ceiling {
			t.Fatalf("%s is told %d%%", e.GetId(), weight)
		}
		if e.GetState() == presencev1.EdgeState_EDGE_STATE_READY {
			top = max(top, weight)
			serving++
		}
	}
	if serving > 0 && top < leastTop {
		t.Fatalf("of %d edges that serve none is told more than %d%%", serving, top)
	}
}

func TestNoPingPongWhateverArrives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		least, worth := w.surplus(), max(50, 5*sum(w.counts())/100)
		for range 40 {
			for range rapid.IntRange(0, 20).Draw(t, "arrivals") {
				w.arrive()
			}
			w.tick()
		}
		w.until(600)
		settled := w.moves
		if settled > least+least/10+worth {
			t.Fatalf("%d were moved of %d that were too many", settled, least)
		}
		for range 300 {
			w.tick()
		}
		if w.moves != settled {
			t.Fatalf("%d more were moved while nobody came or went: %v", w.moves-settled, w.counts())
		}
	})
}

func TestAnEdgeIsAdded(t *testing.T) {
	w := newWorld(1, 10_000, 10_000, 10_000, 10_000)
	w.until(20)
	w.add(0).UptimeMs = 0
	least := w.surplus()
	for range 600 {
		w.tick()
		if w.last.Status.GetPhase() == presencev1.Phase_PHASE_MOVING {
			break
		}
		if w.moves > 0 {
			t.Fatal("moved before balancers were told for long enough")
		}
	}
	if !w.until(600) {
		t.Fatalf("not level: %v", w.last.Status)
	}
	if w.moves > least*105/100 || w.spreadOf() > 8000*5/100 {
		t.Errorf("%d moves of at least %d, then %v", w.moves, least, w.counts())
	}
	record := w.planner.History()[0]
	if record.GetTrigger() != presencev1.Trigger_TRIGGER_DEFICIT || record.GetOutcome() == "" || int(record.GetMoved()) != w.moves {
		t.Errorf("history says %v", record)
	}
	if before := record.GetBefore(); len(before) != 5 || before[4].GetConnections() != 0 || before[4].GetWeight() != ceiling {
		t.Errorf("it began with %v", before)
	}
}

func TestCapacityDecidesTheShare(t *testing.T) {
	w := newWorld(10, 1000, 1000, 1000)
	w.edges[0].Capacity, w.edges[1].Capacity = 300, 50
	if !w.until(300) {
		t.Fatalf("not level: %v", w.last.Status)
	}
	for i, want := range []int{2000, 333, 667} {
		if got := w.counts()[i]; got < want*97/100-5 || got > want*103/100+5 {
			t.Errorf("edge %d has %d, its share is %d", i+1, got, want)
		}
	}
	w.tick()
	if h := w.last.Hints; h["e01"].GetWeight() != 256 || h["e02"].GetWeight() != 43 || h["e03"].GetWeight() != 85 {
		t.Errorf("weights of capacities 300, 50, 100: %v", h)
	}
}

func TestAPlannerTakesOver(t *testing.T) {
	w := newWorld(2, 3000, 3000, 3000)
	w.until(20)
	w.add(0).UptimeMs = 0
	least := w.surplus()
	for w.moves < least/2 {
		w.tick()
	}
	w.replacePlanner("p2")
	for range 5 {
		w.tick()
		if len(w.last.Hints) > 0 {
			break
		}
	}
	if phase := w.last.Status.GetPhase(); phase != presencev1.Phase_PHASE_MOVING {
		t.Errorf("the successor does not go on: %v, %v", phase, w.last.Status.GetGates())
	}
	if !w.until(300) {
		t.Fatal("not level")
	}
	if w.moves > least*105/100 {
		t.Errorf("%d moves of at least %d", w.moves, least)
	}
}

func TestTheLastMovesSurviveATakeover(t *testing.T) {
	w := newWorld(3, 1000, 1000, 1000)
	w.until(20)
	w.add(0).UptimeMs = 0
	for w.moves < w.surplus()*9 { // until fewer are left than a plan is worth
		w.tick()
	}
	w.replacePlanner("p0")
	if w.until(300); w.spreadOf() > 750*5/100 {
		t.Errorf("left at %v", w.counts())
	}
}

func TestBalancersThatIgnoreWeightsAreFoundOut(t *testing.T) {
	w := newWorld(4, 1000, 1000, 1000)
	w.ignore = true
	w.until(20)
	w.add(0).UptimeMs = 0
	warned := false
	for range 3600 {
		w.tick()
		warned = warned || len(w.last.Status.GetWarnings()) > 0
		if w.last.Status.GetPhase() == presencev1.Phase_PHASE_LEVEL {
			break
		}
	}
	if !warned {
		t.Error("nobody is warned")
	}
	if most := slices.Max(w.counts()); most > 750*112/100 {
		t.Errorf("left at %v", w.counts())
	}
	if outcome := w.planner.History()[0].GetOutcome(); outcome != "stopped within 10% of the targets: balancers ignore the weights" {
		t.Errorf("the plan ended %q", outcome)
	}
}

func TestNobodyAsksForWeights(t *testing.T) {
	for _, c := range []struct {
		name   string
		counts []int
		warned bool
	}{
		{"nobody is there", []int{0, 0, 0}, false},
		{"level all the same", []int{1000, 1010, 990}, false},
		{"a difference that is not worth it", []int{40, 0}, false},
		{"one edge has them all", []int{900, 0, 0}, true},
		{"one edge alone", []int{900}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(8, c.counts...)
			w.ignore = true
			for _, e := range w.edges {
				e.Polled = false
			}
			w.tick()
			if warnings := w.last.Status.GetWarnings(); len(warnings) > 0 != c.warned {
				t.Errorf("warned of %q", warnings)
			}
		})
	}
}

func TestHiddenTabsDoNotMakeItMoveMore(t *testing.T) {
	w := newWorld(5, 3000, 3000, 3000)
	w.hidden = 0.3
	w.until(20)
	w.add(0).UptimeMs = 0
	if !w.until(3600) {
		t.Fatalf("not level after an hour: %v", w.last.Status)
	}
	// Seven of ten come back, so that the new edge is full after at most 10/7 of the
	// moves that it would take if all did.
	if w.moves > 2250*10/7 {
		t.Errorf("%d moves", w.moves)
	}
	if w.spreadOf() > 2250*6/100 {
		t.Errorf("left at %v", w.counts())
	}
}

func TestPressureLowersAShareOnce(t *testing.T) {
	w := newWorld(6, 2000, 2000, 2000)
	w.until(20)
	hot := w.edges[0]
	for range 400 {
		for _, e := range w.edges {
			e.CpuLimit, e.Cpu = 2, float64(e.GetConnections())*0.0005
		}
		hot.Cpu = float64(hot.GetConnections()) * 0.00095 // its clients are busier
		w.tick()
	}
	if n := hot.GetConnections(); n > 1800 || n < 1300 {
		t.Errorf("the edge that is short of CPU has %d", n)
	}
	moved := w.moves
	for range 600 {
		hot.Cpu = float64(hot.GetConnections()) * 0.00095
		w.tick()
	}
	if w.moves > moved+200 {
		t.Errorf("%d went to and fro", w.moves-moved)
	}
	if trigger := w.planner.History()[len(w.planner.History())-1].GetTrigger(); trigger != presencev1.Trigger_TRIGGER_PRESSURE {
		t.Errorf("the trigger was %v", trigger)
	}
}

func TestARolloutEmptiesAGroupAndComesBack(t *testing.T) {
	w := newWorld(7, 1000, 1000)
	for _, e := range w.edges {
		e.Group = "blue"
	}
	for range 2 {
		e := w.add(0)
		e.Group, e.Version, e.UptimeMs = "green", "2", 0
	}
	w.until(60)
	if w.moves > 0 {
		t.Fatalf("a group that waits was filled: %v", w.counts())
	}
	w.orders = &presencev1.Orders{Seq: 1, Rollout: &presencev1.Rollout{From: "blue", To: "green", Rate: 100}}
	for w.moves < 500 {
		w.tick()
	}
	w.orders = &presencev1.Orders{Seq: 2, Rollout: &presencev1.Rollout{From: "blue", To: "green", Rate: 100, Paused: true}}
	w.tick()
	paused := w.moves
	for range 60 {
		w.tick()
	}
	if w.moves != paused {
		t.Error("moved while the rollout was paused")
	}
	w.orders = &presencev1.Orders{Seq: 3, Rollout: &presencev1.Rollout{From: "green", To: "blue", Rate: 100}}
	if !w.until(300) || w.edges[2].GetConnections()+w.edges[3].GetConnections() != 0 {
		t.Errorf("taken back to %v: %v", w.counts(), w.last.Status)
	}
	w.orders = &presencev1.Orders{Seq: 4, Rollout: &presencev1.Rollout{From: "blue", To: "green", Rate: 100}}
	if !w.until(300) || w.edges[0].GetConnections()+w.edges[1].GetConnections() != 0 || w.spreadOf() > 1050 {
		t.Errorf("rolled out to %v: %v", w.counts(), w.last.Status)
	}
}

func TestARollingRestartMovesEachClientOnce(t *testing.T) {
	for _, n := range []int{3, 6, 20} {
		for _, version := range []string{"1", "2"} { // a new version, and a restart of the same
			w := newWorld(9, slices.Repeat([]int{1000}, n)...)
			w.until(20)
			surge := w.add(0)
			surge.UptimeMs, surge.Version = 0, version
			w.tick()
			w.tick()
			moves, peak := 0, 0
			for _, e := range w.edges[:n] {
				moves += w.restart(e, 20, version)
				peak = max(peak, slices.Max(w.counts()))
			}
			moves += w.moves
			leak := float64(n) / (ceiling + float64(n)) // of the arrivals go to edges at the floor
			if most := float64(n*1000) * (1 + leak); float64(moves) > most+10 {
				t.Errorf("%d edges to %s: %d moves of %d clients, %.0f are bearable", n, version, moves, n*1000, most)
			}
			if peak > 1100 {
				t.Errorf("%d edges to %s: %d at one edge", n, version, peak)
			}
			t.Logf("%d edges to %s: %d moves, peak %d", n, version, moves, peak)
		}
	}
}
