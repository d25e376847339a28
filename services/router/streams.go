package router

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var errLeaving = status.Error(codes.Unavailable, "this router is leaving")

// streams ends every stream when its Run ends: a gRPC server that stops would
// wait for them. It does so before the links to peers end, because an exchange
// without links would tell the edges that nobody is left.
type streams struct {
	mu     sync.Mutex // guards the fields below
	over   bool
	cancel map[*stream]context.CancelCauseFunc
}

func newStreams() *streams { return &streams{cancel: map[*stream]context.CancelCauseFunc{}} }

// endTime is how long streams may take to end. One whose other side does not
// read can only be cut by the server.
const endTime = time.Second

// Run ends all streams when ctx ends, and waits for them a while.
func (s *streams) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.over = true
	for _, cancel := range s.cancel {
		cancel(errLeaving)
	}
	s.mu.Unlock()
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer done()
	for s.count() > 0 && sleep(ctx, endTime/100) {
	}
	return nil
}

func (s *streams) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.cancel)
}

// intercept is a [grpc.StreamServerInterceptor].
func (s *streams) intercept(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, cancel := context.WithCancelCause(ss.Context())
	defer cancel(nil)
	st := &stream{ss, ctx}
	if !s.add(st, cancel) {
		return errLeaving
	}
	defer s.remove(st)
	return handler(srv, st)
}

func (s *streams) add(st *stream, cancel context.CancelCauseFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.cancel[st] = cancel
	return true
}

func (s *streams) remove(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cancel, st)
}

// stream is a gRPC stream with a context that [streams] can end.
type stream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements [grpc.ServerStream].
func (s *stream) Context() context.Context { return s.ctx }
