package cli

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// blueGreen is a fleet of two edges in each group, after so many of 1000 moved
// from blue to green.
func blueGreen(moved uint64) []*presencev1.Edge {
	ready := presencev1.EdgeState_EDGE_STATE_READY
	return []*presencev1.Edge{
		{Id: "b1", Group: "blue", Version: "1", State: ready, Connections: 600 - min(moved, 600), Moved: min(moved, 600) + 5},
		{Id: "b2", Group: "blue", Version: "1", State: ready, Connections: 400 - (max(moved, 600) - 600), Moved: max(moved, 600) - 600},
		{Id: "g1", Group: "green", Version: "2", State: ready, Connections: moved},
		{Id: "g2", Group: "green", Version: "2", State: presencev1.EdgeState_EDGE_STATE_STARTING},
	}
}

func TestRollout(t *testing.T) {
	f := &fakePlanner{
		statuses: []*presencev1.Status{
			{Phase: presencev1.Phase_PHASE_LEVEL}, {Phase: presencev1.Phase_PHASE_HELD, Gates: []*presencev1.Gate{{Name: "steering"}}}, {Phase: presencev1.Phase_PHASE_MOVING},
		},
		fleets: [][]*presencev1.Edge{blueGreen(0), blueGreen(0), blueGreen(500), blueGreen(700), blueGreen(1000)},
	}
	env := planned(t, f)
	rates := []string{`, \d+/s, about \d+s`, ", RATE/s, about TIME"}
	text := transcript(t, env,
		[]string{"rollout", "status"}, []string{"rollout", "pause"}, []string{"rollout", "abort"},
		[]string{"rollout", "--from", "blue", "--to", "green", "--rate", "50/s", "--interval=1ms"},
		[]string{"rollout", "status"}, []string{"rollout", "status", "-o", "json"},
		[]string{"rollout", "--from=blue", "--to=green", "--rate=70", "--detach"},
	)
	f.fleets = [][]*presencev1.Edge{blueGreen(700)}
	text += transcript(t, env, []string{"rollout", "pause"}, []string{"rollout", "status"}, []string{"rollout", "resume"},
		[]string{"rollout", "resume", "-o", "json"}, []string{"rollout", "abort", "--detach"})
	compare(t, "rollout.txt", text, rates...)
	last := f.ordered[len(f.ordered)-1].GetRollout()
	if last.GetFrom() != "green" || last.GetTo() != "blue" || last.GetRate() != 70 || last.GetPaused() {
		t.Errorf("abort ordered %v", last)
	}
}

