package router

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/api"
	"github.com/skein-mesh/skein/services/router/attach"
)

// Poll implements skein.mesh.v1: it passes the request on to the edge it names.
func (s *meshService) Poll(ctx context.Context, req *meshv1.PollRequest) (*meshv1.PollResponse, error) {
	if req.GetEdge() == "" || req.GetSession() == "" {
		return nil, status.Error(codes.InvalidArgument, "name an edge and a session")
	}
	answer, err := s.edges.Call(ctx, req.GetEdge(), &meshv1.EdgeCall{Call: &meshv1.EdgeCall_Poll{Poll: req}})
	switch {
	case err == nil && answer.GetPoll() != nil:
		return answer.GetPoll(), nil
	case err == nil:
		return nil, status.Error(codes.Aborted, "the edge answered something else")
	case errors.Is(err, attach.ErrNotAttached):
		return nil, status.Errorf(codes.NotFound, "edge %q: %v", req.GetEdge(), err)
	case errors.Is(err, attach.ErrBusy):
		return nil, status.Errorf(codes.ResourceExhausted, "edge %q: %v", req.GetEdge(), err)
	case errors.Is(err, attach.ErrLeaving):
		return nil, api.Leaving(s.id, "the request was not passed on, send it to another router")
	case errors.Is(err, attach.ErrLost), errors.Is(err, attach.ErrUnknown):
		return nil, status.Errorf(codes.Aborted, "edge %q: %v", req.GetEdge(), err)
	}
	return nil, status.FromContextError(err).Err()
}
