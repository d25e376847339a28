package conformance

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/tests/process"
)

// stage is the fleet that the cases are played on: a router, a presence
// instance and an edge, with the recorded application as their backend.
type stage struct {
	edge   string // host:port
	router routerv1.RouterServiceClient
}

// start starts the stage. It ends with the test.
func start(t *testing.T) *stage {
	t.Helper()
	programs, err := process.Build("skein-router", "skein-presence", "skein-edge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(programs.Remove)
	handler := serve(t)
	a := process.Addresses(t, 9)
	router := process.New(t, "router", programs.Path("skein-router"), a[2],
		"--id", "router-1", "--grpc", a[0], "--gossip", a[1], "--admin", a[2],
		"--config", configure(t, "router.yaml", handler, "namespaces.yaml"))
	router.Start(t)
	presence := process.New(t, "presence", programs.Path("skein-presence"), a[5],
		"--id", "presence-1", "--grpc", a[3], "--gossip", a[4], "--admin", a[5], "--join", a[1])
	presence.Start(t)
	edge := process.New(t, "edge", programs.Path("skein-edge"), a[7],
		"--id", "edge-1", "--listen", a[6], "--admin", a[7], "--agent", a[8], "--routers", a[0],
		"--config", configure(t, "edge.yaml", handler, "namespaces.yaml", "mounts.yaml"))
	edge.Start(t)
	conn := dial(t, a[0])
	return &stage{edge: a[6], router: routerv1.NewRouterServiceClient(conn)}
}

// configure joins files of testdata to one, with the handler's address.
func configure(t *testing.T, name, handler string, parts ...string) string {
	t.Helper()
	var all strings.Builder
	for _, part := range parts {
		text, err := os.ReadFile(filepath.Join("testdata", part))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(all.String(), "HANDLER", handler)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve runs the recorded application and returns its address.
func serve(t *testing.T) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, done := grpc.NewServer(), make(chan struct{})
	handlerv1.RegisterChannelHandlerServer(server, &app{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // it ends when the server is stopped
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return listener.Addr().String()
}

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// publish sends an event as a backend does.
func (s *stage) publish(ctx context.Context, topic, event, payload string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	message := &routerv1.Message{Topic: topic, Event: event, Payload: &routerv1.Message_Json{Json: payload}}
	_, err := s.router.Publish(ctx, &routerv1.PublishRequest{Message: message})
	return err
}

// later publishes an event once, unless the case is over before.
func (s *stage) later(t *testing.T, after time.Duration, topic, event, payload string) {
	t.Helper()
	s.beside(t, after, func(ctx context.Context) bool {
		_ = s.publish(ctx, topic, event, payload) // the case looks at what comes of it
		return false
	})
}

// repeat publishes an event again and again, until the case is over.
func (s *stage) repeat(t *testing.T, every time.Duration, topic, event, payload string) {
	t.Helper()
	s.beside(t, every, func(ctx context.Context) bool {
		_ = s.publish(ctx, topic, event, payload) // the case looks at what comes of it
		return true
	})
}

// beside does something each interval while it returns true, until the case is
// over.
func (s *stage) beside(t *testing.T, interval time.Duration, do func(context.Context) bool) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for again := true; again; {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				again = do(ctx)
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
}

// disconnect closes the sockets of a user as a backend does.
func (s *stage) disconnect(ctx context.Context, user string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := s.router.Disconnect(ctx, &routerv1.DisconnectRequest{User: user})
	return err
}
