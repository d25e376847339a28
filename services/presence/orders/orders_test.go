package orders_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/orders"
)

func edge(id, group string) *presencev1.Edge {
	return &presencev1.Edge{Id: id, Incarnation: 1, Group: group, State: presencev1.EdgeState_EDGE_STATE_READY}
}

func starting(id, group string) *presencev1.Edge {
	e := edge(id, group)
	e.State = presencev1.EdgeState_EDGE_STATE_STARTING
	return e
}

func pause(paused bool) *presencev1.OrderRequest {
	return &presencev1.OrderRequest{Change: &presencev1.OrderRequest_Paused{Paused: paused}}
}

func drain(id string) *presencev1.OrderRequest {
	return &presencev1.OrderRequest{Change: &presencev1.OrderRequest_Drain{Drain: id}}
}

func undrain(id string) *presencev1.OrderRequest {
	return &presencev1.OrderRequest{Change: &presencev1.OrderRequest_Undrain{Undrain: id}}
}

func rollout(from, to string, rate float64) *presencev1.OrderRequest {
	return &presencev1.OrderRequest{Change: &presencev1.OrderRequest_Rollout{
		Rollout: &presencev1.Rollout{From: from, To: to, Rate: rate},
	}}
}

func TestOrdersThatAreNotTaken(t *testing.T) {
	fleet := []*presencev1.Edge{edge("a", "blue"), edge("b", "blue"), edge("c", "green"), starting("d", "red")}
	drained := &presencev1.Orders{Seq: 1, Instance: "p", Drains: []*presencev1.Drain{{Edge: "b", Incarnation: 1}, {Edge: "c", Incarnation: 1}}}
	replaced := &presencev1.Orders{Seq: 1, Instance: "p", Rollout: &presencev1.Rollout{From: "blue", To: "green", Rate: 1}}
	for name, c := range map[string]struct {
		req    *presencev1.OrderRequest
		latest *presencev1.Orders
		kind   orders.Kind
		want   string
	}{
		"no change":              {&presencev1.OrderRequest{}, nil, orders.Invalid, "needs a change"},
		"unknown edge":           {drain("x"), nil, orders.Unknown, `no edge "x" reports`},
		"last that serves":       {drain("a"), drained, orders.Refused, "a is the last edge that serves"},
		"last of the new group":  {drain("c"), replaced, orders.Refused, "c is the last edge that serves"},
		"not drained":            {undrain("a"), drained, orders.Unknown, `"a" was not ordered to drain`},
		"same group":             {rollout("blue", "blue", 1), nil, orders.Invalid, "the same group"},
		"no group":               {rollout("", "green", 1), nil, orders.Invalid, "from needs the name of a group"},
		"odd group":              {rollout("blue", "g r", 1), nil, orders.Invalid, "to needs the name of a group"},
		"no rate":                {rollout("blue", "green", 0), nil, orders.Invalid, "rate must be more than 0"},
		"negative rate":          {rollout("blue", "green", -1), nil, orders.Invalid, "rate"},
		"rate of no number":      {rollout("blue", "green", math.NaN()), nil, orders.Invalid, "rate"},
		"endless rate":           {rollout("blue", "green", math.Inf(1)), nil, orders.Invalid, "rate"},
		"from nobody":            {rollout("black", "green", 1), nil, orders.Unknown, `no edge is of group "black"`},
		"to nobody":              {rollout("blue", "black", 1), nil, orders.Unknown, `no edge is of group "black"`},
		"to nobody ready":        {rollout("blue", "red", 1), nil, orders.Refused, `no edge of group "red" is ready`},
		"to nobody that is left": {rollout("blue", "green", 1), drained, orders.Refused, `no edge of group "green" is ready`},
		"numbers are used up":    {pause(true), &presencev1.Orders{Seq: 1 << 53, Instance: "p"}, orders.Refused, "used up"},
	} {
		_, err := orders.Next(c.req, c.latest, fleet, "p")
		var e *orders.Error
		if !errors.As(err, &e) || e.Kind != c.kind || !strings.Contains(e.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestOrdersFollowEachOther(t *testing.T) {
	fleet := []*presencev1.Edge{edge("a", "blue"), edge("b", "green"), edge("c", "green")}
	var latest *presencev1.Orders
	for i, step := range []struct {
		req  *presencev1.OrderRequest
		seq  uint64
		want func(*presencev1.Orders) bool
	}{
		{pause(false), 0, func(o *presencev1.Orders) bool { return o == nil }},
		{pause(true), 1, (*presencev1.Orders).GetPaused},
		{pause(true), 1, (*presencev1.Orders).GetPaused},
		{drain("b"), 2, func(o *presencev1.Orders) bool { return o.GetPaused() && o.GetDrains()[0].GetIncarnation() == 1 }},
		{drain("b"), 2, func(o *presencev1.Orders) bool { return len(o.GetDrains()) == 1 }},
		{rollout("blue", "green", 5), 3, func(o *presencev1.Orders) bool { return o.GetRollout().GetRate() == 5 && len(o.GetDrains()) == 1 }},
		{rollout("blue", "green", 9), 4, func(o *presencev1.Orders) bool { return o.GetRollout().GetRate() == 9 }},
		{undrain("b"), 5, func(o *presencev1.Orders) bool { return len(o.GetDrains()) == 0 && o.GetPaused() }},
		{rollout("green", "blue", 9), 6, func(o *presencev1.Orders) bool { return o.GetRollout().GetTo() == "blue" }},
		{pause(false), 7, func(o *presencev1.Orders) bool { return !o.GetPaused() && o.GetRollout() != nil }},
	} {
		next, err := orders.Next(step.req, latest, fleet, "p")
		if err != nil || next.GetSeq() != step.seq || !step.want(next) {
			t.Fatalf("step %d: got %v, %v", i, next, err)
		}
		latest = next
	}
}

// A rollout can be held, or made slower, when what it emptied is gone already.
func TestRolloutOutlivesTheGroupItEmptied(t *testing.T) {
	latest := &presencev1.Orders{Seq: 1, Instance: "p", Rollout: &presencev1.Rollout{From: "blue", To: "green", Rate: 1}}
	if next, err := orders.Next(rollout("blue", "green", 2), latest, []*presencev1.Edge{edge("b", "green")}, "p"); err != nil || next.GetRollout().GetRate() != 2 {
		t.Errorf("got %v, %v", next, err)
	}
}

func TestDrainsAreForgotten(t *testing.T) {
	latest := &presencev1.Orders{Seq: 1, Instance: "p", Drains: []*presencev1.Drain{
		{Edge: "a", Incarnation: 1}, {Edge: "b", Incarnation: 7}, {Edge: "gone", Incarnation: 1},
	}}
	later := edge("a", "")
	later.Incarnation = 2
	same := edge("b", "")
	same.Incarnation = 7
	fleet := []*presencev1.Edge{later, same}
	drains := func() string {
		next, err := orders.Next(pause(true), latest, fleet, "p")
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, d := range next.GetDrains() {
			ids = append(ids, d.GetEdge())
		}
		return strings.Join(ids, " ")
	}
	if got := drains(); got != "b gone" {
		t.Errorf("of an earlier life: %q are left", got)
	}
	for i := range 100 {
		latest.Drains = append(latest.Drains, &presencev1.Drain{Edge: fmt.Sprint("e", i), Incarnation: 1})
	}
	if got := drains(); got != "b" {
		t.Errorf("too many of edges that are gone: %q are left", got)
	}
}

func TestCheck(t *testing.T) {
	good := func(change func(*presencev1.Orders)) *presencev1.Orders {
		o := &presencev1.Orders{
			Seq: 1, Instance: "p", Rollout: &presencev1.Rollout{From: "blue", To: "green", Rate: 1},
			Drains: []*presencev1.Drain{{Edge: "a", Incarnation: 1}},
		}
		change(o)
		return o
	}
	for name, c := range map[string]struct {
		orders *presencev1.Orders
		want   string
	}{
		"none":             {nil, ""},
		"empty":            {&presencev1.Orders{}, ""},
		"good":             {good(func(*presencev1.Orders) {}), ""},
		"no number":        {good(func(o *presencev1.Orders) { o.Seq = 0 }), "seq 0"},
		"too large":        {good(func(o *presencev1.Orders) { o.Seq = math.MaxUint64 }), "seq"},
		"no instance":      {good(func(o *presencev1.Orders) { o.Instance = "" }), "instance"},
		"bad edge":         {good(func(o *presencev1.Orders) { o.Drains[0].Edge = "\n" }), "drain"},
		"no incarnation":   {good(func(o *presencev1.Orders) { o.Drains[0].Incarnation = 0 }), "incarnation"},
		"bad rollout":      {good(func(o *presencev1.Orders) { o.Rollout.Rate = math.Inf(1) }), "rate"},
		"too many drains":  {good(func(o *presencev1.Orders) { o.Drains = slices.Repeat(o.GetDrains(), orders.MaxDrains+1) }), "drains"},
		"as many as there": {good(func(o *presencev1.Orders) { o.Drains = slices.Repeat(o.GetDrains(), orders.MaxDrains) }), ""},
	} {
		if err := orders.Check(c.orders); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestKept(t *testing.T) {
	first, second := &presencev1.Orders{Seq: 2, Instance: "a"}, &presencev1.Orders{Seq: 2, Instance: "b"}
	edges := []*presencev1.Edge{{Orders: first}, {Orders: second}, {}, {Orders: &presencev1.Orders{Seq: 3, Instance: "a"}}}
	if a, b, none := orders.Kept(first, edges), orders.Kept(second, edges), orders.Kept(nil, edges); a != 3 || b != 2 || none != 4 {
		t.Errorf("got %d, %d, %d", a, b, none)
	}
}

func TestHolds(t *testing.T) {
	latest := &presencev1.Orders{
		Paused: true, Rollout: &presencev1.Rollout{From: "blue", To: "green", Rate: 1}, Drains: []*presencev1.Drain{{Edge: "a"}},
	}
	for _, c := range []struct {
		req  *presencev1.OrderRequest
		want bool
	}{
		{pause(true), true}, {pause(false), false}, {drain("a"), true}, {drain("b"), false}, {undrain("a"), false}, {undrain("b"), true},
		{rollout("blue", "green", 1), true}, {rollout("blue", "green", 2), false}, {rollout("green", "blue", 1), false},
		{&presencev1.OrderRequest{}, false},
	} {
		if got := orders.Holds(c.req, latest); got != c.want {
			t.Errorf("%v: %v", c.req, got)
		}
	}
}

// Whatever is ordered, what comes out is later than before, fits the bounds of
// the network and never leaves nobody to serve.
func TestNextIsAlwaysValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups, ids := rapid.SampledFrom([]string{"", "blue", "green"}), rapid.SampledFrom([]string{"a", "b", "c", "x"})
		var fleet []*presencev1.Edge
		for _, id := range []string{"a", "b", "c"} {
			fleet = append(fleet, edge(id, groups.Draw(t, "group")))
		}
		var latest *presencev1.Orders
		for range 12 {
			req := rapid.SampledFrom([]*presencev1.OrderRequest{
				pause(rapid.Bool().Draw(t, "paused")), drain(ids.Draw(t, "drain")), undrain(ids.Draw(t, "undrain")),
				rollout(groups.Draw(t, "from"), groups.Draw(t, "to"), rapid.Float64().Draw(t, "rate")),
			}).Draw(t, "change")
			before := proto.CloneOf(latest)
			next, err := orders.Next(req, latest, fleet, "p")
			switch {
			case !proto.Equal(before, latest):
				t.Fatal("the orders before were changed")
			case err != nil:
				continue
			case orders.Check(next) != nil:
				t.Fatalf("%v: %v", next, orders.Check(next))
			case next != latest && orders.Compare(next, latest) <= 0:
				t.Fatalf("%v is not later than %v", next, latest)
			}
			latest = next
			if !slices.ContainsFunc(fleet, func(e *presencev1.Edge) bool {
				return !slices.ContainsFunc(latest.GetDrains(), func(d *presencev1.Drain) bool { return d.GetEdge() == e.GetId() })
			}) {
				t.Fatalf("nobody serves under %v", latest)
			}
		}
	})
}

// Wherever orders meet, in any order and any number of times, all end with the
// same ones.
func TestLatestIsTheSameEverywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.Custom(func(t *rapid.T) *presencev1.Orders {
			return &presencev1.Orders{Seq: rapid.Uint64Range(1, 3).Draw(t, "seq"), Instance: rapid.SampledFrom([]string{"p", "q"}).Draw(t, "instance")}
		})
		all := rapid.SliceOfN(draw, 1, 6).Draw(t, "orders")
		latest := func(list []*presencev1.Orders) *presencev1.Orders {
			var held *presencev1.Orders
			for _, o := range list {
				if orders.Compare(o, held) > 0 {
					held = o
				}
			}
			return held
		}
		a := latest(all)
		b := latest(append(rapid.Permutation(all).Draw(t, "permutation"), all...))
		if !proto.Equal(a, b) {
			t.Fatalf("%v and %v", a, b)
		}
	})
}
