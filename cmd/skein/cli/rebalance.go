package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

func (a *app) rebalanceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                        "rebalance",
		SuggestionsMinimumDistance: 2,
		Short:                      "Show and steer how the connections of the fleet are levelled",
		Long: "The elected presence instance levels the connections of the edges by itself: it tells balancers\n" +
			"where new connections should go and moves as few of the others as it can, slowly.\n" +
			"These commands show what it does and why, and let you hold it or hurry it.",
		Example: "  skein rebalance plan\n" +
			"  skein rebalance apply\n" +
			"  skein rebalance explain edge-3",
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.planCommand(),
		a.applyCommand(),
		a.pauseCommand(),
		a.resumeCommand(),
		a.statusCommand(),
		a.explainCommand(),
		a.historyCommand(),
		a.simulateCommand(),
	)
	return cmd
}

// fleetClient asks one presence instance about edges and their planner.
type fleetClient struct {
	presencev1.RebalanceServiceClient
	presencev1.FleetServiceClient

	target string
}

// withFleet connects to a presence instance for as long as use takes.
func (a *app) withFleet(ctx context.Context, use func(fleetClient) error) error {
	conn, err := a.presence(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // done with it
	return use(fleetClient{presencev1.NewRebalanceServiceClient(conn), presencev1.NewFleetServiceClient(conn), conn.Target()})
}

// status asks what the planner does.
func (a *app) status(ctx context.Context, c fleetClient) (*presencev1.Status, error) {
	resp, err := ask(ctx, a, func(ctx context.Context) (*presencev1.StatusResponse, error) {
		return c.Status(ctx, &presencev1.StatusRequest{})
	})
	if err != nil {
		return nil, fmt.Errorf("ask %s what the planner does: %w", c.target, plain(err))
	}
	return resp.GetStatus(), nil
}

// edges asks what the edges report.
func (a *app) edges(ctx context.Context, c fleetClient) ([]*presencev1.Edge, error) {
	resp, err := ask(ctx, a, func(ctx context.Context) (*presencev1.ListResponse, error) {
		return c.List(ctx, &presencev1.ListRequest{})
	})
	if err != nil {
		return nil, fmt.Errorf("ask %s for the fleet: %w", c.target, plain(err))
	}
	return resp.GetFleet().GetEdges(), nil
}

// order gives an order and returns all that count then.
func (a *app) order(ctx context.Context, c fleetClient, req *presencev1.OrderRequest) (*presencev1.Orders, error) {
	resp, err := ask(ctx, a, func(ctx context.Context) (*presencev1.OrderResponse, error) { return c.Order(ctx, req) })
	if err != nil {
		return nil, fmt.Errorf("order: %w", plain(err))
	}
	return resp.GetOrders(), nil
}
