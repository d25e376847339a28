package router

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
	"github.com/skein-mesh/skein/pkg/tlsfiles/tlstest"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

// A backend with TLS, which wants a certificate, is asked if its authority is
// configured, and nobody who only looks like it.
func TestHandlersWithTLS(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		theirs, ours := tlstest.New(t), tlstest.New(t)
		own := ours.Files(t, t.TempDir(), tlstest.Leaf{Name: "router-1"})
		backend := theirs.Files(t, t.TempDir(), tlstest.Leaf{Name: "chat"})
		authority := backend.CA
		backend.CA = own.CA // of the certificates that it takes
		files, err := tlsfiles.Load(backend, telemetry.Nop().Log)
		if err != nil {
			t.Fatal(err)
		}
		listener, server := bufconn.Listen(1<<16), grpc.NewServer(grpc.Creds(files.ServerCredentials(true, nil)))
		handlerv1.RegisterChannelHandlerServer(server, handlerv1.UnimplementedChannelHandlerServer{})
		go server.Serve(listener)
		for ca, want := range map[string]codes.Code{
			authority: codes.Unimplemented, // it was asked
			own.CA:    codes.Unavailable,
			"":        codes.Unavailable,
		} {
			cfg := Default()
			cfg.TLS, cfg.HandlerCA = own, ca
			dial, err := Deps{Telemetry: telemetry.Nop()}.toHandlers(cfg, grpc.WithContextDialer(
				func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
			if err != nil {
				t.Fatal(err)
			}
			conn, err := dial("passthrough:///chat:50051")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			_, err = handlerv1.NewChannelHandlerClient(conn).Leave(ctx, &handlerv1.LeaveRequest{})
			if code := status.Code(err); code != want && (want != codes.Unavailable || code != codes.DeadlineExceeded) {
				t.Errorf("authority %q: got %v, want %v", ca, err, want)
			}
			cancel()
			conn.Close()
		}
		server.Stop()
		time.Sleep(time.Minute) // virtual time: gRPC's timers end
	})
}

func TestHandlersAuthorityMustBeThere(t *testing.T) {
	cfg := Default()
	cfg.HandlerCA = "/nowhere/ca.crt"
	if _, err := (Deps{Telemetry: telemetry.Nop()}).toHandlers(cfg); err == nil {
		t.Error("no error")
	}
}
