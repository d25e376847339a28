package doctor

import (
	"fmt"
	"strings"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// reach finds members that do not answer.
func reach(f Fleet) []Finding {
	var all []Finding
	for _, r := range f.Routers {
		if r.Problem == "" {
			continue
		}
		all = append(all, Finding{
			UnreachableOwner, r.ID, fmt.Sprintf("router %s at %s does not answer: %s", r.ID, r.Address, r.Problem),
			"Gossip counts it among the living. While that lasts, publishes to the topics that it owns may fail.",
			"See whether its process runs and whether its gRPC address can be reached from here and from edges; if it is gone for good, gossip drops it within seconds.",
		})
	}
	for _, p := range f.Presence {
		if p.Problem == "" {
			continue
		}
		all = append(all, Finding{
			UnreachablePresence, p.ID, fmt.Sprintf("presence instance %s at %s does not answer: %s", p.ID, p.Address, p.Problem),
			"Nobody learns who is online in the topics that it owns, and if it is the elected one nobody levels the load.",
			"See whether its process runs and whether its gRPC address can be reached from here and from edges.",
		})
	}
	return all
}

// views finds routers, presence instances and edges that believe in different
// views of the routers.
func views(f Fleet) []Finding {
	says := map[string]string{}
	for _, m := range f.members() {
		if m.Problem == "" {
			says[m.ID] = fmt.Sprintf("%016x", m.View)
		}
	}
	for _, e := range f.Edges {
		if e.Report != nil {
			says[e.ID] = fmt.Sprintf("%016x", e.Report.GetView())
		}
	}
	return disagreement("views", says,
		"They name different routers as owner of some topics: messages take a detour, or are flooded to every edge, and order may change.",
		"Usual for some seconds after a change. If it lasts, see skein members: some processes cannot reach each other by gossip, or run with another gossip key or cluster name.")
}

// elections finds presence instances that believe in different planners.
func elections(f Fleet) []Finding {
	says := map[string]string{}
	for _, p := range f.Presence {
		if p.Problem == "" && !p.Mute {
			says[p.ID] = p.Elected
		}
	}
	return disagreement("planners", says,
		"Presence is cut in two: edges follow the hints of the lowest id, and who is online may differ by instance.",
		"See that presence instances reach each other by gossip, with the same key and cluster name.")
}

func disagreement(what string, says map[string]string, meaning, do string) []Finding {
	groups := grouped(says)
	if len(groups) < 2 {
		return nil
	}
	var parts []string
	for _, g := range groups {
		said := g.says
		if said == "" {
			said = "none"
		}
		parts = append(parts, fmt.Sprintf("%s by %s", said, strings.Join(g.ids, ", ")))
	}
	return []Finding{{ViewDisagreement, what, "processes believe in different " + what + ": " + strings.Join(parts, "; "), meaning, do}}
}

// attachments finds edges that lack a stream to a router that owns topics.
func attachments(f Fleet) []Finding {
	var all []Finding
	for _, e := range f.Edges {
		var lacks, unsynced []string
		for _, r := range f.Routers {
			if r.Problem != "" || !r.Ready {
				continue
			}
			synced, attached := r.Attached[e.ID]
			switch {
			case !attached:
				lacks = append(lacks, r.ID)
			case !synced:
				unsynced = append(unsynced, r.ID)
			}
		}
		if len(lacks) > 0 {
			all = append(all, Finding{
				UnreachableOwner, e.ID, fmt.Sprintf("edge %s is not attached to %s", e.ID, strings.Join(lacks, ", ")),
				"Its clients can neither publish to the topics that these routers own nor hear them; after 5 s the edge turns unready and fails those channels.",
				"See that the edge reaches the gRPC addresses of these routers (skein members shows them), and its log for why streams end.",
			})
		}
		if len(unsynced) > 0 {
			all = append(all, Finding{
				EdgeNotReady, e.ID, fmt.Sprintf("edge %s has not announced its topics to %s", e.ID, strings.Join(unsynced, ", ")),
				"Those routers send it everything: no message is lost, but traffic is wasted.",
				"Usual for a moment after a change of the routers. If it lasts, see whether the edge or these routers are short of CPU (skein top).",
			})
		}
	}
	return all
}

// readiness finds edges that say themselves that they take nobody.
func readiness(f Fleet) []Finding {
	var all []Finding
	for _, e := range f.Edges {
		if e.Report != nil && e.Report.GetState() == presencev1.EdgeState_EDGE_STATE_STARTING {
			all = append(all, Finding{
				EdgeNotReady, e.ID + " starting", fmt.Sprintf("edge %s is not ready", e.ID),
				"It does not reach every router that owns topics, so balancers should not send it anybody.",
				"See its /readyz, and whether it reaches the gRPC addresses of all routers.",
			})
		}
	}
	return all
}
