package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

func (a *app) pauseCommand() *cobra.Command {
	return a.pausing("pause", true, "Stop every move and every weight until you say resume",
		"Stops every move, and lets all edges tell balancers the same weight, until: skein rebalance resume.\n"+
			"The edges keep the order, so that it outlives every presence instance. Drains go on.",
		"Paused. Nobody is moved until: skein rebalance resume")
}

func (a *app) resumeCommand() *cobra.Command {
	return a.pausing("resume", false, "Go on after a pause", "Lets the planner level the fleet again after: skein rebalance pause.",
		"Resumed. The planner levels the fleet by itself.")
}

func (a *app) pausing(name string, paused bool, short, long, done string) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short,
		Long:  long,
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withFleet(cmd.Context(), func(c fleetClient) error {
				orders, err := a.order(cmd.Context(), c, &presencev1.OrderRequest{Change: &presencev1.OrderRequest_Paused{Paused: paused}})
				if err != nil {
					return err
				}
				return a.printOrders(orders, done)
			})
		},
	}
}

// printOrders prints what was ordered: in words, or all that counts now.
func (a *app) printOrders(o *presencev1.Orders, text string) error {
	if a.common.json() {
		return printJSON(a.Stdout, newOrders(o))
	}
	_, err := fmt.Fprintln(a.Stdout, text)
	return err
}
