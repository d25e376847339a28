package elect_test

import (
	"testing"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/services/presence/elect"
)

func TestPlanner(t *testing.T) {
	member := func(id string, role cluster.Role, state cluster.State) cluster.Member {
		return cluster.Member{ID: id, Role: role, State: state}
	}
	for name, test := range map[string]struct {
		members []cluster.Member
		want    string
	}{
		"nobody":           {nil, ""},
		"routers only":     {[]cluster.Member{member("a", cluster.RoleRouter, cluster.StateReady)}, ""},
		"only ready ones":  {[]cluster.Member{member("a", cluster.RolePresence, cluster.StateJoining), member("b", cluster.RolePresence, cluster.StateLeaving)}, ""},
		"lowest":           {[]cluster.Member{member("c", cluster.RolePresence, cluster.StateReady), member("b", cluster.RolePresence, cluster.StateReady)}, "b"},
		"lowest has to go": {[]cluster.Member{member("a", cluster.RolePresence, cluster.StateLeaving), member("b", cluster.RolePresence, cluster.StateReady)}, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := elect.Planner(test.members); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
