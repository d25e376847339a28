package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

func (a *app) drainCommand() *cobra.Command {
	var f follower
	undo := false
	cmd := &cobra.Command{
		Use:   "drain EDGE",
		Short: "Empty an edge: its clients go to others, and no new ones come",
		Long: "Makes an edge take no new connections and close those it has, one after the other, so that clients come\n" +
			"back on other edges; follows it until none is left. Then it can be stopped, or serve again with --undo.\n" +
			"The edges keep the order, so that it outlives every presence instance; a restart of the edge ends it.",
		Example: "  skein drain edge-3\n" +
			"  skein drain edge-3 --undo",
		Args:              exactly("EDGE"),
		ValidArgsFunction: a.completeEdges,
		RunE: func(cmd *cobra.Command, args []string) error {
			if undo {
				return a.undrain(cmd.Context(), args[0])
			}
			return a.drain(cmd.Context(), args[0], f)
		},
	}
	cmd.Flags().BoolVar(&undo, "undo", false, "let the edge serve again")
	f.flags(cmd)
	return cmd
}

func (a *app) undrain(ctx context.Context, edge string) error {
	return a.withFleet(ctx, func(c fleetClient) error {
		orders, err := a.order(ctx, c, &presencev1.OrderRequest{Change: &presencev1.OrderRequest_Undrain{Undrain: edge}})
		if err != nil {
			return err
		}
		return a.printOrders(orders, edge+" serves again.")
	})
}

func (a *app) drain(ctx context.Context, edge string, f follower) error {
	err := a.withFleet(ctx, func(c fleetClient) error {
		orders, err := a.order(ctx, c, &presencev1.OrderRequest{Change: &presencev1.OrderRequest_Drain{Drain: edge}})
		if err != nil || !f.detach {
			return err
		}
		return a.printOrders(orders, edge+" drains by itself. Look with: skein top")
	})
	if err != nil || f.detach {
		return err
	}
	missed := 0
	return a.follow(ctx, f.interval, edge+" goes on to drain by itself.", func(ctx context.Context, c fleetClient) (look, error) {
		edges, err := a.edges(ctx, c)
		if err != nil {
			return look{}, err
		}
		if l, reports := draining(edges, edge); reports {
			missed = 0
			return l, nil
		}
		if missed++; missed < settled {
			return look{line: edge + " does not report.", view: drainView{edge, "missing", 0}}, nil
		}
		return look{line: edge + " is gone.", view: drainView{edge, "gone", 0}, done: true}, nil
	})
}

// drainView is how far a drain is, in JSON output.
type drainView struct {
	Edge        string `json:"edge"`
	State       string `json:"state"` // "missing" if it does not report, later "gone"
	Connections uint64 `json:"connections"`
}

// draining looks at one edge that drains; false if it does not report.
func draining(edges []*presencev1.Edge, id string) (look, bool) {
	i := slices.IndexFunc(edges, func(e *presencev1.Edge) bool { return e.GetId() == id })
	if i < 0 {
		return look{}, false
	}
	e := edges[i]
	view := drainView{id, words(e.GetState(), "EDGE_STATE_"), e.GetConnections()}
	switch {
	case e.GetState() != presencev1.EdgeState_EDGE_STATE_DRAINING:
		return look{line: fmt.Sprintf("%s does not drain yet: %s", id, countedUp(e.GetConnections(), "connection")), view: view}, true
	case e.GetConnections() > 0:
		return look{line: fmt.Sprintf("%s drains: %s left", id, countedUp(e.GetConnections(), "connection")), view: view}, true
	}
	return look{line: id + " has no connections left: stop it, or let it serve again with --undo.", view: view, done: true}, true
}
