package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// completeEdges offers the ids of the edges that report.
func (a *app) completeEdges(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(cmd.Context(), (*presencev1.Edge).GetId)
}

// completeGroups offers the groups of the edges that report.
func (a *app) completeGroups(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd.Context(), (*presencev1.Edge).GetGroup)
}

// complete offers what the edges have, once each. Whoever presses tab does not
// want to read why that failed.
func (a *app) complete(ctx context.Context, what func(*presencev1.Edge) string) ([]string, cobra.ShellCompDirective) {
	var offers []string
	if a.resolve() != nil { // cobra does not, for completions
		return nil, cobra.ShellCompDirectiveError
	}
	err := a.withFleet(ctx, func(c fleetClient) error {
		edges, err := a.edges(ctx, c)
		for _, e := range edges {
			if offer := what(e); offer != "" {
				offers = append(offers, offer)
			}
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	slices.Sort(offers)
	return slices.Compact(offers), cobra.ShellCompDirectiveNoFileComp
}
