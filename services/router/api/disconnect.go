package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/services/router/attach"
)

// Bounds of waiting for edges.
const (
	disconnectTime = 5 * time.Second        // for a caller that set no deadline
	tellTime       = 200 * time.Millisecond // before the deadline of one that did
)

// Bounds of names in a request, in bytes.
const (
	maxUser = 1024
	maxEdge = 255
)

// Edges is the way to the attached edges.
type Edges interface {
	// Call asks one edge and waits for its answer, see [attach.Server.Call].
	Call(ctx context.Context, edge string, call *meshv1.EdgeCall) (*meshv1.EdgeAnswer, error)
}

// Disconnect implements skein.router.v1. Every edge attaches to every router, so
// this one reaches them all.
func (s *Server) Disconnect(ctx context.Context, req *routerv1.DisconnectRequest) (*routerv1.DisconnectResponse, error) {
	if bad := validateDisconnect(req); bad != nil {
		return nil, bad.err()
	}
	asking, cancel := context.WithTimeout(ctx, patience(ctx))
	defer cancel()
	var edges []string
	if c := req.GetConnection(); c != nil {
		edges = []string{c.GetEdge()}
	} else {
		for _, e := range s.exchange.Edges() {
			edges = append(edges, e.Hello.GetId())
		}
	}
	resp, silent := s.disconnect(asking, edges, req)
	switch {
	case len(silent) == 0:
		return resp, nil
	case errors.Is(silent[0].err, attach.ErrNotAttached) && req.GetConnection() != nil:
		return nil, status.Errorf(codes.NotFound, "edge %q is not attached to router %s", silent[0].edge, s.config.ID)
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	reasons := make([]string, 0, len(silent))
	for _, e := range silent {
		reasons = append(reasons, fmt.Sprintf("%s (%v)", e.edge, e.err))
	}
	return nil, status.Errorf(codes.Unavailable, "%d of %d edges did not answer, try again: %s",
		len(silent), len(edges), strings.Join(reasons, ", "))
}

// patience is how long edges have to answer: a little less than the caller has,
// who could not be told otherwise which of them did not.
func patience(ctx context.Context) time.Duration {
	deadline, set := ctx.Deadline()
	if !set {
		return disconnectTime
	}
	left := time.Until(deadline)
	return left - min(left/10, tellTime)
}

// silentEdge did not answer.
type silentEdge struct {
	edge string
	err  error
}

// disconnect tells the edges, all at once, and sums their answers.
func (s *Server) disconnect(ctx context.Context, edges []string, req *routerv1.DisconnectRequest) (*routerv1.DisconnectResponse, []silentEdge) {
	var asked sync.WaitGroup
	answers, errs := make([]*meshv1.Disconnected, len(edges)), make([]error, len(edges))
	for i, edge := range edges {
		asked.Go(func() {
			var answer *meshv1.EdgeAnswer
			answer, errs[i] = s.edges.Call(ctx, edge, disconnectCall(req))
			answers[i] = answer.GetDisconnected()
		})
	}
	asked.Wait()
	resp := &routerv1.DisconnectResponse{}
	var silent []silentEdge
	for i, edge := range edges {
		switch {
		case errs[i] != nil:
			silent = append(silent, silentEdge{edge, errs[i]})
		case answers[i] == nil:
			silent = append(silent, silentEdge{edge, attach.ErrUnknown})
		default:
			resp.Edges++
			resp.Connections += answers[i].GetConnections()
			resp.Channels += answers[i].GetChannels()
		}
	}
	return resp, slices.Clip(silent)
}

// disconnectCall makes a call of its own for each edge: a call belongs to one
// stream.
func disconnectCall(req *routerv1.DisconnectRequest) *meshv1.EdgeCall {
	d := &meshv1.Disconnect{User: req.GetUser(), Topic: req.GetTopic()}
	if c := req.GetConnection(); c != nil {
		d.Connection = &meshv1.Connection{Edge: c.GetEdge(), Id: c.GetId()}
	}
	return &meshv1.EdgeCall{Call: &meshv1.EdgeCall_Disconnect{Disconnect: d}}
}

// validateDisconnect tells everything that is wrong with a request.
func validateDisconnect(req *routerv1.DisconnectRequest) problems {
	c := req.GetConnection()
	if req.GetUser() == "" && req.GetTopic() == "" && c == nil {
		return badField("user", "is missing: name a user, a connection or a topic")
	}
	var bad problems
	if n := len(req.GetUser()); n > maxUser {
		bad = append(bad, badField("user", "must be at most %d bytes, got %d", maxUser, n)...)
	}
	if req.GetTopic() != "" {
		bad = append(bad, validateTopic(req.GetTopic(), "topic")...)
	}
	if c == nil {
		return bad
	}
	if n := len(c.GetEdge()); n == 0 || n > maxEdge {
		bad = append(bad, badField("connection.edge", "must be 1 to %d bytes, got %d", maxEdge, n)...)
	}
	if c.GetId() == 0 {
		bad = append(bad, badField("connection.id", "must be positive")...)
	}
	return bad
}
