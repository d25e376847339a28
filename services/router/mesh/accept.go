package mesh

import (
	"context"
	"errors"
	"math"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/pump"
	"github.com/skein-mesh/skein/pkg/queue"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

var errOver = errors.New("the stream is over")

// Peer serves the link of one other router until its stream ends.
func (m *Mesh) Peer(stream meshv1.MeshService_PeerServer) error {
	// What waits are answers only, and their number is bounded by what the peer
	// itself lets wait.
	a := &accepted{exchange: m.exchange, out: queue.New(math.MaxInt, answer.cost)}
	defer a.close()
	err := pump.Stream[answer, meshv1.PeerResponse, meshv1.PeerRequest]{
		First:  &meshv1.PeerResponse{Hello: m.config.Self},
		Queue:  a.out,
		Size:   func(answer) int { return answerSize },
		Pack:   packResponse,
		Beat:   func() *meshv1.PeerResponse { return &meshv1.PeerResponse{Beat: true} },
		Handle: a.handle,
	}.Server(stream.Context(), stream)
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, pump.ErrSilent):
		return status.Error(codes.DeadlineExceeded, err.Error())
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Unavailable, err.Error())
}

// accepted is a stream that a peer opened. It implements [exchange.Origin] for
// the peer's forwards.
type accepted struct {
	exchange *exchange.Exchange
	out      *queue.Queue[answer]
	in       *exchange.Inbound // owned by the receiver once it is set

	mu   sync.Mutex // held while accepting and dismissing
	over bool
}

// handle takes in one batch. The receiver may call it once after the stream
// ended.
func (a *accepted) handle(m *meshv1.PeerRequest) error {
	if a.in == nil {
		if err := a.accept(m.GetHello()); err != nil {
			return err
		}
	}
	if m.GetSubscriptions() != nil || m.GetEdges() != nil || len(m.GetRows()) > 0 {
		a.exchange.Heard(a.in, m)
	}
	for _, f := range m.GetForwards() {
		a.exchange.Forward(a.in, f)
	}
	for _, b := range m.GetDeliveries() {
		a.exchange.Arrived(b)
	}
	if m.GetReleased() != 0 {
		a.exchange.Released(a.in, m.GetReleased())
	}
	if s := m.GetSubscriptions(); s != nil { // last: it also says that all the rest was taken in
		_ = a.out.Push(answer{subscriptions: s.GetSeq()}) // has no limit
	}
	return nil
}

func (a *accepted) accept(hello *meshv1.Hello) error {
	if hello.GetId() == "" {
		return status.Error(codes.InvalidArgument, "the first message must be a hello with an id")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return errOver
	}
	a.in = a.exchange.Accept(hello.GetId(), a)
	return nil
}

func (a *accepted) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	if a.in != nil {
		a.exchange.Dismiss(a.in)
	}
}

// Done implements [exchange.Origin].
func (a *accepted) Done(seq uint64, o exchange.Outcome) {
	_ = a.out.Push(answer{seq: seq, refused: o.Error}) // has no limit
}

// answer is one thing that a router answers a peer: the end of a forward, or
// the subscriptions it has taken in.
type answer struct {
	seq           uint64
	refused       meshv1.PublishError
	subscriptions uint64
}

const answerSize = 16 // on the wire, roughly

func (answer) cost() int { return answerSize }

func packResponse(items []answer) *meshv1.PeerResponse {
	m := &meshv1.PeerResponse{}
	for _, it := range items {
		if it.subscriptions != 0 {
			m.SubscriptionsAck = it.subscriptions
			continue
		}
		m.Acks = append(m.Acks, &meshv1.PublishAck{Seq: it.seq, Error: it.refused})
	}
	return m
}
