package rpc

import (
	"context"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/memberpb"
	"github.com/skein-mesh/skein/pkg/ring"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// admin serves operators.
type admin struct {
	adminv1.UnimplementedAdminServiceServer
	*Service
}

// Members implements [adminv1.AdminServiceServer]. No edge is attached to a
// presence instance; those that report to it are in the fleet.
func (s admin) Members(context.Context, *adminv1.MembersRequest) (*adminv1.MembersResponse, error) {
	members := s.members.Members()
	return &adminv1.MembersResponse{
		Self: s.members.Self().ID,
		View: &meshv1.View{Hash: routers(members).Hash(), Members: memberpb.Encode(members)},
	}, nil
}

// routers is the ring that a router would make of members.
func routers(members []cluster.Member) ring.Ring {
	var ready []ring.Member
	for _, m := range members {
		if m.Role == cluster.RoleRouter && m.State == cluster.StateReady {
			ready = append(ready, ring.Member{ID: m.ID, Incarnation: m.Incarnation})
		}
	}
	return ring.New(ready...)
}
