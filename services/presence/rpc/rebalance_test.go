package rpc_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skein-mesh/skein/pkg/bubble"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/balance"
	"github.com/skein-mesh/skein/services/presence/rpc"
)

func paused(is bool) *presencev1.OrderRequest {
	return &presencev1.OrderRequest{Change: &presencev1.OrderRequest_Paused{Paused: is}}
}

func drainOf(id string) *presencev1.OrderRequest {
	return &presencev1.OrderRequest{Change: &presencev1.OrderRequest_Drain{Drain: id}}
}

// order gives an order and checks how that ends.
func (i *instance) order(req *presencev1.OrderRequest, want codes.Code) *presencev1.Orders {
	i.t.Helper()
	resp, err := i.rebalance().Order(i.t.Context(), req)
	if status.Code(err) != want {
		i.t.Errorf("%v: got %v, want %s", req, err, want)
	}
	return resp.GetOrders()
}

// answers asks everything, and returns how the questions end.
func (i *instance) answers() map[string]error {
	ctx := i.t.Context()
	_, err1 := i.rebalance().Plan(ctx, &presencev1.PlanRequest{})
	_, err2 := i.rebalance().Status(ctx, &presencev1.StatusRequest{})
	_, err3 := i.rebalance().History(ctx, &presencev1.HistoryRequest{})
	_, err4 := i.rebalance().Apply(ctx, &presencev1.ApplyRequest{})
	return map[string]error{"plan": err1, "status": err2, "history": err3, "apply": err4}
}

func TestTheElectedInstanceAnswers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n, all := instancesOf(t, "p1", "p2")
		n.scripts["p1"].history = make([]*presencev1.Record, 120)
		for k := range n.scripts["p1"].history {
			n.scripts["p1"].history[k] = &presencev1.Record{Number: uint64(120 - k)}
		}
		for _, i := range all {
			defer i.stop()
			i.service.SetPlanner("p1")
		}
		time.Sleep(2 * time.Second) // virtual time
		for _, i := range all {
			for question, err := range i.answers() {
				if err != nil {
					t.Errorf("%s: %v", question, err)
				}
			}
		}
		other := all[1].rebalance()
		if got, _ := other.Plan(t.Context(), &presencev1.PlanRequest{}); got.GetPlan().GetReason() != "scripted" {
			t.Errorf("plan %v", got)
		}
		if got, _ := other.Status(t.Context(), &presencev1.StatusRequest{}); got.GetStatus().GetPlanner() != "p1" {
			t.Errorf("status %v", got)
		}
		if got, _ := other.History(t.Context(), &presencev1.HistoryRequest{}); len(got.GetRecords()) != 100 || got.GetRecords()[0].GetNumber() != 120 {
			t.Errorf("%d records", len(got.GetRecords()))
		}
		n.scripts["p1"].mu.Lock()
		defer n.scripts["p1"].mu.Unlock()
		if made, _ := n.scripts["p2"].counts(); n.scripts["p1"].applied != 2 || made != 0 {
			t.Errorf("applied %d times", n.scripts["p1"].applied)
		}
		if _, err := other.Plan(t.Context(), &presencev1.PlanRequest{Local: true}); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "p2 does not plan, it believes that p1 does") {
			t.Errorf("asked for itself: %v", err)
		}
	})
}

func TestNobodyAnswers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, all := instancesOf(t, "p1", "p2")
		defer all[1].stop()
		expect := func(want string) {
			t.Helper()
			for question, err := range all[1].answers() {
				if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got %v, want %q", question, err, want)
				}
			}
		}
		expect("no instance is elected yet")
		all[1].service.SetPlanner("p9")
		expect("p9 plans, but is not ready")
		all[1].service.SetPlanner("p2")
		expect("plans since a moment ago")
		all[1].service.SetPlanner("p1") // which believes the same of p2
		all[0].service.SetPlanner("p2")
		expect("p1 does not plan, it believes that p2 does")
		all[0].stop()
		if err := all[1].answers()["plan"]; status.Code(err) != codes.Unavailable {
			t.Errorf("the elected one is gone: %v", err)
		}
	})
}

// Apply returns what the planner decided with it, so that a status that comes
// later is never older.
func TestApplyWaitsForTheNextStep(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n, all := instancesOf(t, "p1")
		defer all[0].stop()
		all[0].service.SetPlanner("p1")
		time.Sleep(1500 * time.Millisecond) // virtual time
		n.scripts["p1"].set(func(balance.Sample) balance.Decision {
			return balance.Decision{Status: &presencev1.Status{
				Plan: &presencev1.Plan{Moves: 7}, Gates: []*presencev1.Gate{{Name: "steering"}},
			}}
		})
		got, err := all[0].rebalance().Apply(t.Context(), &presencev1.ApplyRequest{})
		if err != nil || got.GetPlan().GetMoves() != 7 || got.GetGates()[0].GetName() != "steering" {
			t.Errorf("got %v, %v", got, err)
		}
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := all[0].rebalance().Apply(t.Context(), &presencev1.ApplyRequest{}); status.Code(err) != codes.Unavailable {
				t.Errorf("another was elected meanwhile: %v", err)
			}
		})
		synctest.Wait()
		all[0].service.SetPlanner("p0")
		waiting.Wait()
	})
}

