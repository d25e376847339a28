package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxSkew is how far clocks may be apart: what stands on time in tokens and traces
// is in seconds.
const maxSkew = 500 * time.Millisecond

// clocks finds processes whose clock is off from the middle one's by more than
// the way of asking can explain.
func clocks(f Fleet) []Finding {
	type clocked struct {
		id string
		Clock
	}
	var known []clocked
	add := func(id string, c Clock) {
		if c.Known {
			known = append(known, clocked{id, c})
		}
	}
	for _, m := range f.members() {
		add(m.ID, m.Clock)
	}
	for _, e := range f.Edges {
		add(e.ID, e.Clock)
	}
	if len(known) < 2 {
		return nil
	}
	slices.SortFunc(known, func(a, b clocked) int { return int(a.Offset - b.Offset) })
	middle := known[(len(known)-1)/2]
	var all []Finding
	for _, k := range known {
		off, doubt := k.Offset-middle.Offset, k.Error+middle.Error
		if off.Abs()-doubt <= maxSkew {
			continue
		}
		way := "ahead"
		if off < 0 {
			way = "behind"
		}
		all = append(all, Finding{
			ClockSkew, k.id, fmt.Sprintf("the clock of %s is %s %s of that of %s, give or take %s",
				k.id, off.Abs().Round(time.Millisecond), way, middle.id, doubt.Round(time.Millisecond)),
			"Tokens expire early or late there, and times in its logs and traces do not fit the others'. Order of messages does not depend on clocks.",
			"Run a time service (chrony, systemd-timesyncd) on that machine.",
		})
	}
	return all
}

// versions finds more than one version of the software.
func versions(f Fleet) []Finding {
	says := map[string]string{}
	for _, m := range f.members() {
		says[m.ID] = m.Version
	}
	for _, e := range f.Edges {
		says[e.ID] = e.Version
	}
	groups := grouped(says)
	if len(groups) < 2 {
		return nil
	}
	var parts []string
	for _, g := range groups {
		parts = append(parts, fmt.Sprintf("%s on %s", g.says, strings.Join(g.ids, ", ")))
	}
	return []Finding{{
		MixedVersions, "fleet", "processes run different versions: " + strings.Join(parts, "; "),
		"Usual while a fleet is upgraded. What only the later version knows may not work yet.",
		"Finish the upgrade, or take it back; CHANGELOG.md says what changed between them.",
	}}
}

// gossip finds members that anybody who reaches them could join.
func gossip(f Fleet) []Finding {
	var open []string
	for _, m := range f.members() {
		if m.Exposed {
			open = append(open, m.ID)
		}
	}
	if len(open) == 0 {
		return nil
	}
	return []Finding{{
		GossipWithoutKey, strings.Join(open, ", "), "gossip has no key off loopback: " + strings.Join(open, ", "),
		"Whoever reaches these ports reads who is in the fleet and can join it: as a router that owns topics.",
		"Give every member the same --gossip-keys, and take --insecure away.",
	}}
}
