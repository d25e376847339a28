//go:build e2e

package observability

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

// backend lets everybody in, and broadcasts what is pushed.
type backend struct {
	handlerv1.UnimplementedChannelHandlerServer
}

func (backend) Join(context.Context, *handlerv1.JoinRequest) (*handlerv1.JoinResponse, error) {
	return &handlerv1.JoinResponse{}, nil
}

func (backend) Push(_ context.Context, r *handlerv1.PushRequest) (*handlerv1.PushResponse, error) {
	said := &handlerv1.Broadcast{Event: &handlerv1.Event{Name: r.GetEvent(), Payload: r.GetPayload()}}
	return &handlerv1.PushResponse{Reply: &handlerv1.Reply{}, Broadcasts: []*handlerv1.Broadcast{said}}, nil
}

func (backend) Leave(context.Context, *handlerv1.LeaveRequest) (*handlerv1.LeaveResponse, error) {
	return &handlerv1.LeaveResponse{}, nil
}

// startBackend runs one that traces to otlp until the test ends, and returns the
// configuration of a fleet that asks it about asked:*.
func startBackend(t *testing.T, otlp string) (config string) {
	t.Helper()
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100") // as the processes of the fleet
	cfg := telemetry.Default()
	cfg.OTLPEndpoint = otlp
	tel, err := telemetry.New(t.Context(), cfg, telemetry.Identity{Service: "backend", ID: "backend"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(tel, tel.Log)
	handlerv1.RegisterChannelHandlerServer(server, backend{})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 2)
	go func() { served <- rpc.Serve(ctx, server, listener) }()
	go func() { served <- tel.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
	})
	config = filepath.Join(t.TempDir(), "skein.yaml")
	err = os.WriteFile(config, fmt.Appendf(nil, `
namespaces:
  - {topics: "asked:*", join: handler, push: handler, handler: "dns:///%s"}
  - {topics: "*"}
`, listener.Addr()), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// Whoever waits for a handler sees in one trace where the time goes: the edge asks
// the owner, which asks the backend, and what that broadcasts follows.
func askedHandler(t *testing.T, c collector, f *fleet) {
	const topic, trace = "asked:1", "4102030405060708090a0b0c0d0e0f10"
	const join, push = "skein.handler.v1.ChannelHandler/Join", "skein.handler.v1.ChannelHandler/Push"
	owner, _ := f.owner(t, topic)
	sender := open(t, f.edges[0], topic, "&traceparent=00-"+trace+"-"+theSpan+"-01")
	sender.send(t, "2", "hello")
	sender.await(t, `"hello"`)
	asked := func(call, by string) []hop {
		return []hop{
			{name: by, process: "edge-a"},
			{call, "edge-a" + calling, by, "edge-a"},
			{call, owner.ID, call, "edge-a" + calling},
			{call, owner.ID + calling, call, owner.ID},
			{call, "backend", call, owner.ID + calling},
		}
	}
	check(t, c.await(t, trace, topic, 13), theSpan, slices.Concat(asked(join, "edge join"), asked(push, "edge push"), []hop{
		{"edge publish", "edge-a", "edge push", "edge-a"},
		{"router fan-out", owner.ID, "edge publish", "edge-a"},
		{"edge deliver", "edge-a", "router fan-out", owner.ID},
	})...)
}
