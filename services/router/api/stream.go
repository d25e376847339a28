package api

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/queue"
	"github.com/skein-mesh/skein/pkg/telemetry"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

// window is how many messages of one PublishStream may be without result. The
// stream is not read while there are as many: gRPC's flow control then holds the
// backend back.
const window = 4096

// PublishStream implements skein.router.v1. The calling goroutine sends results,
// one child receives messages. When this router leaves, it takes no further
// message, sends the results of those it took and says with [Leaving] that the
// others were not published.
func (s *Server) PublishStream(stream routerv1.RouterService_PublishStreamServer) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	p := &publisher{
		server: s, room: make(chan struct{}, window),
		results: queue.New(window, func(*routerv1.PublishStreamResponse) int { return 1 }),
	}
	received := make(chan struct{})
	go func() {
		defer close(received)
		if err := p.receive(ctx, stream); err != nil {
			cancel(err)
		}
	}()
	done, leave := received, s.leaving
	for done != nil || !p.idle() {
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-done:
			done, leave = nil, nil // only results are waited for
		case <-leave:
			p.stop()
			done, leave = nil, nil
		case <-p.results.Ready():
		}
		for _, r := range p.results.Take(nil) {
			if err := stream.Send(r); err != nil {
				return err
			}
			p.sent()
		}
	}
	return p.end(s.config.ID)
}

// ended is why a stream whose context is over ends, as a status.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if s, ok := status.FromError(cause); ok {
		return s.Err()
	}
	return status.FromContextError(cause).Err()
}

// publisher is one PublishStream. It implements [exchange.Origin].
type publisher struct {
	server  *Server
	room    chan struct{} // holds a token for each message without sent result
	results *queue.Queue[*routerv1.PublishStreamResponse]

	mu      sync.Mutex
	taken   int  // messages without sent result
	stopped bool // no further message is taken
}

// take counts a message that will get a result; false means that it must not
// be published any more.
func (p *publisher) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		p.taken++
	}
	return !p.stopped
}

func (p *publisher) sent() {
	<-p.room
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
}

func (p *publisher) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
}

// idle reports whether every message that was taken has its result.
func (p *publisher) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken == 0
}

// end is what the stream ends with once every result was sent.
func (p *publisher) end(router string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		return nil
	}
	return Leaving(router, "messages without a result were not published, send them to another")
}

// Leaving tells a caller to go to another router, and what became of what it
// asked. Its reason sets it apart from a broken connection, after which nobody
// knows.
func Leaving(router, fate string) error {
	s := status.New(codes.Unavailable, "this router leaves; "+fate)
	detailed, err := s.WithDetails(&errdetails.ErrorInfo{Reason: "LEAVING", Domain: "skein", Metadata: map[string]string{"router": router}})
	if err != nil {
		return s.Err()
	}
	return detailed.Err()
}

func (p *publisher) receive(ctx context.Context, stream routerv1.RouterService_PublishStreamServer) error {
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = telemetry.FromMetadata(ctx, md) // nobody else looks at the trace of a stream
	}
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case p.room <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !p.take() {
			return nil
		}
		broadcast, bad := validate(req.GetMessage())
		if bad != nil {
			p.push(req.GetSeq(), bad.result())
			continue
		}
		p.server.publish(ctx, p, req.GetSeq(), broadcast)
	}
}

// Done implements [exchange.Origin].
func (p *publisher) Done(seq uint64, o exchange.Outcome) { p.push(seq, resultOf(o)) }

func (p *publisher) push(seq uint64, r *routerv1.PublishResult) {
	_ = p.results.Push(&routerv1.PublishStreamResponse{Seq: seq, Result: r}) // as much room as window
}

// Subscribe implements skein.router.v1. A backend that reads too slowly is
// told so and has to come again: a silent gap would be worse.
func (s *Server) Subscribe(req *routerv1.SubscribeRequest, stream routerv1.RouterService_SubscribeServer) error {
	filter, bad := filterOf(req)
	if bad != nil {
		return bad.err()
	}
	sub := &subscriber{
		out: queue.New(s.config.QueueBytes, broadcastCost), placed: make(chan struct{}), slow: make(chan struct{}),
	}
	handle := s.exchange.Subscribe(filter, sub)
	defer s.exchange.Unsubscribe(handle)
	ctx := stream.Context()
	select {
	case <-sub.placed:
	case <-sub.slow:
		return errSlow
	case <-ctx.Done():
		return ended(ctx)
	}
	err := stream.Send(&routerv1.SubscribeResponse{Kind: &routerv1.SubscribeResponse_Subscribed{
		Subscribed: &routerv1.Subscribed{Router: s.config.ID},
	}})
	if err != nil {
		return err
	}
	return sub.run(stream)
}

var errSlow = status.Error(codes.ResourceExhausted, "the subscriber is too slow, messages were lost: subscribe again")

func filterOf(req *routerv1.SubscribeRequest) (exchange.Filter, problems) {
	switch f := req.GetFilter().(type) {
	case *routerv1.SubscribeRequest_Topic:
		return exchange.Filter{Name: f.Topic}, validateTopic(f.Topic, "topic")
	case *routerv1.SubscribeRequest_Prefix:
		if len(f.Prefix) > channel.MaxTopicLen {
			return exchange.Filter{}, badField("prefix", "must be at most %d bytes, got %d", channel.MaxTopicLen, len(f.Prefix))
		}
		return exchange.Filter{Name: f.Prefix, Prefix: true}, nil
	default:
		return exchange.Filter{}, badField("filter", "must be a topic or a prefix")
	}
}

// subscriber is one Subscribe. It implements [exchange.Sink].
type subscriber struct {
	out    *queue.Queue[*meshv1.Broadcast]
	placed chan struct{} // closed once every router knows
	slow   chan struct{} // closed once a message found no room
	late   bool          // slow is closed; under the exchange's lock
}

// Deliver implements [exchange.Sink].
func (s *subscriber) Deliver(b *meshv1.Broadcast) bool {
	if s.late {
		return false
	}
	if s.out.Push(b) != nil {
		s.late = true
		close(s.slow)
		return false
	}
	return true
}

// Placed implements [exchange.Sink].
func (s *subscriber) Placed() { close(s.placed) }

func (s *subscriber) run(stream routerv1.RouterService_SubscribeServer) error {
	ctx := stream.Context()
	var batch []*meshv1.Broadcast
	for {
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-s.slow:
			return errSlow
		case <-s.out.Ready():
		}
		batch = s.out.Take(batch)
		for _, b := range batch {
			err := stream.Send(&routerv1.SubscribeResponse{Kind: &routerv1.SubscribeResponse_Message{Message: message(b)}})
			if err != nil {
				return err
			}
		}
	}
}

func broadcastCost(b *meshv1.Broadcast) int {
	return 64 + len(b.GetTopic()) + len(b.GetEvent()) + len(b.GetPayload())
}
