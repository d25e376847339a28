package rpc

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/skein-mesh/skein/pkg/pump"
	"github.com/skein-mesh/skein/pkg/queue"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/people"
)

var (
	errLaterStream = status.Error(codes.Aborted, "presence: the edge attached on a later stream")
	errBehind      = status.Error(codes.ResourceExhausted, "presence: the edge is too far behind: attach again")
)

// said is one thing that is said to an edge: an update, or how much was taken in.
type said struct {
	update *presencev1.PeopleUpdate
	taken  uint64
}

// size of an update on the wire, in bytes.
func (s said) size() int { return proto.Size(s.update) }

// cost is the memory that an update takes while it waits, in bytes: its people
// are the ledger's own. The rest must always fit.
func (s said) cost() int {
	if s.update == nil {
		return 0
	}
	return changeBytes + personBytes*(len(s.update.GetPut())+len(s.update.GetGone()))
}

// Attach implements [presencev1.PeopleServiceServer].
func (s peopleServer) Attach(
	stream grpc.BidiStreamingServer[presencev1.PeopleServiceAttachRequest, presencev1.PeopleServiceAttachResponse],
) error {
	ctx, end := s.life(stream.Context())
	defer end()
	ctx, kick := context.WithCancelCause(ctx)
	defer kick(nil)
	p := &edgePort{room: s.room, kick: kick, out: queue.New(s.queues.edge, said.cost)}
	err := pump.Stream[said, presencev1.PeopleServiceAttachResponse, presencev1.PeopleServiceAttachRequest]{
		First:  &presencev1.PeopleServiceAttachResponse{Instance: s.members.Self().ID},
		Queue:  p.out,
		Size:   said.size,
		Pack:   packSaid,
		Beat:   func() *presencev1.PeopleServiceAttachResponse { return &presencev1.PeopleServiceAttachResponse{} },
		Handle: p.handle,
	}.Server(ctx, stream)
	p.ended()
	if errors.Is(err, errBehind) {
		s.metrics.cutOff(ctx, cutEdge)
	}
	return ending(ctx, err)
}

// edgePort is one edge's stream. It implements [people.Port].
type edgePort struct {
	// Static after construction.
	room *room
	kick context.CancelCauseFunc
	out  *queue.Queue[said]

	// mu guards the fields below. The room's is locked under it.
	mu   sync.Mutex
	edge *people.Edge
	over bool // the stream has ended: its receiver may be late
}

// Tell implements [people.Port].
func (p *edgePort) Tell(u *presencev1.PeopleUpdate) { p.push(said{update: u}) }

func (p *edgePort) push(s said) {
	if p.out.Push(s) != nil {
		p.kick(errBehind)
	}
}

// handle takes in one batch; an error ends the stream.
func (p *edgePort) handle(m *presencev1.PeopleServiceAttachRequest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return io.EOF
	}
	if p.edge == nil {
		if err := p.attach(m.GetHello()); err != nil {
			return err
		}
	}
	current := true
	p.room.do(func(l *people.Ledger, now time.Time) {
		if current = l.Current(p.edge, p); !current {
			return
		}
		for _, step := range m.GetSteps() {
			switch step := step.GetStep().(type) {
			case *presencev1.PeopleStep_Change:
				l.Change(p.edge, step.Change, now)
			case *presencev1.PeopleStep_Announcing:
				l.Announcing(p.edge, now)
			case *presencev1.PeopleStep_Announced:
				l.Announced(p.edge, step.Announced, now)
			}
		}
	})
	if !current {
		return errLaterStream
	}
	if m.GetSeq() > 0 {
		p.push(said{taken: m.GetSeq()})
	}
	return nil
}

func (p *edgePort) attach(hello *presencev1.PeopleHello) error {
	var replaced people.Port
	var err error
	p.room.do(func(l *people.Ledger, now time.Time) { p.edge, replaced, err = l.Attach(hello, p, now) })
	if earlier, ok := replaced.(*edgePort); ok {
		earlier.kick(errLaterStream)
	}
	switch {
	case errors.Is(err, people.ErrNoEdge):
		return status.Errorf(codes.InvalidArgument, "presence: the first message must be a hello: %v", err)
	case errors.Is(err, people.ErrEarlierLife):
		return status.Errorf(codes.FailedPrecondition, "presence: %v", err)
	case err != nil:
		return status.Errorf(codes.ResourceExhausted, "presence: %v", err)
	}
	return nil
}

// ended lets the edge's people stay for a moment: it may be back at once.
func (p *edgePort) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.edge != nil {
		p.room.do(func(l *people.Ledger, now time.Time) { l.Detach(p.edge, p, now) })
	}
}

// packSaid puts what is said into one message. Of what was taken in the last says
// it all.
func packSaid(items []said) *presencev1.PeopleServiceAttachResponse {
	m := &presencev1.PeopleServiceAttachResponse{}
	for _, s := range items {
		if s.update != nil {
			m.Updates = append(m.Updates, s.update)
		} else {
			m.Taken = s.taken
		}
	}
	return m
}
