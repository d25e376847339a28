// Package admin serves operators: skein.admin.v1. What edges know it asks them
// over the streams that they hold open, since they have no gRPC port.
package admin

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/node"
	"github.com/skein-mesh/skein/pkg/rpc"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/services/router/attach"
	"github.com/skein-mesh/skein/services/router/exchange"
)

// Bounds of waiting for edges.
const (
	answerTime = 5 * time.Second        // for a caller that set no deadline
	tellTime   = 200 * time.Millisecond // before the deadline of one that did
)

// Bounds of a list of connections, or of topics.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// maxUser bounds the name of a user, in bytes.
const maxUser = 1024

// Edges is the way to the attached edges.
type Edges interface {
	// Call asks one edge and waits for its answer, see [attach.Server.Call].
	Call(ctx context.Context, edge string, call *meshv1.EdgeCall) (*meshv1.EdgeAnswer, error)
}

// Topics explains topics, whoever owns them.
type Topics interface {
	TopicInfo(ctx context.Context, req *routerv1.TopicInfoRequest) (*routerv1.TopicInfoResponse, error)
}

// Server serves AdminService. All methods may be called concurrently.
type Server struct {
	adminv1.UnimplementedAdminServiceServer

	// Static after construction.
	node     *node.Node
	exchange *exchange.Exchange
	edges    Edges
	topics   Topics
}

// New returns the service of the router that n describes.
func New(n *node.Node, x *exchange.Exchange, edges Edges, topics Topics) *Server {
	return &Server{node: n, exchange: x, edges: edges, topics: topics}
}

// Members implements skein.admin.v1.
func (s *Server) Members(context.Context, *adminv1.MembersRequest) (*adminv1.MembersResponse, error) {
	resp := &adminv1.MembersResponse{Self: s.node.ID(), View: s.exchange.View()}
	for _, e := range s.exchange.Edges() {
		resp.Edges = append(resp.Edges, &adminv1.AttachedEdge{
			Id: e.Hello.GetId(), Incarnation: e.Hello.GetIncarnation(), Version: e.Hello.GetVersion(),
			Synced: e.Synced, Rows: uint64(max(e.Rows, 0)),
		})
	}
	return resp, nil
}

// Node implements skein.admin.v1.
func (s *Server) Node(ctx context.Context, req *adminv1.NodeRequest) (*adminv1.NodeResponse, error) {
	if s.self(req.GetNode()) {
		return &adminv1.NodeResponse{Node: s.node.Describe()}, nil
	}
	answer, err := s.ask(ctx, req.GetNode(), &meshv1.EdgeCall{Call: &meshv1.EdgeCall_Describe{Describe: true}})
	if err != nil {
		return nil, err
	}
	return &adminv1.NodeResponse{Node: answer.GetNode()}, nil
}

// SetLogLevel implements skein.admin.v1.
func (s *Server) SetLogLevel(ctx context.Context, req *adminv1.SetLogLevelRequest) (*adminv1.SetLogLevelResponse, error) {
	if _, _, err := node.CheckLogLevel(req.GetLevel(), req.GetForMs()); err != nil {
		return nil, bad("level", err.Error())
	}
	change := &meshv1.SetLogLevel{Level: req.GetLevel(), ForMs: req.GetForMs(), By: rpc.Caller(ctx)}
	if s.self(req.GetNode()) {
		level, err := s.node.SetLogLevel(ctx, change)
		return &adminv1.SetLogLevelResponse{Node: s.node.ID(), LogLevel: level}, err
	}
	answer, err := s.ask(ctx, req.GetNode(), &meshv1.EdgeCall{Call: &meshv1.EdgeCall_SetLogLevel{SetLogLevel: change}})
	if err != nil {
		return nil, err
	}
	return &adminv1.SetLogLevelResponse{Node: req.GetNode(), LogLevel: answer.GetLogLevel()}, nil
}

// SetSampling implements skein.admin.v1.
func (s *Server) SetSampling(ctx context.Context, req *adminv1.SetSamplingRequest) (*adminv1.SetSamplingResponse, error) {
	change := &meshv1.SetSampling{Topics: req.GetTopics(), Ratio: req.Ratio, ForMs: req.GetForMs(), By: rpc.Caller(ctx)}
	if _, err := node.CheckSampling(change); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if s.self(req.GetNode()) {
		sampling, err := s.node.SetSampling(ctx, change)
		if err != nil {
			return nil, status.Error(codes.ResourceExhausted, err.Error())
		}
		return &adminv1.SetSamplingResponse{Node: s.node.ID(), Sampling: sampling}, nil
	}
	answer, err := s.ask(ctx, req.GetNode(), &meshv1.EdgeCall{Call: &meshv1.EdgeCall_SetSampling{SetSampling: change}})
	if err != nil {
		return nil, err
	}
	if refused := answer.GetSamplingSet().GetRefused(); refused != "" {
		return nil, status.Errorf(codes.ResourceExhausted, "edge %q: %s", req.GetNode(), refused)
	}
	return &adminv1.SetSamplingResponse{Node: req.GetNode(), Sampling: answer.GetSamplingSet().GetSampling()}, nil
}

func (s *Server) self(id string) bool { return id == "" || id == s.node.ID() }

// TracePublish implements skein.admin.v1.
func (s *Server) TracePublish(ctx context.Context, req *adminv1.TracePublishRequest) (*adminv1.TracePublishResponse, error) {
	topic := req.GetTopic()
	if err := channel.ValidateTopic(topic); err != nil {
		return nil, bad("topic", err.Error())
	}
	info, err := s.topics.TopicInfo(ctx, &routerv1.TopicInfoRequest{Topic: topic})
	if err != nil {
		return nil, err
	}
	return &adminv1.TracePublishResponse{
		Topic: topic, Asked: s.node.ID(), Owner: info.GetOwner(), View: info.GetView(),
		Receivers: receivers(info.GetReceivers(), s.inspectAll(ctx, &meshv1.Inspect{Topic: topic})),
	}, nil
}

// ask asks one edge; an error is a status.
func (s *Server) ask(ctx context.Context, edge string, call *meshv1.EdgeCall) (*meshv1.EdgeAnswer, error) {
	asking, cancel := context.WithTimeout(ctx, patience(ctx))
	defer cancel()
	answer, err := s.edges.Call(asking, edge, call)
	switch {
	case err == nil:
		return answer, nil
	case errors.Is(err, attach.ErrNotAttached):
		return nil, status.Errorf(codes.NotFound, "no edge %q is attached to router %s", edge, s.node.ID())
	case errors.Is(err, attach.ErrUnknown):
		return nil, status.Errorf(codes.Unimplemented, "edge %q runs a version that does not know the call", edge)
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return nil, status.Errorf(codes.Unavailable, "edge %q did not answer: %v", edge, err)
}

// patience is how long an edge has to answer: a little less than the caller has,
// who could not be told otherwise which of them did not.
func patience(ctx context.Context) time.Duration {
	deadline, set := ctx.Deadline()
	if !set {
		return answerTime
	}
	left := time.Until(deadline)
	return left - min(left/10, tellTime)
}

// bad is the status of a request that makes no sense.
func bad(field, format string) error {
	st := status.New(codes.InvalidArgument, field+" "+format)
	detailed, err := st.WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: format}},
	})
	if err != nil {
		return st.Err()
	}
	return detailed.Err()
}
