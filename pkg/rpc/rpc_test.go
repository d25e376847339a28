package rpc

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/telemetry"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

type fakeAdmin struct {
	adminv1.UnimplementedAdminServiceServer
	members func(context.Context) (*adminv1.MembersResponse, error)
}

func (f fakeAdmin) Members(ctx context.Context, _ *adminv1.MembersRequest) (*adminv1.MembersResponse, error) {
	return f.members(ctx)
}

// serve runs a server with the given admin service on an in-memory network and
// returns a client. stop ends both and waits.
func serve(t *testing.T, log *slog.Logger, admin fakeAdmin) (conn *grpc.ClientConn, stop func()) {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	server := NewServer(telemetry.Nop(), log)
	adminv1.RegisterAdminServiceServer(server, admin)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, server, listener) }()
	conn, err := Dial("passthrough:///memory", Traced(telemetry.Nop()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	return conn, func() {
		conn.Close() // nothing is left to lose
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestHealthReflectionAndCalls(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		conn, stop := serve(t, slog.New(slog.DiscardHandler), fakeAdmin{members: func(context.Context) (*adminv1.MembersResponse, error) {
			return &adminv1.MembersResponse{Self: "r1"}, nil
		}})
		defer stop()
		health, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
		if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("health: %v, %v", health, err)
		}
		resp, err := adminv1.NewAdminServiceClient(conn).Members(t.Context(), &adminv1.MembersRequest{})
		if err != nil || resp.GetSelf() != "r1" {
			t.Errorf("members: %v, %v", resp, err)
		}
		stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		list := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
		if err := stream.Send(list); err != nil {
			t.Fatal(err)
		}
		services, err := stream.Recv()
		if err != nil || !strings.Contains(services.String(), "skein.admin.v1.AdminService") {
			t.Errorf("reflection: %v, %v", services, err)
		}
		stream.CloseSend() // the test is over
	})
}

func TestOnlyUnexpectedFailuresAreLogged(t *testing.T) {
	for code, logged := range map[codes.Code]bool{
		codes.OK: false, codes.Unavailable: false, codes.InvalidArgument: false, codes.Internal: true, codes.Unknown: true,
	} {
		bubble.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			conn, stop := serve(t, slog.New(slog.NewTextHandler(&out, nil)), fakeAdmin{members: func(context.Context) (*adminv1.MembersResponse, error) {
				return &adminv1.MembersResponse{}, status.Error(code, "broken")
			}})
			_, err := adminv1.NewAdminServiceClient(conn).Members(t.Context(), &adminv1.MembersRequest{})
			stop()
			if status.Code(err) != code || strings.Contains(out.String(), "call failed") != logged {
				t.Errorf("%v: got %v, log %q", code, err, out.String())
			}
		})
	}
}

func TestServeDoesNotWaitForEverForACall(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		entered := make(chan struct{})
		conn, stop := serve(t, slog.New(slog.DiscardHandler), fakeAdmin{members: func(ctx context.Context) (*adminv1.MembersResponse, error) {
			close(entered)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}})
		failed := make(chan error, 1)
		go func() {
			_, err := adminv1.NewAdminServiceClient(conn).Members(context.Background(), &adminv1.MembersRequest{})
			failed <- err
		}()
		<-entered
		began := time.Now()
		stop()
		if waited := time.Since(began); waited > stopTime {
			t.Errorf("stopping took %s", waited)
		}
		if err := <-failed; err == nil {
			t.Error("the call that was cut has no error")
		}
	})
}

func TestServeReportsABrokenListener(t *testing.T) {
	listener := bufconn.Listen(1)
	listener.Close() // broken on purpose
	if err := Serve(t.Context(), NewServer(telemetry.Nop(), slog.New(slog.DiscardHandler)), listener); err == nil {
		t.Error("no error")
	}
}

func TestServeThatIsStoppedAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // either the server or its end may come first
		if err := Serve(ctx, NewServer(telemetry.Nop(), slog.New(slog.DiscardHandler)), bufconn.Listen(1)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDialRefusesABadTarget(t *testing.T) {
	if _, err := Dial("%zz:///"); err == nil || errors.Unwrap(err) == nil {
		t.Errorf("got %v", err)
	}
}

func TestDialBackendRefusesABadServiceConfig(t *testing.T) {
	if _, err := DialBackend("127.0.0.1:1", "{"); err == nil {
		t.Error("no error")
	}
	conn, err := DialBackend("127.0.0.1:1", "{}")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close() // nothing is left to lose
}

func TestOnlyUnaryCallsAreInstrumented(t *testing.T) {
	for method, want := range map[string]bool{
		"/skein.admin.v1.AdminService/Members":                            true,
		presencev1.FleetService_List_FullMethodName:                       true,
		presencev1.FleetService_Watch_FullMethodName:                      false,
		presencev1.PresenceService_Report_FullMethodName:                  false,
		healthv1.Health_Check_FullMethodName:                              false,
		reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName: false,
		"/skein.admin.v1.AdminService/Nothing":                            false,
		"/skein.admin.v1.MembersRequest":                                  false,
		"":                                                                false,
		"/":                                                               false,
		"x":                                                               false,
	} {
		if got := unary(method); got != want {
			t.Errorf("%q: %v, want %v", method, got, want)
		}
	}
}
