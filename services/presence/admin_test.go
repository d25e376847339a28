package presence_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
)

func TestInstanceAnswersForItself(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := start(t, cluster.NewRegistry(), "presence-a")
		defer p.stop()
		admin := adminv1.NewAdminServiceClient(p.conn)
		level := func() string {
			resp, err := admin.Node(t.Context(), &adminv1.NodeRequest{Node: "presence-a"})
			if n := resp.GetNode(); err != nil || n.GetId() != "presence-a" || n.GetService() != "presence" || !n.GetClock().AsTime().Equal(time.Now()) {
				t.Errorf("got %v, %v", resp, err)
			}
			return resp.GetNode().GetLogLevel().GetLevel()
		}
		resp, err := admin.SetLogLevel(t.Context(), &adminv1.SetLogLevelRequest{Level: "debug", ForMs: 60_000})
		if err != nil || resp.GetNode() != "presence-a" || level() != "debug" {
			t.Errorf("got %v, %v", resp, err)
		}
		time.Sleep(61 * time.Second) // virtual time
		if got := level(); got != "info" {
			t.Errorf("after its time the level is %s", got)
		}
		_, err1 := admin.Node(t.Context(), &adminv1.NodeRequest{Node: "e1"})
		_, err2 := admin.SetLogLevel(t.Context(), &adminv1.SetLogLevelRequest{Node: "e1", Level: "debug"})
		_, err3 := admin.SetLogLevel(t.Context(), &adminv1.SetLogLevelRequest{Level: "loud"})
		_, err4 := admin.Connections(t.Context(), &adminv1.ConnectionsRequest{User: "u"})
		for i, want := range []codes.Code{codes.NotFound, codes.NotFound, codes.InvalidArgument, codes.Unimplemented} {
			if err := []error{err1, err2, err3, err4}[i]; status.Code(err) != want {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}
