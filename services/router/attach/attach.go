// Package attach serves edges: each stream is a port of the exchange. It moves
// and translates; what goes where is the exchange's decision.
//
// A stream has two goroutines, gRPC's handler that sends and one that receives.
// Whatever the exchange says to an edge passes one bounded queue, so a delivery
// precedes the acknowledgement of its own publish. A delivery that finds the
// queue full is dropped, which the exchange counts; the rest costs nothing there
// and always fits: what is called of an edge is bounded by itself, see
// [Server.Call].
package attach

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/pump"
	"github.com/skein-mesh/skein/pkg/queue"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

// DefaultQueueBytes is what may wait for one edge unless told otherwise.
const DefaultQueueBytes = 64 << 20

var (
	errReplaced = errors.New("a later stream of this edge took over")
	errOver     = errors.New("the stream is over")
)

// Server serves the Attach method of MeshService.
type Server struct {
	// Static after construction.
	exchange   *exchange.Exchange
	hello      *meshv1.Hello
	queueBytes int
	log        *slog.Logger

	mu      sync.Mutex       // guards the fields below
	ports   map[string]*port // of attached edges, by id
	leaving bool
}

// New returns a server for edges. hello names this router; at most queueBytes
// of deliveries wait for one edge.
func New(x *exchange.Exchange, hello *meshv1.Hello, queueBytes int, log *slog.Logger) *Server {
	return &Server{exchange: x, hello: hello, queueBytes: queueBytes, log: log, ports: map[string]*port{}}
}

// Attach serves one edge until its stream ends or a later one replaces it.
func (s *Server) Attach(stream meshv1.MeshService_AttachServer) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	p := &port{server: s, out: queue.New(s.queueBytes, item.cost), kick: cancel}
	defer p.close(ctx)
	err := pump.Stream[item, meshv1.AttachResponse, meshv1.AttachRequest]{
		First:  &meshv1.AttachResponse{Hello: s.hello},
		Queue:  p.out,
		Size:   item.size,
		Pack:   pack,
		Beat:   func() *meshv1.AttachResponse { return &meshv1.AttachResponse{Beat: true} },
		Handle: func(m *meshv1.AttachRequest) error { return p.handle(ctx, m) },
	}.Server(ctx, stream)
	return answer(err)
}

// port is one edge's stream. It implements [exchange.Port].
type port struct {
	server *Server
	out    *queue.Queue[item]
	kick   context.CancelCauseFunc
	edge   *exchange.Edge // owned by the receiver once it is set
	calls  calls

	mu   sync.Mutex // held while attaching and detaching
	over bool
}

// handle takes in one batch. The receiver may call it once after the stream
// ended.
func (p *port) handle(ctx context.Context, m *meshv1.AttachRequest) error {
	x := p.server.exchange
	if p.edge == nil {
		if err := p.attach(ctx, m.GetHello()); err != nil {
			return err
		}
	}
	for _, i := range m.GetInterest() {
		view := x.Interest(p.edge, i)
		p.push(item{interestAck: &meshv1.InterestAck{Seq: i.GetSeq(), View: view}})
	}
	for _, publish := range m.GetPublishes() {
		x.Publish(exchange.FromEdge, p, publish)
	}
	if m.GetFenced() != 0 {
		x.Fenced(p.edge, m.GetFenced())
	}
	for _, a := range m.GetAnswers() {
		p.calls.answer(a)
	}
	return nil
}

func (p *port) attach(ctx context.Context, hello *meshv1.Hello) error {
	if hello.GetId() == "" {
		return status.Error(codes.InvalidArgument, "the first message must be a hello with an id")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return errOver
	}
	edge, replaced, err := p.server.exchange.Attach(hello, p)
	if err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	p.edge = edge
	p.server.enter(p)
	if earlier, ok := replaced.(*port); ok {
		earlier.kick(errReplaced)
	}
	p.server.log.InfoContext(ctx, "edge attached",
		"edge", hello.GetId(), "incarnation", hello.GetIncarnation(), "version", hello.GetVersion(), "replaces", replaced != nil)
	return nil
}

func (p *port) close(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.edge != nil {
		p.server.exit(p)
		p.calls.end()
		p.server.exchange.Detach(p.edge)
		p.server.log.InfoContext(ctx, "edge detached", "edge", p.edge.ID(), "reason", context.Cause(ctx))
	}
}

// Deliver implements [exchange.Port].
func (p *port) Deliver(b *meshv1.Broadcast) bool { return p.out.Push(item{delivery: b}) == nil }

// Done implements [exchange.Port].
func (p *port) Done(seq uint64, o exchange.Outcome) { p.push(item{seq: seq, refused: o.Error}) }

// Fence implements [exchange.Port].
func (p *port) Fence(number uint64) { p.push(item{fence: number}) }

// View implements [exchange.Port].
func (p *port) View(v *meshv1.View) { p.push(item{view: v}) }

// push queues what is not a delivery: it costs nothing and so always fits.
func (p *port) push(it item) {
	if p.out.Push(it) != nil {
		p.kick(queue.ErrFull) // an edge that cannot be told the truth must come again
	}
}

func answer(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, errReplaced):
		return status.Error(codes.Aborted, err.Error())
	case errors.Is(err, pump.ErrSilent):
		return status.Error(codes.DeadlineExceeded, err.Error())
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Unavailable, err.Error())
}
