package rpc

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/memberpb"
	"github.com/skein-mesh/skein/pkg/ring"
	meshrpc "github.com/skein-mesh/skein/pkg/rpc"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
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

// Node implements [adminv1.AdminServiceServer].
func (s admin) Node(_ context.Context, req *adminv1.NodeRequest) (*adminv1.NodeResponse, error) {
	if err := s.itself(req.GetNode()); err != nil {
		return nil, err
	}
	return &adminv1.NodeResponse{Node: s.node.Describe()}, nil
}

// SetLogLevel implements [adminv1.AdminServiceServer].
func (s admin) SetLogLevel(ctx context.Context, req *adminv1.SetLogLevelRequest) (*adminv1.SetLogLevelResponse, error) {
	if err := s.itself(req.GetNode()); err != nil {
		return nil, err
	}
	level, err := s.node.SetLogLevel(ctx, &meshv1.SetLogLevel{Level: req.GetLevel(), ForMs: req.GetForMs(), By: meshrpc.Caller(ctx)})
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &adminv1.SetLogLevelResponse{Node: s.node.ID(), LogLevel: level}, nil
}

// itself refuses questions about others.
func (s admin) itself(id string) error {
	if id != "" && id != s.node.ID() {
		return status.Errorf(codes.NotFound, "presence: %s answers for itself only; ask a router about edge %q", s.node.ID(), id)
	}
	return nil
}

// Audited says which calls are logged with who made them: those that change
// something.
func Audited(method string) bool {
	switch method {
	case adminv1.AdminService_SetLogLevel_FullMethodName,
		presencev1.RebalanceService_Apply_FullMethodName, presencev1.RebalanceService_Order_FullMethodName:
		return true
	}
	return false
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
