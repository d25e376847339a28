package daemon

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/apikey"
	"github.com/skein-mesh/skein/pkg/cluster/serf"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
)

// Register adds the services that are about the process, whatever it runs.
func (d *Daemon) Register(server grpc.ServiceRegistrar) {
	adminv1.RegisterKeyServiceServer(server, &keyService{gossip: d.Members, log: d.Telemetry.Log})
}

// gossipKeys are the keys of a fleet; [serf.Serf] has them.
type gossipKeys interface {
	Keys(ctx context.Context) ([]serf.MemberKeys, error)
	RotateKeys(ctx context.Context) (serf.Rotation, error)
}

// keyService serves operators.
type keyService struct {
	adminv1.UnimplementedKeyServiceServer

	gossip gossipKeys
	log    *slog.Logger
}

// ListGossipKeys implements [adminv1.KeyServiceServer].
func (k *keyService) ListGossipKeys(ctx context.Context, _ *adminv1.ListGossipKeysRequest) (*adminv1.ListGossipKeysResponse, error) {
	members, err := k.gossip.Keys(ctx)
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &adminv1.ListGossipKeysResponse{Members: memberKeys(members)}, nil
}

// RotateGossipKeys implements [adminv1.KeyServiceServer]. It goes on when the
// caller goes away: half a rotation helps nobody.
func (k *keyService) RotateGossipKeys(ctx context.Context, _ *adminv1.RotateGossipKeysRequest) (*adminv1.RotateGossipKeysResponse, error) {
	caller := apikey.Caller(ctx)
	k.log.InfoContext(ctx, "audit: gossip keys are rotated", "caller", caller)
	rotation, err := k.gossip.RotateKeys(context.WithoutCancel(ctx))
	if err != nil {
		k.log.WarnContext(ctx, "audit: gossip keys were not rotated", "caller", caller, "error", err)
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	k.log.InfoContext(ctx, "audit: gossip keys were rotated", "caller", caller, "key", rotation.Key, "stopped", string(rotation.Stopped))
	return &adminv1.RotateGossipKeysResponse{
		Key: rotation.Key, Stopped: string(rotation.Stopped), Members: memberKeys(rotation.Members),
	}, nil
}

func memberKeys(members []serf.MemberKeys) []*adminv1.MemberKeys {
	list := make([]*adminv1.MemberKeys, len(members))
	for i, m := range members {
		list[i] = &adminv1.MemberKeys{Member: m.Member, Keys: m.Keys, Problem: m.Problem}
	}
	return list
}
