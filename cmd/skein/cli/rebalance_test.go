package cli

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// fakePlanner says one thing after the other; the last of each is said again and
// again.
type fakePlanner struct {
	presencev1.UnimplementedRebalanceServiceServer
	presencev1.UnimplementedFleetServiceServer

	plan     *presencev1.Plan
	gates    []*presencev1.Gate
	statuses []*presencev1.Status
	fleets   [][]*presencev1.Edge
	records  []*presencev1.Record
	asked    func() // called with each question

	// mu guards the fields below, and the lists above once somebody asks.
	mu      sync.Mutex
	applied int
	ordered []*presencev1.OrderRequest
	orders  *presencev1.Orders
	refuse  error // of orders
	fail    int   // so many questions are not answered
}

func (f *fakePlanner) Plan(context.Context, *presencev1.PlanRequest) (*presencev1.PlanResponse, error) {
	return &presencev1.PlanResponse{Plan: f.plan, Gates: f.gates}, nil
}

func (f *fakePlanner) Apply(context.Context, *presencev1.ApplyRequest) (*presencev1.ApplyResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied++
	return &presencev1.ApplyResponse{Plan: f.plan, Gates: f.gates}, f.refuse
}

func (f *fakePlanner) Status(context.Context, *presencev1.StatusRequest) (*presencev1.StatusResponse, error) {
	if f.asked != nil {
		f.asked()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail > 0 {
		f.fail--
		return nil, status.Error(codes.Unavailable, "presence: no instance is elected yet")
	}
	s := proto.CloneOf(next(&f.statuses))
	s.Planner = "p1"
	if f.orders != nil {
		s.Orders = f.orders
	}
	return &presencev1.StatusResponse{Status: s}, nil
}

func (f *fakePlanner) History(context.Context, *presencev1.HistoryRequest) (*presencev1.HistoryResponse, error) {
	return &presencev1.HistoryResponse{Records: f.records}, nil
}

func (f *fakePlanner) List(context.Context, *presencev1.ListRequest) (*presencev1.ListResponse, error) {
	if f.asked != nil {
		f.asked()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &presencev1.ListResponse{Fleet: &presencev1.Fleet{Edges: next(&f.fleets)}}, nil
}

func (f *fakePlanner) Order(_ context.Context, req *presencev1.OrderRequest) (*presencev1.OrderResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return nil, f.refuse
	}
	f.ordered = append(f.ordered, req)
	f.orders = &presencev1.Orders{Seq: uint64(len(f.ordered)), Instance: "p1", Paused: req.GetPaused(), Rollout: req.GetRollout()}
	if req.GetDrain() != "" {
		f.orders.Drains = []*presencev1.Drain{{Edge: req.GetDrain(), Incarnation: 1}}
	}
	return &presencev1.OrderResponse{Orders: f.orders}, nil
}

// next takes the first of a list unless it is the last.
func next[T any](list *[]T) T {
	var first T
	if len(*list) > 0 {
		first = (*list)[0]
	}
	if len(*list) > 1 {
		*list = (*list)[1:]
	}
	return first
}

// planned runs a fake planner and returns the variables that lead to it.
func planned(t *testing.T, f *fakePlanner) map[string]string {
	t.Helper()
	return map[string]string{"SKEIN_PRESENCE": serve(t, func(s *grpc.Server) {
		presencev1.RegisterRebalanceServiceServer(s, f)
		presencev1.RegisterFleetServiceServer(s, f)
	})}
}

// transcript runs commands and returns what they print, errors too.
func transcript(t *testing.T, env map[string]string, commands ...[]string) string {
	t.Helper()
	var text strings.Builder
	for _, args := range commands {
		text.WriteString("$ skein " + strings.Join(args, " ") + "\n")
		got := skein(t, env, "", args...)
		text.WriteString(got.stdout + got.stderr)
		if got.code != 0 {
			text.WriteString("(exit " + string(rune('0'+got.code)) + ")\n")
		}
		text.WriteString("\n")
	}
	return text.String()
}

// moment is when everything in these tests began.
func moment() time.Time { return time.Unix(1_700_000_000, 0) }

func shares() []*presencev1.Share {
	ready := presencev1.EdgeState_EDGE_STATE_READY
	return []*presencev1.Share{
		{Edge: "edge-1", Version: "1.2.0", State: ready, Connections: 1200, Target: 900, Moves: 300, Weight: 1, Published: 100, Reason: "300 above its share of 900"},
		{Edge: "edge-2", Version: "1.2.0", State: ready, Connections: 600, Target: 900, Weight: 256, Published: 100, Reason: "300 below its share of 900"},
	}
}

// unlevel is a fleet that has something to do.
func unlevel() *fakePlanner {
	plan := &presencev1.Plan{
		Shares: shares(), Moves: 300, DurationMs: 30_000, Rate: 10, Needed: true, Trigger: presencev1.Trigger_TRIGGER_DEFICIT, Reason: "edge-2 has 300 too few",
	}
	record := func(moved uint64) *presencev1.Record {
		return &presencev1.Record{
			Number: 4, Trigger: presencev1.Trigger_TRIGGER_DEFICIT, Reason: "edge-2 has 300 too few", Predicted: 300, Moved: moved,
			Began: timestamppb.New(moment()), Before: shares(),
		}
	}
	ended := record(300)
	ended.Ended, ended.Outcome, ended.After = timestamppb.New(moment().Add(31*time.Second)), "level", shares()[1:]
	steering := []*presencev1.Gate{{Name: "steering", Reason: "balancers may not know yet the weight of edge-1"}}
	return &fakePlanner{
		plan: plan, gates: steering,
		statuses: []*presencev1.Status{
			{Phase: presencev1.Phase_PHASE_STEERING, Plan: plan, Gates: steering, Current: record(0), Warnings: []string{"no balancer asks the edges for their weights"}},
			{Phase: presencev1.Phase_PHASE_MOVING, Plan: &presencev1.Plan{Moves: 150, DurationMs: 15_000, Rate: 10, Needed: true}, Current: record(150)},
			{Phase: presencev1.Phase_PHASE_LEVEL, Plan: &presencev1.Plan{}},
		},
		fleets: [][]*presencev1.Edge{{
			{
				Id: "edge-1", Incarnation: 1, Version: "1.2.0", State: presencev1.EdgeState_EDGE_STATE_READY, Connections: 1201, Moved: 7,
				Weight: 100, WeightAgeMs: 62_000, Polled: true, PollAgeMs: 800, Planner: "p1",
			},
			{Id: "edge-2", Incarnation: 1, Version: "1.2.0", State: presencev1.EdgeState_EDGE_STATE_READY, Connections: 600, Weight: 100, Group: "blue"},
			{Id: "edge-9", Incarnation: 1, Version: "1.3.0", State: presencev1.EdgeState_EDGE_STATE_STARTING},
		}},
		records: []*presencev1.Record{ended, {Number: 3, Trigger: presencev1.Trigger_TRIGGER_APPLIED, Began: timestamppb.New(moment()), Ended: timestamppb.New(moment()), Outcome: "stopped: an edge drains"}},
	}
}

// sinces replaces how long ago the moment was, and when that is here.
func sinces() []string {
	return []string{
		`in \d+d\d\dh`, "in AGES", `"seconds": \d{6,}[\d.e+]*`, `"seconds": AGES`,
		`2023-11-1\d \d\d:\d\d:\d\d`, "2023-11-14 HH:MM:SS", `127\.0\.0\.1:\d+`, "HOST:PORT",
	}
}

func TestRebalanceShows(t *testing.T) {
	f := unlevel()
	f.statuses = f.statuses[:1]
	env := planned(t, f)
	compare(t, "rebalance.txt", transcript(t, env,
		[]string{"rebalance", "plan"}, []string{"rebalance", "status"}, []string{"rebalance", "explain"}, []string{"rebalance", "explain", "edge-2"},
		[]string{"rebalance", "explain", "edge-3"}, []string{"rebalance", "history"},
		[]string{"rebalance", "pause"}, []string{"rebalance", "resume"},
	), sinces()...)
	compare(t, "rebalance.json.txt", transcript(t, env,
		[]string{"rebalance", "plan", "-o", "json"}, []string{"rebalance", "status", "-o", "json"}, []string{"rebalance", "explain", "edge-1", "-o", "json"},
		[]string{"rebalance", "history", "-o", "json"}, []string{"rebalance", "pause", "-o", "json"},
	), sinces()...)
	if len(f.ordered) != 3 || !f.ordered[0].GetPaused() || f.ordered[1].GetPaused() {
		t.Errorf("ordered %v", f.ordered)
	}
}

func TestPlanWithNothingToDo(t *testing.T) {
	ready := presencev1.EdgeState_EDGE_STATE_READY
	few := &presencev1.Plan{Moves: 1, DurationMs: 1000, Rate: 1, Reason: "edge-2 has 1 too few", Shares: []*presencev1.Share{
		{Edge: "edge-1", Group: "blue", State: ready, Connections: 4, Target: 3, Moves: 1, Weight: 100, Published: 100, Reason: "1 above its share of 3"},
	}}
	var text strings.Builder
	for _, plan := range []*presencev1.Plan{{}, few} {
		env := planned(t, &fakePlanner{plan: plan, statuses: []*presencev1.Status{{Phase: presencev1.Phase_PHASE_LEVEL, Plan: plan}}})
		text.WriteString(transcript(t, env, []string{"rebalance", "plan"}, []string{"rebalance", "status"}, []string{"rebalance", "history"}))
	}
	compare(t, "rebalance-level.txt", text.String())
}

func TestApplyFollowsThePlan(t *testing.T) {
	f := unlevel()
	f.fail = 1
	env := planned(t, f)
	compare(t, "apply.txt", transcript(t, env,
		[]string{"rebalance", "apply", "--interval=1ms"}, []string{"rebalance", "apply", "--detach"},
	), sinces()...)
	if f.applied != 2 {
		t.Errorf("applied %d times", f.applied)
	}
	got := skein(t, planned(t, unlevel()), "", "rebalance", "apply", "--interval=1ms", "-o", "json")
	if lines := strings.Split(strings.TrimSpace(got.stdout), "\n"); got.code != 0 || !strings.HasPrefix(lines[len(lines)-1], `{"planner":"p1","phase":"level"`) {
		t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

func TestApplyThatHasNothingToDo(t *testing.T) {
	f := &fakePlanner{plan: &presencev1.Plan{}}
	if got := skein(t, planned(t, f), "", "rebalance", "apply"); got.code != 0 || !strings.Contains(got.stdout, "Nothing to move") {
		t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	f.refuse = status.Error(codes.FailedPrecondition, "presence: an operator paused rebalancing: resume it first")
	if got := skein(t, planned(t, f), "", "rebalance", "apply"); got.code != 1 || got.stderr != "skein: apply: presence: an operator paused rebalancing: resume it first\n" {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
}

func TestStatusIsWatched(t *testing.T) {
	f := unlevel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	questions := 0
	f.asked = func() {
		if questions++; questions == 5 {
			cancel() // the user presses ctrl-C
		}
	}
	env := planned(t, f)
	var out strings.Builder
	code := Main(ctx, Env{
		Args: []string{"rebalance", "status", "--watch", "--interval=1ms"}, Getenv: func(name string) string { return env[name] }, Stdout: &out, Stderr: &out,
	})
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); code != 0 || len(lines) != 3 || lines[2] != "level: there is nothing to do" {
		t.Errorf("exit %d\n%s", code, out.String())
	}
}

func TestFollowingGivesUp(t *testing.T) {
	f := unlevel()
	f.fail = 1 << 30
	got := skein(t, planned(t, f), "", "rebalance", "status", "--watch", "--interval=1ms", "--timeout=50ms")
	if got.code != 1 || !strings.HasPrefix(got.stdout, "Asking again: ") || !strings.HasPrefix(got.stderr, "skein: ") {
		t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

func TestCompletionOfEdgesAndGroups(t *testing.T) {
	env := planned(t, unlevel())
	for _, c := range []struct{ args, want []string }{
		{[]string{"drain", ""}, []string{"edge-1", "edge-2", "edge-9"}},
		{[]string{"rebalance", "explain", ""}, []string{"edge-1", "edge-2", "edge-9"}},
		{[]string{"drain", "edge-1", ""}, nil},
		{[]string{"rollout", "--from", ""}, []string{"blue"}},
	} {
		got := skein(t, env, "", append([]string{"__complete"}, c.args...)...)
		lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
		if offers := lines[:len(lines)-1]; !slices.Equal(offers, c.want) {
			t.Errorf("%q offers %q\n%s", c.args, offers, got.stderr)
		}
	}
}