func TestApplyWhilePaused(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, all := instancesOf(t, "p1")
		defer all[0].stop()
		all[0].service.SetPlanner("p1")
		newLife(t, sample("a", 1, 1)).reports(all[0])
		all[0].order(paused(true), codes.OK)
		if err := all[0].answers()["apply"]; status.Code(err) != codes.FailedPrecondition {
			t.Errorf("got %v", err)
		}
	})
}

func TestOrderReachesEveryEdgeAtOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, all := instancesOf(t, "p1", "p2")
		a, b := newLife(t, sample("a", 1, 1)), newLife(t, sample("b", 1, 1))
		for _, i := range all {
			defer i.stop()
			i.service.SetPlanner("p1")
			a.reports(i)
			b.reports(i)
		}
		time.Sleep(1500 * time.Millisecond) // virtual time
		begin := time.Now()
		var giving sync.WaitGroup
		giving.Go(func() {
			if given := all[1].order(drainOf("a"), codes.OK); given.GetSeq() != 1 || given.GetInstance() != "p2" {
				t.Errorf("ordered %v", given)
			}
		})
		for _, e := range []*life{a, b} {
			if o := e.state().GetOrders(); o.GetSeq() != 1 || o.GetDrains()[0].GetEdge() != "a" {
				t.Errorf("an edge keeps %v", o)
			}
		}
		giving.Wait()
		if took := time.Since(begin); took < time.Second || took > 3*time.Second {
			t.Errorf("took %s: the other instance may have taken another, or it may not", took)
		}
		got, err := all[1].rebalance().Status(t.Context(), &presencev1.StatusRequest{})
		if o := got.GetStatus().GetOrders(); err != nil || o.GetSeq() != 1 {
			t.Errorf("the elected one has %v, %v", o, err)
		}
	})
}

// All instances are replaced by new ones; the edges tell them what was ordered.
func TestOrdersOutliveAllInstances(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := newLife(t, sample("a", 1, 1))
		_, before := instancesOf(t, "p1", "p2")
		for _, i := range before {
			e.reports(i)
		}
		before[0].order(paused(true), codes.OK)
		for _, i := range before {
			i.stop()
		}
		time.Sleep(time.Minute) // virtual time
		n, after := instancesOf(t, "p3")
		defer after[0].stop()
		after[0].service.SetPlanner("p3")
		e.reports(after[0])
		time.Sleep(2 * time.Second) // virtual time
		if o := n.scripts["p3"].last().Orders; !o.GetPaused() || o.GetInstance() != "p1" {
			t.Errorf("the planner was given %v", o)
		}
		if o := after[0].order(paused(false), codes.OK); o.GetSeq() != 2 || o.GetPaused() {
			t.Errorf("the next order is %v", o)
		}
	})
}

func TestOrdersThatAreRefused(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, all := instancesOf(t, "p1")
		defer all[0].stop()
		all[0].order(paused(true), codes.Unavailable) // nobody could keep it
		newLife(t, sample("a", 1, 1)).reports(all[0])
		all[0].order(&presencev1.OrderRequest{}, codes.InvalidArgument)
		all[0].order(drainOf("b"), codes.NotFound)
		all[0].order(drainOf("a"), codes.FailedPrecondition)
		if o := all[0].order(paused(false), codes.OK); o != nil {
			t.Errorf("nothing was ordered, got %v", o)
		}
	})
}

// Two instances take an order before they hear of the other's: the edges keep one
// of them, and who gave the other is told.
func TestOrdersAtTheSameTime(t *testing.T) {
	for name, between := range map[string]func(){
		"before any edge was told":              func() {},
		"once all edges have said they keep it": synctest.Wait,
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				_, all := instancesOf(t, "p1", "p2")
				edges := []*life{newLife(t, sample("a", 1, 1)), newLife(t, sample("b", 1, 1))}
				for _, i := range all {
					defer i.stop()
					for _, e := range edges {
						e.reports(i)
					}
				}
				time.Sleep(500 * time.Millisecond) // virtual time: until the next report
				var giving sync.WaitGroup
				giving.Go(func() { all[0].order(drainOf("a"), codes.Aborted) })
				between()
				giving.Go(func() { all[1].order(drainOf("b"), codes.OK) })
				giving.Wait()
				for _, e := range edges {
					if o := e.state().GetOrders(); o.GetInstance() != "p2" || len(o.GetDrains()) != 1 {
						t.Errorf("an edge keeps %v", o)
					}
				}
			})
		})
	}
}

