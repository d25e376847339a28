package memberpb_test

import (
	"slices"
	"testing"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/memberpb"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

func TestRoundTrip(t *testing.T) {
	var members []cluster.Member
	for _, role := range []cluster.Role{cluster.RoleRouter, cluster.RolePresence} {
		for _, state := range []cluster.State{cluster.StateJoining, cluster.StateReady, cluster.StateLeaving} {
			members = append(members, cluster.Member{
				ID: "a", Incarnation: 1 << 60, Role: role, State: state, Address: "127.0.0.1:5000", Version: "v1",
			})
		}
	}
	if got := memberpb.Decode(memberpb.Encode(members)); !slices.Equal(got, members) {
		t.Errorf("got %v, want %v", got, members)
	}
}

func TestDecodeLeavesOutWhatItDoesNotKnow(t *testing.T) {
	got := memberpb.Decode([]*meshv1.Member{
		{Id: "a", Role: 99, State: meshv1.State_STATE_READY},
		{Id: "b", Role: meshv1.Role_ROLE_ROUTER},
		{Id: "c", Role: meshv1.Role_ROLE_ROUTER, State: meshv1.State_STATE_READY},
		nil,
	})
	if len(got) != 1 || got[0].ID != "c" {
		t.Errorf("got %v", got)
	}
}
