// Package elect names the presence instance that plans for the fleet. Nobody
// votes: each member applies the same rule to what it sees. While two see
// different members both may plan for a moment, so plans must be idempotent.
package elect

import "github.com/skein-mesh/skein/pkg/cluster"

// Planner returns the lowest id among the ready presence instances, "" if there
// is none.
func Planner(members []cluster.Member) string {
	planner := ""
	for _, m := range members {
		if m.Role == cluster.RolePresence && m.State == cluster.StateReady && (planner == "" || m.ID < planner) {
			planner = m.ID
		}
	}
	return planner
}
