//go:build e2e

package e2e

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

// stuck is a handler that never answers.
type stuck struct {
	handlerv1.UnimplementedChannelHandlerServer
}

func (stuck) Join(ctx context.Context, _ *handlerv1.JoinRequest) (*handlerv1.JoinResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (stuck) Push(ctx context.Context, _ *handlerv1.PushRequest) (*handlerv1.PushResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (stuck) Leave(ctx context.Context, _ *handlerv1.LeaveRequest) (*handlerv1.LeaveResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// garbled is a handler whose answers make no sense, in turn one way and another.
type garbled struct {
	handlerv1.UnimplementedChannelHandlerServer

	joins, pushes atomic.Int64
}

func (g *garbled) Join(context.Context, *handlerv1.JoinRequest) (*handlerv1.JoinResponse, error) {
	switch g.joins.Add(1) % 4 {
	case 0:
		return &handlerv1.JoinResponse{Reply: jsonPayload(`{"no":`)}, nil
	case 1:
		return &handlerv1.JoinResponse{Pushes: []*handlerv1.Event{{}}}, nil
	case 2:
		return &handlerv1.JoinResponse{Reply: huge()}, nil
	}
	return nil, status.Error(codes.Internal, "the handler failed")
}

func (g *garbled) Push(context.Context, *handlerv1.PushRequest) (*handlerv1.PushResponse, error) {
	switch g.pushes.Add(1) % 4 {
	case 0:
		return &handlerv1.PushResponse{Reply: &handlerv1.Reply{Response: jsonPayload("no")}}, nil
	case 1:
		return &handlerv1.PushResponse{Broadcasts: []*handlerv1.Broadcast{{Event: &handlerv1.Event{}}}}, nil
	case 2:
		return &handlerv1.PushResponse{Reply: &handlerv1.Reply{Response: huge()}}, nil
	}
	return nil, status.Error(codes.Internal, "the handler failed")
}

// healthy is a handler that broadcasts what is pushed and replies it. It holds
// an event hold until it is told to let it go.
type healthy struct {
	handlerv1.UnimplementedChannelHandlerServer

	held  chan string   // gets the topics of what it holds
	letGo chan struct{} // closed to let it go
}

func newHealthy() *healthy {
	return &healthy{held: make(chan string, 100), letGo: make(chan struct{})}
}

func (*healthy) Join(context.Context, *handlerv1.JoinRequest) (*handlerv1.JoinResponse, error) {
	return &handlerv1.JoinResponse{}, nil
}

func (h *healthy) Push(ctx context.Context, r *handlerv1.PushRequest) (*handlerv1.PushResponse, error) {
	answer := &handlerv1.PushResponse{Reply: &handlerv1.Reply{Response: r.GetPayload()}}
	if r.GetEvent() != "hold" {
		answer.Broadcasts = []*handlerv1.Broadcast{{Event: &handlerv1.Event{Name: r.GetEvent(), Payload: r.GetPayload()}}}
		return answer, nil
	}
	h.held <- r.GetCaller().GetTopic()
	select {
	case <-h.letGo:
		return answer, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (*healthy) Leave(context.Context, *handlerv1.LeaveRequest) (*handlerv1.LeaveResponse, error) {
	return &handlerv1.LeaveResponse{}, nil
}

func jsonPayload(text string) *handlerv1.Payload {
	return &handlerv1.Payload{Kind: &handlerv1.Payload_Json{Json: []byte(text)}}
}

// huge is valid, and twice as much as a client may get.
func huge() *handlerv1.Payload { return jsonPayload(`"` + strings.Repeat("x", 2<<20) + `"`) }

// serveHandler runs a handler at an address until the test ends, and returns
// the address.
func serveHandler(t *testing.T, address string, h handlerv1.ChannelHandlerServer) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server, done := grpc.NewServer(), make(chan struct{})
	handlerv1.RegisterChannelHandlerServer(server, h)
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
