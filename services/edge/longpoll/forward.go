package longpoll

import (
	"context"
	"errors"
	"net/http"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	grpcstatus "google.golang.org/grpc/status"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Bounds of passing a request on.
const (
	passTime   = 5 * time.Second        // beyond the window, for the way there and back
	retryTime  = 2 * time.Second        // for a router that did not pass it on
	retryPause = 100 * time.Millisecond // before another router is asked
)

// forward passes a request on to the edge that holds its session. It is sent
// again only if it certainly did not arrive: a message twice would be as wrong
// as one that is lost. Every other failure ends the session for the client.
func (s *Server) forward(ctx context.Context, req *meshv1.PollRequest) *meshv1.PollResponse {
	if !req.GetPublish() && s.leaving() {
		return status(http.StatusNoContent) // ask again, elsewhere
	}
	s.count.forwards.Add(1)
	ctx, cancel := context.WithTimeout(ctx, s.opts.Limits.Window+passTime)
	defer cancel()
	defer s.cutting(&cancel)()
	for began := time.Now(); ; {
		answer, err := s.pass(ctx, req)
		switch {
		case err == nil:
			return answer
		case !notPassedOn(err) || time.Since(began) >= retryTime || !pause(ctx, retryPause):
			s.opts.Log.DebugContext(ctx, "long-poll request not passed on", "edge", req.GetEdge(), "error", err)
			return status(http.StatusInternalServerError)
		}
	}
}

// pass asks one router.
func (s *Server) pass(ctx context.Context, req *meshv1.PollRequest) (*meshv1.PollResponse, error) {
	conn, ok := s.opts.Router()
	if !ok {
		return nil, errNoRouter
	}
	return meshv1.NewMeshServiceClient(conn).Poll(ctx, req)
}

var errNoRouter = errors.New("longpoll: no router is attached")

// leaving is the reason of a router that did not pass a request on.
const leaving = "LEAVING"

func notPassedOn(err error) bool {
	if errors.Is(err, errNoRouter) {
		return true
	}
	for _, detail := range grpcstatus.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetReason() == leaving {
			return true
		}
	}
	return false
}

// pause waits for d; false means that ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// cutting makes the end of a drain cancel a request, until it is undone.
func (s *Server) cutting(cancel *context.CancelFunc) (undo func()) {
	s.mu.Lock()
	s.forwards[cancel] = struct{}{}
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		delete(s.forwards, cancel)
		s.mu.Unlock()
		signal(s.ending)
	}
}

// cut cancels what other edges have not answered.
func (s *Server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for cancel := range s.forwards {
		(*cancel)()
	}
}
