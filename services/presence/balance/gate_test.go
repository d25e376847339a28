package balance

import (
	"slices"
	"testing"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

func TestGatesHoldMoves(t *testing.T) {
	for _, tt := range []struct {
		gate string
		shut func(w *world)
	}{
		{GatePaused, func(w *world) { w.orders = &presencev1.Orders{Paused: true} }},
		{GatePlanner, func(w *world) { w.edges[0].Planner = "p0" }},
		{GateMembership, func(w *world) { w.add(0) }},
		{GateDrain, func(w *world) {
			w.add(5).State = presencev1.EdgeState_EDGE_STATE_DRAINING
		}},
	} {
		t.Run(tt.gate, func(t *testing.T) {
			w := newWorld(8, 3000, 3000, 3000)
			w.until(20)
			w.add(0).UptimeMs = 0
			for w.moves == 0 {
				w.tick()
			}
			tt.shut(w)
			w.tick()
			moved := w.moves
			names := []string{}
			for _, g := range w.last.Status.GetGates() {
				names = append(names, g.GetName())
			}
			if !slices.Contains(names, tt.gate) {
				t.Errorf("gates are %v", names)
			}
			if w.tick(); w.moves != moved {
				t.Errorf("%d moved through the gate", w.moves-moved)
			}
		})
	}
}

func TestLateReportsHoldMoves(t *testing.T) {
	p := New(Default(), "p1")
	now := time.Unix(1000, 0)
	edges := []*presencev1.Edge{
		{Id: "a", Incarnation: 1, State: presencev1.EdgeState_EDGE_STATE_READY, Connections: 1000, Weight: 100, Polled: true},
		{Id: "b", Incarnation: 1, State: presencev1.EdgeState_EDGE_STATE_READY, Weight: 100, Polled: true},
	}
	var d Decision
	for range 10 {
		now = now.Add(StepInterval)
		d = p.Step(Sample{At: now, Edges: edges, Late: []string{"b"}})
	}
	if phase := d.Status.GetPhase(); phase != presencev1.Phase_PHASE_HELD {
		t.Errorf("phase %v", phase)
	}
	for id, h := range d.Hints {
		if h.GetMovedUntil() != 0 {
			t.Errorf("%s is to move %d", id, h.GetMovedUntil())
		}
	}
}
