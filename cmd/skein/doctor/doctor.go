// Package doctor finds what is wrong with a fleet. It is pure: whoever asked the
// fleet hands over what it said, and gets findings that say what they mean and
// what to do. A healthy fleet has none.
package doctor

import (
	"cmp"
	"slices"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Check names a kind of finding. The set is closed.
type Check string

// Every kind there is.
const (
	ViewDisagreement    Check = "view-disagreement"
	UnreachableOwner    Check = "unreachable-owner"
	UnreachablePresence Check = "unreachable-presence"
	EdgeNotReady        Check = "edge-not-ready"
	IgnoredHints        Check = "ignored-hints"
	PlannerWarning      Check = "planner-warning"
	NoPlanner           Check = "no-planner"
	PausedRebalancing   Check = "paused-rebalancing"
	ClockSkew           Check = "clock-skew"
	MixedVersions       Check = "mixed-versions"
	GossipWithoutKey    Check = "gossip-without-key"
)

// Fleet is what a fleet says of itself at one moment.
type Fleet struct {
	Routers  []Member
	Presence []Member
	Edges    []Edge             // that are attached to a router, or report to presence
	Status   *presencev1.Status // of the planner; nil if nobody said
}

// Member is a router or a presence instance.
type Member struct {
	ID       string
	Address  string
	Version  string
	Ready    bool            // by its state in the view of the router that was asked first
	Problem  string          // why it did not answer; empty if it did
	View     uint64          // hash of its view
	Attached map[string]bool // edges of a router, and whether they are synced
	Elected  string          // who plans, as a presence instance believes
	Clock    Clock
	Exposed  bool // its gossip has no key and can be reached by other machines
	Mute     bool // a presence instance that did not say what edges report
}

// Edge is one edge.
type Edge struct {
	ID      string
	Version string
	Report  *presencev1.Edge // its last report; nil if it does not report
	Clock   Clock
}

// Clock is a process's clock against that of whoever asked.
type Clock struct {
	Known  bool
	Offset time.Duration // positive for one that is ahead
	Error  time.Duration // that the offset may have, either way
}

// Finding is one thing that is wrong.
type Finding struct {
	Check   Check  `json:"check"`
	Subject string `json:"subject"` // whom it is about: ids, or "fleet"
	Text    string `json:"text"`
	Meaning string `json:"meaning"`
	Do      string `json:"do"`
}

// Examine returns what is wrong with a fleet, the gravest first.
func Examine(f Fleet) []Finding {
	var all []Finding
	for _, check := range []func(Fleet) []Finding{
		reach, views, elections, attachments, readiness, planners, warnings, polls, orders, clocks, versions, gossip,
	} {
		all = append(all, check(f)...)
	}
	return all
}

// Lasting returns the findings of the later look that the earlier one had, too:
// much is wrong for a moment after every change.
func Lasting(earlier, later []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(later), func(l Finding) bool {
		return !slices.ContainsFunc(earlier, func(e Finding) bool { return e.Check == l.Check && e.Subject == l.Subject })
	})
}

// members are the routers and presence instances.
func (f Fleet) members() []Member { return slices.Concat(f.Routers, f.Presence) }

// groups are the ids that say the same, by what they say, largest group first.
type group[K cmp.Ordered] struct {
	says K
	ids  []string
}

func grouped[K cmp.Ordered](says map[string]K) []group[K] {
	byWhat := map[K][]string{}
	for id, k := range says {
		byWhat[k] = append(byWhat[k], id)
	}
	var list []group[K]
	for k, ids := range byWhat {
		slices.Sort(ids)
		list = append(list, group[K]{k, ids})
	}
	slices.SortFunc(list, func(a, b group[K]) int {
		return cmp.Or(cmp.Compare(len(b.ids), len(a.ids)), cmp.Compare(a.says, b.says))
	})
	return list
}
