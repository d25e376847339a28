package presence_test

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/apikey"
	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	meshrpc "github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
	"github.com/skein-mesh/skein/pkg/tlsfiles/tlstest"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence"
)

func TestWhoMayCallWhat(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		inspector, sha := apikey.Make()
		files := tlstest.New(t).Files(t, t.TempDir(), tlstest.Leaf{Name: "fleet"})
		files.Name = "fleet"
		security, err := meshrpc.Secure(meshrpc.SecuritySettings{TLS: files, Keys: apikey.List{APIKeys: []apikey.Key{
			{Name: "rooms", SHA256: sha, Scopes: []string{"inspect"}, Topics: []string{"room:*"}},
		}}}, telemetry.Nop())
		if err != nil {
			t.Fatal(err)
		}
		listener, registry := bufconn.Listen(1<<16), cluster.NewRegistry()
		member := registry.Member(cluster.Member{ID: "p", Incarnation: 1, Role: cluster.RolePresence, State: cluster.StateJoining, Address: "p"})
		p, err := presence.New(presence.Default(), presence.Deps{Listener: listener, Membership: member, Security: security, Telemetry: telemetry.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- lifecycle.Run(ctx, member, p) }()
		outside, err := meshrpc.Secure(meshrpc.SecuritySettings{TLS: tlsfiles.TLS{CA: files.CA, Name: "fleet"}}, telemetry.Nop())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := meshrpc.Dial("passthrough:///p", append(outside.Client(), grpc.WithContextDialer(
			func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // virtual time: the people are learned
		known := metadata.AppendToOutgoingContext(t.Context(), "authorization", "bearer "+inspector)
		for name, test := range map[string]struct {
			ctx  context.Context
			call func(ctx context.Context) error
			want codes.Code
		}{
			"no key":            {t.Context(), count(conn, "room:1"), codes.Unauthenticated},
			"its topic":         {known, count(conn, "room:1"), codes.OK},
			"another topic":     {known, count(conn, "other:1"), codes.PermissionDenied},
			"all of the fleet":  {known, list(conn), codes.PermissionDenied},
			"as if it were one": {known, report(conn), codes.Unauthenticated},
		} {
			if err := test.call(test.ctx); status.Code(err) != test.want {
				t.Errorf("%s: got %v, want %v", name, err, test.want)
			}
		}
		conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // virtual time: gRPC's timers end
	})
}

func count(conn *grpc.ClientConn, topic string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := presencev1.NewPeopleServiceClient(conn).Count(ctx, &presencev1.PeopleServiceCountRequest{Topic: topic})
		return err
	}
}

func list(conn *grpc.ClientConn) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := presencev1.NewFleetServiceClient(conn).List(ctx, &presencev1.ListRequest{})
		return err
	}
}

func report(conn *grpc.ClientConn) func(context.Context) error {
	return func(ctx context.Context) error {
		stream, err := presencev1.NewPresenceServiceClient(conn).Report(ctx)
		if err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	}
}
