package people

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skein-mesh/skein/pkg/pump"
	"github.com/skein-mesh/skein/pkg/queue"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// target is one instance where it listens.
type target struct{ id, address string }

// link keeps a stream to one instance.
type link struct {
	target
	tracker *Tracker
	cancel  context.CancelFunc
}

// pause between two attempts; a random part is added.
const pause = 250 * time.Millisecond

func (t *Tracker) start(ctx context.Context, at target) *link {
	ctx, cancel := context.WithCancel(ctx)
	l := &link{target: at, tracker: t, cancel: cancel}
	t.running.Go(func() { l.run(ctx) })
	return l
}

func (l *link) run(ctx context.Context) {
	log := l.tracker.deps.Log.With("presence", l.id, "address", l.address)
	for quiet := false; ; {
		attached, err := l.attach(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case quiet && !attached:
			log.DebugContext(ctx, "people not told to presence", "error", err)
		default:
			log.WarnContext(ctx, "people not told to presence, trying again", "error", err)
			quiet = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(float64(pause) * (0.5 + rand.Float64()))): //nolint:gosec // jitter
		}
	}
}

// attach runs one stream from its dial to its end, and reports whether the
// instance answered.
func (l *link) attach(ctx context.Context) (attached bool, _ error) {
	t := l.tracker
	conn, err := t.deps.Dial(l.address)
	if err != nil {
		return false, fmt.Errorf("dial: %w", err)
	}
	defer conn.Close() //nolint:errcheck // the stream has ended
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &stream{target: l.target, kick: cancel, out: queue.New(t.cfg.QueueBytes, cost)}
	hello := &presencev1.PeopleHello{Edge: t.cfg.ID, Incarnation: t.cfg.Incarnation}
	err = pump.Stream[*presencev1.PeopleStep, presencev1.PeopleServiceAttachRequest, presencev1.PeopleServiceAttachResponse]{
		First:  &presencev1.PeopleServiceAttachRequest{Hello: hello},
		Queue:  s.out,
		Size:   size,
		Pack:   s.pack,
		Beat:   func() *presencev1.PeopleServiceAttachRequest { return &presencev1.PeopleServiceAttachRequest{} },
		Handle: func(m *presencev1.PeopleServiceAttachResponse) error { return t.handle(s, m) },
	}.Client(ctx, presencev1.NewPeopleServiceClient(conn).Attach)
	t.do(func(c *core) {
		c.detach(l.id, s)
		if errors.Is(err, queue.ErrFull) {
			c.counts.cut++
		}
	})
	return s.instance != "", err
}

// stream is one stream to an instance. It implements port.
type stream struct {
	// Static after construction.
	target
	kick context.CancelCauseFunc
	out  *queue.Queue[*presencev1.PeopleStep]

	instance string // that answered; owned by the receiver
	packed   uint64 // steps sent so far; owned by the sender

	// Guarded by the tracker's lock.
	said  uint64 // steps so far
	taken uint64 // of them, those that the instance took in
}

// say implements port. A stream that cannot hold it ends: the next one begins
// with all there is.
func (s *stream) say(step *presencev1.PeopleStep) {
	s.said++
	if s.out.Push(step) != nil {
		s.kick(queue.ErrFull)
	}
}

func (s *stream) pack(steps []*presencev1.PeopleStep) *presencev1.PeopleServiceAttachRequest {
	s.packed += uint64(len(steps))
	m := &presencev1.PeopleServiceAttachRequest{Seq: s.packed}
	m.Steps = append(m.Steps, steps...) // the slice is used again
	return m
}

// size of a step on the wire, in bytes.
func size(step *presencev1.PeopleStep) int { return proto.Size(step) }

// What a step takes of a queue, and a person in it, in bytes.
const (
	stepBytes   = 128
	personBytes = 16
)

// cost is the memory that a step takes while it waits, in bytes: its people are
// those of the replica.
func cost(step *presencev1.PeopleStep) int {
	c := step.GetChange()
	return stepBytes + personBytes*(len(c.GetPut())+len(c.GetGone())+len(c.GetMoving()))
}
