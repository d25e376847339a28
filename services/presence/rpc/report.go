package rpc

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/pump"
	"github.com/skein-mesh/skein/pkg/queue"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/load"
)

// reports serves edges.
type reports struct {
	presencev1.UnimplementedPresenceServiceServer
	*Service
}

// Report implements [presencev1.PresenceServiceServer].
func (s reports) Report(stream grpc.BidiStreamingServer[presencev1.ReportRequest, presencev1.ReportResponse]) error {
	ctx, end := s.life(stream.Context())
	defer end()
	r := &reporter{
		Service: s.Service,
		stream:  s.board.open(),
		answers: queue.New(1, func(struct{}) int { return 1 }),
	}
	err := pump.Stream[struct{}, presencev1.ReportResponse, presencev1.ReportRequest]{
		Queue:  r.answers,
		Size:   func(struct{}) int { return 0 },
		Pack:   func([]struct{}) *presencev1.ReportResponse { return r.board.response(r.stream) },
		Beat:   func() *presencev1.ReportResponse { return r.board.response(r.stream) },
		Handle: func(req *presencev1.ReportRequest) error { return r.handle(ctx, req) },
	}.Server(ctx, stream)
	r.ended(err)
	return ending(ctx, err)
}

// reporter is one stream of reports.
type reporter struct {
	// Static after construction.
	*Service
	stream  uint64
	answers *queue.Queue[struct{}] // an item asks for an answer before the next beat

	// mu guards the fields below. The board's is locked under it.
	mu   sync.Mutex
	last *presencev1.Edge
	done bool // the stream has ended: its receiver may be late
}

// handle takes in one report; an error ends the stream.
func (r *reporter) handle(ctx context.Context, req *presencev1.ReportRequest) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return io.EOF
	}
	edge := req.GetEdge()
	err := check(edge)
	if r.last != nil && (edge.GetId() != r.last.GetId() || edge.GetIncarnation() != r.last.GetIncarnation()) {
		err = errors.Join(err, errors.New("a stream is of one life of one edge"))
	}
	if err != nil {
		r.metrics.refuse(ctx, refusedMalformed)
		return status.Errorf(codes.InvalidArgument, "presence: %v", err)
	}
	switch err := r.board.report(r.stream, edge); {
	case errors.Is(err, load.ErrEarlierLife):
		r.metrics.refuse(ctx, refusedEarlierLife)
		return status.Error(codes.FailedPrecondition, "presence: another process with this id was started later")
	case errors.Is(err, load.ErrReplaced):
		r.metrics.refuse(ctx, refusedReplaced)
		return status.Error(codes.Aborted, "presence: the edge reports on a later stream")
	case err != nil:
		r.metrics.refuse(ctx, refusedFull)
		return status.Errorf(codes.ResourceExhausted, "presence: more than %d edges", load.MaxEdges)
	}
	if r.last == nil {
		r.board.answer(r.stream, edge.GetId(), r.answers)
	}
	r.last = edge
	return nil
}

// ended removes the row at once if the edge said that it goes: it drains, and
// has closed the stream itself or has no connection left. Otherwise it may be
// back in a moment, and the row stays until its lease ends.
func (r *reporter) ended(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
	left := r.last.GetState() == presencev1.EdgeState_EDGE_STATE_DRAINING && (err == nil || r.last.GetConnections() == 0)
	r.board.ended(r.stream, r.last.GetId(), left)
}

// ending is what a stream answers at its end.
func ending(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pump.ErrSilent):
		return status.Error(codes.DeadlineExceeded, "presence: no report in time")
	case errors.Is(context.Cause(ctx), errStopping):
		return errStopping
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "presence: the stream was ended")
	}
	return err
}
