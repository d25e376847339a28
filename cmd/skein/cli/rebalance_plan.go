package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

func (a *app) planCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "plan",
		Short: "Show what would level the fleet as it is now, and move nobody",
		Long: "Shows for every edge how many connections it has and should have, how many would be moved and why,\n" +
			"what balancers would be told, and how long that would take. It changes nothing.",
		Example: "  skein rebalance plan\n" +
			"  skein rebalance plan -o json | jq .moves",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withFleet(cmd.Context(), func(c fleetClient) error {
				resp, err := ask(cmd.Context(), a, func(ctx context.Context) (*presencev1.PlanResponse, error) {
					return c.Plan(ctx, &presencev1.PlanRequest{})
				})
				if err != nil {
					return fmt.Errorf("ask %s for a plan: %w", c.target, plain(err))
				}
				return a.printPlan(newPlan(resp.GetPlan(), resp.GetGates()))
			})
		},
	}
}

func (a *app) printPlan(p planView) error {
	if a.common.json() {
		return printJSON(a.Stdout, p)
	}
	p.print(a.Stdout)
	return nil
}
