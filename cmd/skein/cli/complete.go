package cli

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
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

// completeTopics offers topics that have subscribers and begin with what was
// typed, as all routers know them.
func (a *app) completeTopics(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if a.resolve() != nil { // cobra does not, for completions
		return nil, cobra.ShellCompDirectiveError
	}
	conn, routers, err := a.processes(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer conn.Close() //nolint:errcheck // done with it
	routers = slices.DeleteFunc(routers, func(p process) bool { return p.role != meshv1.Role_ROLE_ROUTER })
	owned := make([][]string, len(routers))
	a.askEach(cmd.Context(), conn, routers, func(ctx context.Context, i int, c adminv1.AdminServiceClient) error {
		resp, err := c.Topics(ctx, &adminv1.TopicsRequest{Prefix: begun, Limit: mostOffers})
		owned[i] = resp.GetTopics()
		return err
	})
	offers := slices.DeleteFunc(slices.Concat(owned...), func(topic string) bool { return !harmless(topic) })
	slices.Sort(offers) // while topics move, two routers may have one
	offers = slices.Compact(offers)
	return offers[:min(len(offers), mostOffers)], cobra.ShellCompDirectiveNoFileComp
}

// mostOffers bounds the topics that are offered.
const mostOffers = 100

// harmless reports whether a shell takes a topic as it is. Clients choose the
// names of topics: others could make whoever presses tab and enter run something.
func harmless(topic string) bool {
	return !strings.HasPrefix(topic, "-") && !strings.ContainsFunc(topic, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(":._-/@+,", r)
	})
}
