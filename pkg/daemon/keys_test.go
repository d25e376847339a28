package daemon

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/cluster/serf"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
)

type fakeKeys struct {
	members []serf.MemberKeys
	err     error
}

func (f fakeKeys) Keys(context.Context) ([]serf.MemberKeys, error) { return f.members, f.err }

func (f fakeKeys) RotateKeys(ctx context.Context) (serf.Rotation, error) {
	return serf.Rotation{Key: "k2", Stopped: serf.StepUse, Members: f.members}, errors.Join(f.err, ctx.Err())
}

func TestKeyService(t *testing.T) {
	members := []serf.MemberKeys{{Member: "a", Keys: []string{"k1", "k2"}}, {Member: "b", Problem: "it did not answer"}}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	good := &keyService{gossip: fakeKeys{members: members}, log: slog.New(slog.DiscardHandler)}
	list, err := good.ListGossipKeys(t.Context(), nil)
	if err != nil || len(list.GetMembers()) != 2 || list.GetMembers()[1].GetProblem() != "it did not answer" {
		t.Errorf("%v, %v", list, err)
	}
	rotation, err := good.RotateGossipKeys(gone, &adminv1.RotateGossipKeysRequest{})
	if err != nil || rotation.GetKey() != "k2" || rotation.GetStopped() != "use" || rotation.GetMembers()[0].GetKeys()[1] != "k2" {
		t.Errorf("%v, %v", rotation, err)
	}
	bad := &keyService{gossip: fakeKeys{err: errors.New("no gossip")}, log: slog.New(slog.DiscardHandler)}
	if _, err := bad.ListGossipKeys(t.Context(), nil); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	if _, err := bad.RotateGossipKeys(t.Context(), nil); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
}
