package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [EDGE]",
		Short: "Explain why connections move, or why none do",
		Long: "Shows what the planner does, and for every edge, or the one named: what it has and should have and why,\n" +
			"the weight it tells balancers and by whose hint, and when a balancer last asked for it.",
		Example:           "  skein rebalance explain\n  skein rebalance explain edge-3",
		Args:              exactly("EDGE?"),
		ValidArgsFunction: a.completeEdges,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withFleet(cmd.Context(), func(c fleetClient) error { return a.explain(cmd.Context(), c, args) })
		},
	}
}

func (a *app) explain(ctx context.Context, c fleetClient, only []string) error {
	status, err := a.status(ctx, c)
	if err != nil {
		return err
	}
	edges, err := a.edges(ctx, c)
	if err != nil {
		return err
	}
	view := explainedFleet{newStatus(status, time.Now()), []explained{}}
	for _, e := range edges {
		if len(only) == 0 || e.GetId() == only[0] {
			view.Edges = append(view.Edges, newExplained(e, view.Plan.Edges))
		}
	}
	switch {
	case len(only) > 0 && len(view.Edges) == 0:
		return fmt.Errorf("no edge %q reports; skein top shows those that do", only[0])
	case a.common.json():
		return printJSON(a.Stdout, view)
	}
	view.print(a.Stdout)
	for _, e := range view.Edges {
		fmt.Fprintln(a.Stdout)
		e.print(a.Stdout)
	}
	return nil
}

// explainedFleet is what the planner does and what each edge says, in JSON output.
type explainedFleet struct {
	statusView

	Edges []explained `json:"edges"`
}

// explained is one edge.
type explained struct {
	shareView

	Moved         uint64   `json:"moved"`          // since it started
	WeightSeconds float64  `json:"weight_seconds"` // for how long it tells its weight
	PolledSeconds *float64 `json:"polled_seconds"` // ago that a balancer asked; null if none did
	HintsOf       string   `json:"hints_of"`       // instance that it follows
}

func newExplained(e *presencev1.Edge, shares []shareView) explained {
	view := explained{
		shareView: shareView{
			Edge: e.GetId(), Group: e.GetGroup(), Version: e.GetVersion(), State: words(e.GetState(), "EDGE_STATE_"),
			Connections: e.GetConnections(), Target: e.GetConnections(), Published: e.GetWeight(), Weight: e.GetWeight(),
			Reason: "the planner has not looked at it yet",
		},
		Moved: e.GetMoved(), WeightSeconds: float64(e.GetWeightAgeMs()) / 1000, HintsOf: e.GetPlanner(),
	}
	if i := slices.IndexFunc(shares, func(s shareView) bool { return s.Edge == e.GetId() }); i >= 0 {
		view.Target, view.Moves, view.Weight, view.Reason = shares[i].Target, shares[i].Moves, shares[i].Weight, shares[i].Reason
	}
	if e.GetPolled() {
		ago := float64(e.GetPollAgeMs()) / 1000
		view.PolledSeconds = &ago
	}
	return view
}

func (e explained) print(w io.Writer) {
	title := fmt.Sprintf("%s (%s, version %s", e.Edge, e.State, e.Version)
	if e.Group != "" {
		title += ", group " + e.Group
	}
	fmt.Fprintln(w, printable(title+")"))
	fmt.Fprintf(w, "  connections  %d, target %d: %s\n", e.Connections, e.Target, printable(e.Reason))
	fmt.Fprintf(w, "  moves        %d to go, %d since it started\n", e.Moves, e.Moved)
	by := "by nobody's hint"
	if e.HintsOf != "" {
		by = "by hint of " + e.HintsOf
	}
	weight := fmt.Sprintf("tells %s for %s, %s", percent(e.Published), roughly(e.WeightSeconds), by)
	if e.Published == 0 { // it drains, starts, or is of an earlier version
		weight = "tells none"
	}
	if e.Weight != e.Published {
		weight += "; should tell " + percent(e.Weight)
	}
	fmt.Fprintf(w, "  weight       %s\n", weight)
	if e.PolledSeconds == nil {
		fmt.Fprintln(w, "  balancer     none has asked for the weight: new connections come as it pleases")
		return
	}
	fmt.Fprintf(w, "  balancer     asked for the weight %.1fs ago\n", *e.PolledSeconds)
}