// What the planner says of an earlier order is not the end of this one.
func TestRolloutWaitsForThePlannerToHearOfIt(t *testing.T) {
	rollout := func(seq uint64, from, to string) *presencev1.Status {
		return &presencev1.Status{Orders: &presencev1.Orders{Seq: seq, Rollout: &presencev1.Rollout{From: from, To: to, Rate: 1}}}
	}
	a := &app{common: defaults()}
	for _, c := range []struct {
		status *presencev1.Status
		done   bool
		want   string
	}{
		{&presencev1.Status{}, false, "not heard"},
		{rollout(1, "blue", "green"), false, "not heard"},
		{rollout(2, "blue", "green"), false, "blue to green ["},
		{rollout(3, "blue", "green"), false, "blue to green ["},
		{rollout(3, "green", "blue"), true, "by somebody else: rollout from green to blue at 1/s"},
		{&presencev1.Status{Orders: &presencev1.Orders{Seq: 3}}, true, "by somebody else: none"},
	} {
		f := &fakePlanner{statuses: []*presencev1.Status{c.status}, fleets: [][]*presencev1.Edge{blueGreen(10)}}
		a.Getenv, a.common.Presence = func(string) string { return "" }, []string{planned(t, f)["SKEIN_PRESENCE"]}
		err := a.withFleet(t.Context(), func(client fleetClient) error {
			got, err := a.watchRollout(t.Context(), client, &tracker{seq: 2, rollout: &presencev1.Rollout{From: "blue", To: "green"}})
			if got.done != c.done || !strings.Contains(got.line, c.want) {
				t.Errorf("%v: got %+v", c.status, got)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// An instance that knows half of the fleet does not end a rollout.
func TestRolloutIsOverWhenEveryEdgeSaysSo(t *testing.T) {
	blue := func(edges int, connections uint64) part { return part{Edges: edges, Connections: connections} }
	for name, c := range map[string]struct {
		looks []part
		want  bool
	}{
		"all are empty":        {[]part{blue(2, 9), blue(2, 0)}, true},
		"at once":              {[]part{blue(2, 0)}, true},
		"one is not heard":     {[]part{blue(2, 9), blue(1, 0)}, false},
		"nobody is heard":      {[]part{blue(2, 9), blue(0, 0), blue(0, 0), blue(0, 0), blue(0, 0)}, false},
		"for long":             {[]part{blue(2, 9), blue(0, 0), blue(0, 0), blue(0, 0), blue(0, 0), blue(0, 0)}, true},
		"for long, not in row": {[]part{blue(2, 9), blue(0, 0), blue(0, 0), blue(0, 0), blue(2, 3), blue(1, 0), blue(1, 0)}, false},
	} {
		var tr tracker
		got := false
		for _, p := range c.looks {
			tr.see(p, moment())
			got = tr.emptied(p)
		}
		if got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRateIsMeasured(t *testing.T) {
	var tr tracker
	at := moment()
	for i, c := range []struct {
		after time.Duration
		moved uint64
		rate  float64
	}{
		{0, 0, 0}, {time.Second, 50, 50}, {100 * time.Millisecond, 50, 50}, {900 * time.Millisecond, 110, 60},
		{time.Second, 110, 60}, {time.Second, 110, 0}, {time.Second, 0, 0},
	} {
		at = at.Add(c.after)
		if tr.see(part{Moved: c.moved}, at); math.Abs(tr.rate-c.rate) > 1e-9 {
			t.Errorf("step %d: %v/s, want %v", i, tr.rate, c.rate)
		}
	}
}

func TestCtrlCEndsTheCommandOnly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	questions := 0
	f := &fakePlanner{statuses: []*presencev1.Status{{}}, fleets: [][]*presencev1.Edge{blueGreen(1)}, asked: func() {
		if questions++; questions == 4 {
			cancel()
		}
	}}
	env := planned(t, f)
	var out strings.Builder
	code := Main(ctx, Env{
		Args: []string{"rollout", "--from=blue", "--to=green", "--interval=1ms"}, Getenv: func(name string) string { return env[name] }, Stdout: &out, Stderr: &out,
	})
	if code != 0 || !strings.HasSuffix(out.String(), "The rollout goes on by itself. Hold it with: skein rollout pause\n") || len(f.ordered) != 1 {
		t.Errorf("exit %d\n%s", code, out.String())
	}
}

func TestDrain(t *testing.T) {
	edge := func(state presencev1.EdgeState, connections uint64) []*presencev1.Edge {
		return []*presencev1.Edge{{Id: "e1", State: state, Connections: connections}, {Id: "e2", Connections: 9}}
	}
	const ready, draining = presencev1.EdgeState_EDGE_STATE_READY, presencev1.EdgeState_EDGE_STATE_DRAINING
	f := &fakePlanner{fleets: [][]*presencev1.Edge{
		edge(ready, 30), edge(draining, 30), edge(draining, 1), edge(draining, 1), edge(draining, 0),
	}}
	env := planned(t, f)
	text := transcript(t, env,
		[]string{"drain", "e1", "--interval=1ms"}, []string{"drain", "e1", "--interval=1ms", "-o", "json"}, []string{"drain", "gone", "--interval=1ms"},
		[]string{"drain", "e1", "--detach"}, []string{"drain", "e1", "--undo"}, []string{"drain", "e1", "--detach", "-o", "json"},
	)
	if f.ordered[0].GetDrain() != "e1" || f.ordered[4].GetUndrain() != "e1" {
		t.Errorf("ordered %v", f.ordered)
	}
	f.refuse = status.Error(codes.FailedPrecondition, "presence: e1 is the last edge that serves: start another first")
	text += transcript(t, env, []string{"drain", "e1"}, []string{"drain", "e1", "--undo"})
	f.refuse = status.Error(codes.NotFound, `presence: no edge is called "e 1"`)
	compare(t, "drain.txt", text+transcript(t, env, []string{"drain", "e 1"}))
}

func TestRates(t *testing.T) {
	for text, want := range map[string]float64{"500/s": 500, "500": 500, "0.5/s": 0.5, "1e6": 1e6} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "/s", "0", "-1/s", "NaN", "inf/s", "1e7", "5/m", "5/s/s", "5 /s"} {
		if got, err := parseRate(text); err == nil || !strings.Contains(err.Error(), "is not a rate such as 500/s") {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
}

func FuzzRate(f *testing.F) {
	for _, text := range []string{"500/s", "500", "0.5/s", "-1", "1e309", "0x1p-2/s", "NaN"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if rate, err := parseRate(text); err == nil && !(rate > 0 && rate <= maxRate) {
			t.Errorf("%q is %v", text, rate)
		}
	})
}
