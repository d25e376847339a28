package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/cluster"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// Connections implements skein.admin.v1.
func (s *Server) Connections(ctx context.Context, req *adminv1.ConnectionsRequest) (*adminv1.ConnectionsResponse, error) {
	if err := validate(req); err != nil {
		return nil, err
	}
	limit := cmp.Or(req.GetLimit(), defaultLimit)
	what := &meshv1.Inspect{User: req.GetUser(), Topic: req.GetTopic(), MinQueueBytes: req.GetMinQueueBytes(), Limit: limit}
	var answers []inspected
	if edge := req.GetEdge(); edge != "" {
		found, err := s.inspect(ctx, edge, what)
		if status.Code(err) == codes.NotFound {
			return nil, err
		}
		answers = []inspected{{edge, found, err}}
	} else {
		answers = s.inspectAll(ctx, what)
	}
	return gather(answers, req.GetMinQueueBytes() > 0, int(limit)), nil
}

// validate tells what is wrong with a request. Everybody's connections are never
// meant by accident.
func validate(req *adminv1.ConnectionsRequest) error {
	filtered := req.GetTopic() != "" || req.GetUser() != "" || req.GetMinQueueBytes() > 0
	switch {
	case !filtered && !req.GetAll():
		return bad("topic", "is missing: name a topic, a user or a least queue, or ask for all with a limit")
	case !filtered && req.GetLimit() == 0:
		return bad("limit", fmt.Sprintf("is missing: all needs one, of at most %d", maxLimit))
	case req.GetLimit() > maxLimit:
		return bad("limit", fmt.Sprintf("must be at most %d, got %d", maxLimit, req.GetLimit()))
	case len(req.GetUser()) > maxUser:
		return bad("user", fmt.Sprintf("must be at most %d bytes, got %d", maxUser, len(req.GetUser())))
	}
	if err := channel.ValidateTopic(req.GetTopic()); req.GetTopic() != "" && err != nil {
		return bad("topic", err.Error())
	}
	if err := cluster.CheckID(req.GetEdge()); req.GetEdge() != "" && err != nil {
		return bad("edge", err.Error())
	}
	return nil
}

// Connection implements skein.admin.v1.
func (s *Server) Connection(ctx context.Context, req *adminv1.ConnectionRequest) (*adminv1.ConnectionResponse, error) {
	if err := cluster.CheckID(req.GetEdge()); err != nil {
		return nil, bad("edge", err.Error())
	}
	if req.GetId() == 0 {
		return nil, bad("id", "must be positive")
	}
	found, err := s.inspect(ctx, req.GetEdge(), &meshv1.Inspect{Id: req.GetId(), Limit: 1, Topics: true})
	if err != nil {
		return nil, err
	}
	if len(found.GetConnections()) == 0 {
		return nil, status.Errorf(codes.NotFound, "edge %q has no connection %d: it may have ended", req.GetEdge(), req.GetId())
	}
	return &adminv1.ConnectionResponse{Connection: found.GetConnections()[0]}, nil
}

// inspected is what one edge answered.
type inspected struct {
	edge  string
	found *meshv1.Inspected
	err   error // a status
}

func (s *Server) inspect(ctx context.Context, edge string, what *meshv1.Inspect) (*meshv1.Inspected, error) {
	answer, err := s.ask(ctx, edge, &meshv1.EdgeCall{Call: &meshv1.EdgeCall_Inspect{Inspect: what}})
	return answer.GetInspected(), err
}

// inspectAll asks all attached edges at once.
func (s *Server) inspectAll(ctx context.Context, what *meshv1.Inspect) []inspected {
	var answers []inspected
	for _, e := range s.exchange.Edges() {
		answers = append(answers, inspected{edge: e.Hello.GetId()})
	}
	var asked sync.WaitGroup
	for i := range answers {
		asked.Go(func() { answers[i].found, answers[i].err = s.inspect(ctx, answers[i].edge, what) })
	}
	asked.Wait()
	return answers
}

// gather puts answers together, and cuts what is over the limit.
func gather(answers []inspected, longest bool, limit int) *adminv1.ConnectionsResponse {
	resp := &adminv1.ConnectionsResponse{}
	for _, a := range answers {
		if a.err != nil {
			resp.Silent = append(resp.Silent, &adminv1.SilentEdge{Edge: a.edge, Reason: status.Convert(a.err).Message()})
			continue
		}
		resp.Edges++
		resp.Matched += a.found.GetMatched()
		resp.Connections = append(resp.Connections, a.found.GetConnections()...)
	}
	slices.SortFunc(resp.GetConnections(), func(a, b *meshv1.ConnectionInfo) int {
		byName := cmp.Or(cmp.Compare(a.GetEdge(), b.GetEdge()), cmp.Compare(a.GetId(), b.GetId()))
		if longest {
			return cmp.Or(cmp.Compare(b.GetQueueBytes(), a.GetQueueBytes()), byName)
		}
		return byName
	})
	resp.Connections = resp.GetConnections()[:min(len(resp.GetConnections()), limit)]
	return resp
}

// receivers says of those who would get a message how many clients each has, and
// names the edges that have some and would not.
func receivers(get []*routerv1.Receiver, have []inspected) []*adminv1.TraceReceiver {
	reasons := map[routerv1.Reason]adminv1.TraceReason{
		routerv1.Reason_REASON_ROW:          adminv1.TraceReason_TRACE_REASON_ROW,
		routerv1.Reason_REASON_FLOOD:        adminv1.TraceReason_TRACE_REASON_FLOOD,
		routerv1.Reason_REASON_SUBSCRIPTION: adminv1.TraceReason_TRACE_REASON_SUBSCRIPTION,
	}
	var all []*adminv1.TraceReceiver
	for _, r := range get {
		receiver := &adminv1.TraceReceiver{Id: r.GetId(), Reason: reasons[r.GetReason()]}
		if r.GetReason() != routerv1.Reason_REASON_SUBSCRIPTION {
			i := slices.IndexFunc(have, func(a inspected) bool { return a.edge == r.GetId() })
			switch {
			case i < 0:
				receiver.Problem = "the edge is not attached to the router that answers"
			case have[i].err != nil:
				receiver.Problem = status.Convert(have[i].err).Message()
			default:
				receiver.Channels = have[i].found.GetMatched()
			}
		}
		all = append(all, receiver)
	}
	for _, a := range have {
		gets := slices.ContainsFunc(get, func(r *routerv1.Receiver) bool {
			return r.GetId() == a.edge && r.GetReason() != routerv1.Reason_REASON_SUBSCRIPTION
		})
		if !gets && a.found.GetMatched() > 0 {
			all = append(all, &adminv1.TraceReceiver{
				Id: a.edge, Reason: adminv1.TraceReason_TRACE_REASON_MISSED, Channels: a.found.GetMatched(),
			})
		}
	}
	slices.SortStableFunc(all, func(a, b *adminv1.TraceReceiver) int { return cmp.Compare(a.GetId(), b.GetId()) })
	return all
}
