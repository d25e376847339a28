package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// Subscription says what to listen to: one topic, every topic that begins with a
// prefix, or with neither every topic.
type Subscription struct {
	Topic  string
	Prefix string

	// Placed, if set, is called each time the subscription is in place, with the
	// router that serves it: every message from then on comes. Lost, if set, is
	// called when it is interrupted, and when another attempt fails. Between the
	// two calls messages may be missing. Both are called by the goroutine that
	// ranges.
	Placed func(router string)
	Lost   func(err error)
}

func (s Subscription) request() *routerv1.SubscribeRequest {
	if s.Topic != "" {
		return &routerv1.SubscribeRequest{Filter: &routerv1.SubscribeRequest_Topic{Topic: s.Topic}}
	}
	return &routerv1.SubscribeRequest{Filter: &routerv1.SubscribeRequest_Prefix{Prefix: s.Prefix}}
}

// Subscribe returns the messages of a subscription as they come. It goes to
// another router when one fails or leaves, for as long as ctx lives, and ends
// without an error when ctx does. An error is the last: the subscription makes no
// sense, or is not allowed. A loop that is too slow is interrupted like by a
// router that fails.
func (c *Client) Subscribe(ctx context.Context, s Subscription) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for failures := 0; ; {
			current := c.current.Load()
			placed, err := c.listen(ctx, c.router(current), s, yield)
			switch {
			case errors.Is(err, errStopped) || ctx.Err() != nil:
				return
			case final(err):
				yield(Message{}, fmt.Errorf("subscribe through %s: %w", c.router(current).address, err))
				return
			}
			if s.Lost != nil {
				s.Lost(err)
			}
			if status.Code(err) != codes.ResourceExhausted { // that is not the router's fault
				c.failover(current)
			}
			if failures++; placed {
				failures = 0
			}
			if (placed || failures >= len(c.routers)) && !pause(ctx, failures/len(c.routers)) {
				return
			}
		}
	}
}

// errStopped is how listen says that whoever ranges had enough.
var errStopped = errors.New("stopped")

// listen is one attempt. placed says that the subscription was in place.
func (c *Client) listen(ctx context.Context, r router, s Subscription, yield func(Message, error) bool) (placed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.api.Subscribe(ctx, s.request())
	if err != nil {
		return false, err
	}
	for {
		step, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return placed, status.Error(codes.Unavailable, "the router ended the subscription")
		}
		if err != nil {
			return placed, err
		}
		switch kind := step.GetKind().(type) {
		case *routerv1.SubscribeResponse_Subscribed:
			placed = true
			if s.Placed != nil {
				s.Placed(kind.Subscribed.GetRouter())
			}
		case *routerv1.SubscribeResponse_Message:
			if !yield(decode(kind.Message), nil) {
				return placed, errStopped
			}
		}
	}
}

// final reports whether another attempt would fail as well.
func final(err error) bool {
	switch status.Code(err) { //nolint:exhaustive // the others pass
	case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		return true
	}
	return false
}
