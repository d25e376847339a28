// Package api serves backends: skein.router.v1. It validates what they send, and
// turns outcomes into gRPC status codes; gRPC itself is known to no other layer
// that decides anything.
package api

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/telemetry"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

// MaxBatch is how many messages one PublishBatch may hold.
const MaxBatch = 1000

// DefaultQueueBytes is what may wait for one subscriber unless told otherwise.
const DefaultQueueBytes = 8 << 20

// Peers knows the way to the other routers.
type Peers interface {
	Conn(id string) (grpc.ClientConnInterface, bool)
}

// Config of the API.
type Config struct {
	ID         string // of this router
	QueueBytes int    // most bytes that wait for one subscriber
}

// Server serves RouterService. All methods may be called
// concurrently.
type Server struct {
	routerv1.UnimplementedRouterServiceServer

	config   Config
	exchange *exchange.Exchange
	tracer   telemetry.Tracer
	peers    Peers
	edges    Edges
	leaving  chan struct{} // closed by Leave

	mu       sync.Mutex // guards the fields below
	refusing bool
	underWay int // calls that publish
}

// New returns the API of an exchange.
func New(x *exchange.Exchange, peers Peers, edges Edges, tracer telemetry.Tracer, c Config) *Server {
	return &Server{config: c, exchange: x, tracer: tracer, peers: peers, edges: edges, leaving: make(chan struct{})}
}

// Leave sends the publish streams of backends to other routers, each as soon
// as what it sent was answered. Everything else is served as before. It is
// called at most once.
func (s *Server) Leave() { close(s.leaving) }

// Refuse sends every publish from now on to other routers: this one will not
// hear any more what becomes of it. Those under way go on, see [Server.Idle].
func (s *Server) Refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusing = true
}

// Idle reports whether no call that publishes is under way.
func (s *Server) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.underWay == 0
}

// enter begins a call that publishes, which ends with leave.
func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusing {
		return Leaving(s.config.ID, "nothing was published, send it to another")
	}
	s.underWay++
	return nil
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.underWay--
}

// result hears of one publish. It implements [exchange.Origin].
type result chan exchange.Outcome

// Done implements [exchange.Origin].
func (r result) Done(_ uint64, o exchange.Outcome) { r <- o } // has room for one

// Publish implements skein.router.v1.
func (s *Server) Publish(ctx context.Context, req *routerv1.PublishRequest) (*routerv1.PublishResponse, error) {
	broadcast, bad := validate(req.GetMessage())
	if bad != nil {
		return nil, bad.err()
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	done := make(result, 1)
	s.publish(ctx, done, 0, broadcast)
	select {
	case o := <-done:
		if code, reason := explain(o); code != codes.OK {
			return nil, status.Error(code, reason)
		}
		return &routerv1.PublishResponse{Owner: o.Owner}, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// numbered hears of several publishes by their index. It implements
// [exchange.Origin].
type numbered chan numberedOutcome

type numberedOutcome struct {
	index   uint64
	outcome exchange.Outcome
}

// Done implements [exchange.Origin].
func (n numbered) Done(seq uint64, o exchange.Outcome) { n <- numberedOutcome{seq, o} } // has room for all

// PublishBatch implements skein.router.v1.
func (s *Server) PublishBatch(ctx context.Context, req *routerv1.PublishBatchRequest) (*routerv1.PublishBatchResponse, error) {
	messages := req.GetMessages()
	if len(messages) > MaxBatch {
		return nil, badField("messages", "must be at most %d, got %d", MaxBatch, len(messages)).err()
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	results := make([]*routerv1.PublishResult, len(messages))
	done := make(numbered, len(messages))
	waiting := 0
	for i, m := range messages {
		broadcast, bad := validate(m)
		if bad != nil {
			results[i] = bad.result()
			continue
		}
		waiting++
		s.publish(ctx, done, uint64(i), broadcast)
	}
	for ; waiting > 0; waiting-- {
		select {
		case d := <-done:
			results[d.index] = resultOf(d.outcome)
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	return &routerv1.PublishBatchResponse{Results: results}, nil
}

// askedByRouter marks a call that another router passed on, so that two routers
// which disagree about an owner do not pass it on for ever.
const askedByRouter = "skein-asked-by-router"

// TopicInfo implements skein.router.v1. The owner answers; if it cannot be
// reached this router tells what it knows, with the owner it believes in.
func (s *Server) TopicInfo(ctx context.Context, req *routerv1.TopicInfoRequest) (*routerv1.TopicInfoResponse, error) {
	if bad := validateTopic(req.GetTopic(), "topic"); bad != nil {
		return nil, bad.err()
	}
	info := s.exchange.Topic(req.GetTopic())
	asked := len(metadata.ValueFromIncomingContext(ctx, askedByRouter)) > 0
	if info.Owner == s.config.ID || asked {
		return topicInfo(req.GetTopic(), info), nil
	}
	conn, ok := s.peers.Conn(info.Owner)
	if !ok {
		return nil, status.Error(codes.Unavailable, "no router owns the topic now")
	}
	ctx = metadata.AppendToOutgoingContext(ctx, askedByRouter, s.config.ID)
	return routerv1.NewRouterServiceClient(conn).TopicInfo(ctx, req)
}

func topicInfo(topic string, info exchange.TopicInfo) *routerv1.TopicInfoResponse {
	resp := &routerv1.TopicInfoResponse{Topic: topic, Owner: info.Owner, View: info.View}
	reasons := map[exchange.Reason]routerv1.Reason{
		exchange.ReasonRow:          routerv1.Reason_REASON_ROW,
		exchange.ReasonFlood:        routerv1.Reason_REASON_FLOOD,
		exchange.ReasonSubscription: routerv1.Reason_REASON_SUBSCRIPTION,
	}
	for _, r := range info.Receivers {
		resp.Receivers = append(resp.Receivers, &routerv1.Receiver{Id: r.ID, Reason: reasons[r.Reason]})
	}
	return resp
}
