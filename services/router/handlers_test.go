package router_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/namespace"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
	"github.com/skein-mesh/skein/services/router"
)

// doorman is a backend that lets nobody in.
type doorman struct {
	handlerv1.UnimplementedChannelHandlerServer
}

// Join implements skein.handler.v1.
func (doorman) Join(context.Context, *handlerv1.JoinRequest) (*handlerv1.JoinResponse, error) {
	return &handlerv1.JoinResponse{Refused: true}, nil
}

func TestEveryRouterAsksTheHandler(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		backend, listener := grpc.NewServer(), bufconn.Listen(1<<16)
		handlerv1.RegisterChannelHandlerServer(backend, doorman{})
		f.mu.Lock()
		f.listeners["chat:1"] = listener
		f.mu.Unlock()
		go backend.Serve(listener)
		defer backend.Stop()
		vip := namespace.Namespace{Topics: "vip:*", Join: namespace.JoinHandler, Handler: "passthrough:///chat:1", Timeout: time.Second}
		vip.SetDefaults()
		f.config.Namespaces = append(f.config.Namespaces, vip)
		f.add()
		join := func(n *node, topic string) (*handlerv1.JoinResponse, error) {
			return handlerv1.NewChannelHandlerClient(n.conn).Join(t.Context(), &handlerv1.JoinRequest{Caller: &handlerv1.Caller{Topic: topic}})
		}
		resp, err := join(f.nodes[1], "vip:1")
		if err != nil || !resp.GetRefused() {
			t.Errorf("got %v, %v", resp, err)
		}
		if _, err := join(f.nodes[0], "vip:1"); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("a router that knows no handler says %v", err)
		}
	})
}

func TestConfigOfHandlers(t *testing.T) {
	cfg := router.Default()
	cfg.HandlerCalls = 0
	cfg.ConnectHandler = "chat"
	cfg.Namespaces = append(cfg.Namespaces, cfg.Namespaces[0])
	err := cfg.Validate()
	for _, want := range []string{"handler-calls: must be at least 1, got 0", `connect-handler: "chat" has no port`, `"presence:*" is given twice`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}
