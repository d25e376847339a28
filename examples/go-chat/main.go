// Command go-chat is a chat whose rules live here and whose clients stay with
// Skein: routers ask it over gRPC who may join a room and what becomes of a
// message.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"

	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // a program begins here
	err := run(ctx, cmp.Or(os.Getenv("CHAT_LISTEN"), "127.0.0.1:50051"))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-chat:", err)
		os.Exit(1)
	}
}

// run serves the chat until ctx ends.
func run(ctx context.Context, address string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	handlerv1.RegisterChannelHandlerServer(server, newChat([]byte(rand.Text())))
	defer context.AfterFunc(ctx, server.GracefulStop)()
	fmt.Fprintln(os.Stderr, "go-chat: deciding about rooms at", listener.Addr())
	return server.Serve(listener)
}