// Orders at one instance follow each other: both hold.
func TestOrdersInARow(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, all := instancesOf(t, "p1")
		defer all[0].stop()
		e := newLife(t, sample("a", 1, 1))
		e.reports(all[0])
		newLife(t, sample("b", 1, 1)).reports(all[0])
		all[0].operator() // both use this connection
		var giving sync.WaitGroup
		giving.Go(func() { all[0].order(drainOf("a"), codes.OK) })
		giving.Go(func() { all[0].order(paused(true), codes.OK) })
		giving.Wait()
		if o := e.state().GetOrders(); o.GetSeq() != 2 || !o.GetPaused() || len(o.GetDrains()) != 1 {
			t.Errorf("got %v", o)
		}
	})
}

// Edges of an earlier version keep no orders: one that does is enough.
func TestOrderThatIsNotKeptByAll(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, all := instancesOf(t, "p1")
		defer all[0].stop()
		stop := all[0].edge().reporting(func() *presencev1.Edge { return sample("old", 1, 1) })
		defer stop()
		synctest.Wait()
		all[0].order(paused(true), codes.Unavailable)
		newLife(t, sample("new", 1, 1)).reports(all[0])
		all[0].order(drainOf("old"), codes.OK)
	})
}

func TestPlansAreLoggedAndCounted(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var logs bytes.Buffer
		reader, script := sdkmetric.NewManualReader(), &scripted{}
		i := startWith(t, rpc.Deps{
			Members: self{instance1}, NewPlanner: script.planner, Log: slog.New(slog.NewTextHandler(&logs, nil)),
			Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test"),
		})
		moving := func(moved uint64, gates ...*presencev1.Gate) func(balance.Sample) balance.Decision {
			return func(balance.Sample) balance.Decision {
				return balance.Decision{Status: &presencev1.Status{
					Phase: presencev1.Phase_PHASE_MOVING, Gates: gates,
					Plan:    &presencev1.Plan{Moves: 30 - moved, Shares: []*presencev1.Share{{Edge: "a", Published: 80}}},
					Current: &presencev1.Record{Number: 1, Predicted: 30, Moved: moved, Reason: "a is full"},
				}}
			}
		}
		script.set(moving(0, &presencev1.Gate{Name: "steering", Reason: "just told"}))
		i.service.SetPlanner("presence-1")
		time.Sleep(1500 * time.Millisecond) // virtual time
		script.set(moving(10))
		time.Sleep(time.Second) // virtual time
		got := collect(t, reader)
		for name, want := range map[string]int64{
			"skein.rebalance.moves": 10, "skein.rebalance.planned": 20, "skein.rebalance.weight a": 80,
			"skein.rebalance.phase moving": 1, "skein.rebalance.phase level": 0, "skein.rebalance.gate steering": 0,
		} {
			if value, ok := got[name]; !ok || value != want {
				t.Errorf("%s is %d, want %d", name, value, want)
			}
		}
		script.ends(&presencev1.Record{
			Number: 1, Predicted: 30, Moved: 28, Outcome: "level but for 2",
			Began: timestamppb.New(time.Now().Add(-2 * time.Second)), Ended: timestamppb.Now(),
		})
		time.Sleep(time.Second) // virtual time
		if moves := collect(t, reader)["skein.rebalance.moves"]; moves != 28 {
			t.Errorf("%d moves counted in the end", moves)
		}
		i.stop()
		for _, want := range []string{
			`"rebalance begins" plan=1 reason="a is full" moves=30`, `"rebalance gates" shut=steering reasons="steering: just told"`,
			`"rebalance gates" shut=""`, `"rebalance ended" plan=1 outcome="level but for 2" predicted=30 moved=28 took=2s`,
		} {
			if strings.Count(logs.String(), want) != 1 {
				t.Errorf("no %s, or more than one, in\n%s", want, logs.String())
			}
		}
	})
}

// collect returns all numbers by name, with the value of the attribute if there
// is one.
func collect(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	add := func(name string, points []metricdata.DataPoint[int64]) {
		for _, p := range points {
			key := name
			for _, attr := range p.Attributes.ToSlice() {
				if attr.Value.Type() == attribute.STRING {
					key += " " + attr.Value.AsString()
				}
			}
			got[key] = p.Value
		}
	}
	for _, m := range all.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Gauge[int64]:
			add(m.Name, data.DataPoints)
		case metricdata.Sum[int64]:
			add(m.Name, data.DataPoints)
		}
	}
	return got
}
