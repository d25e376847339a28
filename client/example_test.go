package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/client"
)

// exampleRouter is where the router of an example listens, on a network in memory.
const exampleRouter = "passthrough:///r1"

// withRouter runs an example beside a router.
func withRouter(example func(ctx context.Context, dial []grpc.DialOption)) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	f := newFleet()
	if err := f.start(ctx, "r1"); err != nil {
		fmt.Println(err) //nolint:forbidigo // the output is what an example shows
		return
	}
	example(ctx, []grpc.DialOption{f.dialer()})
	if err := f.stop("r1"); err != nil {
		fmt.Println(err) //nolint:forbidigo // see above
	}
}

func ExampleClient_Publish() {
	withRouter(func(ctx context.Context, dial []grpc.DialOption) {
		c, err := client.New([]string{exampleRouter}, client.Options{Dial: dial})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer c.Close()

		receipt, err := c.Publish(ctx, "room:lobby", "message", map[string]string{"text": "from a backend"})
		switch {
		case errors.Is(err, client.ErrUncertain):
			fmt.Println("some may have got it:", err)
		case err != nil:
			fmt.Println("nobody got it:", err)
		default:
			fmt.Println("ordered by", receipt.Owner)
		}
	})
	// Output: ordered by r1
}

func ExampleClient_PublishBatch() {
	withRouter(func(ctx context.Context, dial []grpc.DialOption) {
		c, err := client.New([]string{exampleRouter}, client.Options{Dial: dial})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer c.Close()

		results, err := c.PublishBatch(ctx, []client.Message{
			{Topic: "room:1", Event: "tick", Payload: map[string]int{"n": 1}},
			{Topic: "room:2", Event: "phx_join"},
		})
		fmt.Println(results[0].Owner, results[0].Err)
		fmt.Println(err)
	})
	// Output:
	// r1 <nil>
	// 1 of 2 messages were not published: publish "phx_join" on "room:2": rpc error: code = InvalidArgument desc = message.event: event: "phx_join" is reserved for the protocol
}

func ExampleClient_Subscribe() {
	withRouter(func(ctx context.Context, dial []grpc.DialOption) {
		c, err := client.New([]string{exampleRouter}, client.Options{Dial: dial})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer c.Close()

		rooms := client.Subscription{
			Prefix: "room:",
			Placed: func(string) { // every message from now on comes
				if _, err := c.Publish(ctx, "room:lobby", "message", map[string]string{"text": "hello"}); err != nil {
					fmt.Println(err)
				}
			},
			Lost: func(err error) { fmt.Println("messages may be missing:", err) },
		}
		for m, err := range c.Subscribe(ctx, rooms) {
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Printf("%s %s %s\n", m.Topic, m.Event, m.Payload)
			break
		}
	})
	// Output: room:lobby message {"text":"hello"}
}

func ExampleClient_Disconnect() {
	withRouter(func(ctx context.Context, dial []grpc.DialOption) {
		c, err := client.New([]string{exampleRouter}, client.Options{Dial: dial})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer c.Close()

		ended, err := c.Disconnect(ctx, client.Target{User: "ada"})
		fmt.Println(ended.Connections, "connections closed:", err)
	})
	// Output: 0 connections closed: <nil>
}
