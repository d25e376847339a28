package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/grpc"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// outcome of one publish.
type outcome uint8

const (
	waiting outcome = iota
	accepted
	refused
)

// publisher numbers the messages of one topic and remembers what became of
// each. All methods may be called concurrently.
type publisher struct {
	topic int
	index uint32 // among the publishers of its topic
	size  int    // of a payload

	mu       sync.Mutex // guards the fields below
	outcomes []outcome
	sent     []time.Duration // when, since the run began
	inFlight int
	accepted int
	refused  int
	latency  *hdrhistogram.Histogram // of acknowledgements, microseconds
	failed   error
}

func newPublisher(topic int, index uint32, size int) *publisher {
	return &publisher{topic: topic, index: index, size: size, latency: newHistogram()}
}

// newHistogram holds 1 microsecond to 10 minutes with three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 600_000_000, 3) }

// record adds a time to a histogram, within its bounds.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 1), 600_000_000)) // always within bounds
}

// begin numbers one more message.
func (p *publisher) begin(now time.Duration) stamp {
	p.mu.Lock()
	defer p.mu.Unlock()
	seq := uint32(len(p.outcomes))
	p.outcomes = append(p.outcomes, waiting)
	p.sent = append(p.sent, now)
	p.inFlight++
	return stamp{p.index, seq, now}
}

// room is how many more messages may wait for an answer.
func (p *publisher) room(window int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return 0
	}
	return max(0, window-p.inFlight)
}

// end takes the answer to a message; a second answer is ignored.
func (p *publisher) end(seq uint64, ok bool, now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seq >= uint64(len(p.outcomes)) || p.outcomes[seq] != waiting {
		return
	}
	p.inFlight--
	record(p.latency, now-p.sent[seq])
	if ok {
		p.outcomes[seq] = accepted
		p.accepted++
	} else {
		p.outcomes[seq] = refused
		p.refused++
	}
}

// fail ends the publisher; what waits stays unanswered.
func (p *publisher) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		p.failed = err
	}
}

// err is why the publisher ended early, or nil.
func (p *publisher) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// counts are what became of all messages so far.
func (p *publisher) counts() (sent, ok, bad int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.outcomes), p.accepted, p.refused
}

// was says whether a message was accepted.
func (p *publisher) was(seq uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.outcomes[seq] == accepted
}

// sender carries messages of one publisher. send is called by one goroutine.
type sender interface {
	send(stamps []stamp) error
}

// grpcSender publishes on a stream of its own.
type grpcSender struct {
	publisher *publisher
	stream    grpc.BidiStreamingClient[routerv1.PublishStreamRequest, routerv1.PublishStreamResponse]
}

// openGRPC opens a stream whose answers are taken by the function it returns,
// until the stream ends.
func openGRPC(ctx context.Context, conn grpc.ClientConnInterface, p *publisher) (*grpcSender, error) {
	stream, err := routerv1.NewRouterServiceClient(conn).PublishStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("publish stream: %w", err)
	}
	return &grpcSender{p, stream}, nil
}

// receive takes answers until the stream ends.
func (g *grpcSender) receive(clock func() time.Duration) {
	for {
		resp, err := g.stream.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				g.publisher.fail(err)
			}
			return
		}
		g.publisher.end(resp.GetSeq(), resp.GetResult().GetCode() == 0, clock())
	}
}

func (g *grpcSender) send(stamps []stamp) error {
	for _, s := range stamps {
		err := g.stream.Send(&routerv1.PublishStreamRequest{Seq: uint64(s.seq), Message: &routerv1.Message{
			Topic: topicName(g.publisher.topic), Event: event,
			Payload: &routerv1.Message_Json{Json: string(appendPayload(nil, s, g.publisher.size))},
		}})
		if err != nil {
			return fmt.Errorf("publish stream: %w", err)
		}
	}
	return nil
}

// pace hands out messages to senders until stop says so.
type pace struct {
	publishers []*publisher
	senders    []sender // one for each publisher
	rate       float64  // over all; 0 is as fast as windows allow
	window     int
	clock      func() time.Duration
}

// run publishes from now on for the given time, or until ctx ends.
func (p *pace) run(ctx context.Context, duration time.Duration) {
	if p.rate > 0 {
		p.steady(ctx, duration)
	} else {
		p.flatOut(ctx, duration)
	}
}

// steady sends message k at k/rate; publishers take turns. One whose window is
// full misses its turn, which shows as a lower rate.
func (p *pace) steady(ctx context.Context, duration time.Duration) {
	began, total := p.clock(), int(p.rate*duration.Seconds())
	for k := 0; k < total && ctx.Err() == nil; {
		now := p.clock()
		due := min(total, 1+int((now-began).Seconds()*p.rate))
		for ; k < due; k++ {
			p.sendTo(k%len(p.publishers), 1)
		}
		next := began + time.Duration(float64(k)/p.rate*float64(time.Second))
		sleep(ctx, next-p.clock())
	}
	sleep(ctx, began+duration-p.clock())
}

// flatOut keeps every window full.
func (p *pace) flatOut(ctx context.Context, duration time.Duration) {
	for end := p.clock() + duration; p.clock() < end && ctx.Err() == nil; {
		sent := false
		for i := range p.publishers {
			sent = p.sendTo(i, p.window) || sent
		}
		if !sent {
			sleep(ctx, 200*time.Microsecond)
		}
	}
}

// sendTo sends up to n messages of one publisher, as its window allows.
func (p *pace) sendTo(i, n int) bool {
	publisher := p.publishers[i]
	n = min(n, publisher.room(p.window))
	if n == 0 {
		return false
	}
	stamps := make([]stamp, n)
	for j := range stamps {
		stamps[j] = publisher.begin(p.clock())
	}
	if err := p.senders[i].send(stamps); err != nil {
		publisher.fail(err)
	}
	return true
}

// sleep waits, at most until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
