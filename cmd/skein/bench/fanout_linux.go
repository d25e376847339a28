package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/grpc"
)

// fanout counts deliveries. It belongs to the loop.
type fanout struct {
	heads      [][]byte       // how broadcasts of each topic begin
	byTopic    [][]*publisher // publishers of each topic
	publishers []*publisher   // all of them; topics take turns

	got        int          // each message once
	soFar      atomic.Int64 // the same as of the latest poll, for other goroutines
	duplicates int
	disordered int
	foreign    int
	latency    *hdrhistogram.Histogram
	last       time.Time // of the latest delivery
}

func newFanout(o FanoutOptions) *fanout {
	f := &fanout{byTopic: make([][]*publisher, o.Topics), latency: newHistogram()}
	for t := range o.Topics {
		f.heads = append(f.heads, broadcastHead(topicName(t)))
	}
	for i := range o.Publishers {
		t := i % o.Topics
		p := newPublisher(t, uint32(len(f.byTopic[t])), o.Payload)
		f.byTopic[t] = append(f.byTopic[t], p)
		f.publishers = append(f.publishers, p)
	}
	return f
}

// delivery counts a frame if it is a broadcast.
func (f *fanout) delivery(c *conn, payload []byte, now time.Duration) bool {
	head := f.heads[c.topic]
	if !bytes.HasPrefix(payload, head) {
		if bytes.HasPrefix(payload, []byte("[null,null,")) {
			f.foreign++
			return true
		}
		return false
	}
	s, err := parsePayload(payload[len(head):])
	if err != nil {
		f.foreign++
		return true
	}
	switch c.tally.take(s.publisher, s.seq) {
	case outOfOrder:
		f.disordered++
	case duplicate:
		f.duplicates++
		return true
	case foreign:
		f.foreign++
		return true
	case inOrder:
	}
	f.got++
	f.last = time.Now()
	record(f.latency, now-s.sent)
	return true
}

// answer takes the reply to a publisher's message.
func (f *fanout) answer(c *conn, m message, now time.Duration) {
	seq, err := strconv.ParseUint(m.ref, 10, 32)
	if c.pub != nil && err == nil {
		c.pub.end(seq, replied(m.payload), now)
	}
}

// progress is how many deliveries the accepted messages make, and whether every
// message was answered.
func (f *fanout) progress(subscribers int) (expected int, answered bool) {
	answered = true
	for _, p := range f.publishers {
		sent, ok, bad := p.counts()
		expected += ok * subscribers
		answered = answered && sent == ok+bad
	}
	return expected, answered
}

// result counts what is missing in the end.
func (f *fanout) result(conns []*conn, o FanoutOptions, publishing, whole time.Duration) *Fanout {
	r := &Fanout{
		Delivered: f.got, Duplicated: f.duplicates, OutOfOrder: f.disordered, Foreign: f.foreign,
		Seconds: whole.Seconds(), Latency: quantiles(f.latency),
	}
	acknowledged := newHistogram()
	for _, p := range f.publishers {
		sent, ok, bad := p.counts()
		r.Published += ok
		r.Refused += bad
		r.Unanswered += sent - ok - bad
		acknowledged.Merge(p.latency)
	}
	for _, c := range conns {
		for i, p := range f.byTopic[c.topic] {
			sent, _, _ := p.counts()
			r.Lost += c.tally.lost(i, uint32(sent), p.was)
		}
	}
	r.Expected = r.Published * o.Sockets
	r.Acknowledged = quantiles(acknowledged)
	r.PublishedPerSecond = perSecond(r.Published, publishing.Seconds())
	r.DeliveriesPerSecond = perSecond(r.Delivered, whole.Seconds())
	return r
}

// socketSender publishes on a subscriber's socket, many messages in one write.
type socketSender struct {
	conn *conn
	buf  []byte
	text []byte
}

func (s *socketSender) send(stamps []stamp) error {
	s.buf = s.buf[:0]
	for _, st := range stamps {
		s.text = appendPush(s.text[:0], topicName(s.conn.topic), st, s.conn.pub.size)
		s.buf = appendFrame(s.buf, opText, s.text)
	}
	return s.conn.write(s.buf)
}

// FanOut publishes to topics with subscribers. router connects to a router; it
// is called if messages are published through gRPC.
func FanOut(ctx context.Context, o FanoutOptions, router func(context.Context) (*grpc.ClientConn, error)) (*Report, error) {
	report := &Report{Scenario: "fanout"}
	err := against(ctx, floorOptions{o.Common, o.Coalesce}, report, func(ctx context.Context, common Common, onFloor bool) (*Result, error) {
		o := o
		if onFloor { // it only has sockets
			o.Via, o.PublishEdge = viaSocket, nil
		}
		o.Common = common
		return fanOut(ctx, o, router)
	})
	return report, err
}

func fanOut(ctx context.Context, o FanoutOptions, router func(context.Context) (*grpc.ClientConn, error)) (*Result, error) {
	r, result, err := subscribe(ctx, o)
	if err != nil {
		return nil, err
	}
	defer r.loop.close()
	return result, r.publish(ctx, o, result, router)
}

// subscribe begins a run: it opens the sockets and joins their topics. The caller
// closes the loop.
func subscribe(ctx context.Context, o FanoutOptions) (_ *run, _ *Result, err error) {
	subscribers := len(o.Edge)
	o.Edge = append(slices.Clone(o.Edge), o.PublishEdge...)
	r, err := newRun(ctx, o.Common, o.Topics*o.Sockets)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			r.loop.close()
		}
	}()
	r.fanout = newFanout(o)
	r.topicOf = func(c *conn, _ int) int { return c.topic }
	err = r.dial(ctx, o.Topics*o.Sockets, func(i int) (*conn, int) {
		c := &conn{topic: i % o.Topics}
		publishers := r.fanout.byTopic[c.topic]
		c.tally = newTally(len(publishers))
		edge := i % subscribers
		if nth := i / o.Topics; o.Via == viaSocket && nth < len(publishers) {
			c.pub = publishers[nth]
			if extra := len(o.PublishEdge); extra > 0 {
				edge = subscribers + nth%extra
			}
		}
		return c, edge
	})
	if err = errors.Join(err, r.joinAllIf(ctx, err == nil)); err != nil {
		return nil, nil, err
	}
	if r.first != nil {
		return nil, nil, r.first
	}
	result := &Result{Operation: "delivery", Connect: r.connect.result(time.Now()), Join: r.join.result(time.Now())}
	return r, result, r.wait(ctx, o.Settle)
}

func (r *run) joinAllIf(ctx context.Context, connected bool) error {
	if !connected {
		return nil
	}
	return r.joinAll(ctx, 1)
}

// publish runs the measured part.
func (r *run) publish(ctx context.Context, o FanoutOptions, result *Result, router func(context.Context) (*grpc.ClientConn, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel()
	senders, err := r.senders(ctx, o, router, &background)
	if err != nil {
		return err
	}
	p := &pace{r.fanout.publishers, senders, o.Rate, o.Window, r.clock}
	processes, _ := parsePids(o.Pids) // was validated
	target, self, err := watches(processes)
	if err != nil {
		return err
	}
	began, done := time.Now(), make(chan time.Time, 1)
	publishing, stop := context.WithCancel(ctx)
	defer stop()
	if r.alongside != nil {
		background.Go(func() {
			r.alongside(publishing)
			stop()
		})
	}
	background.Go(func() {
		p.run(publishing, o.Duration)
		done <- time.Now()
	})
	ended, err := r.settle(ctx, o, done)
	if err != nil {
		return err
	}
	result.Fanout = r.fanout.result(r.loop.conns, o, ended.Sub(began), r.fanout.last.Sub(began))
	r.finish(result, target, self, r.fanout.got)
	for _, p := range r.fanout.publishers {
		if err := p.err(); err != nil && result.Problem == "" {
			result.Problem = "publisher: " + err.Error()
		}
	}
	return nil
}

// settle handles deliveries until publishing has ended and the last one came,
// or none came for a while.
func (r *run) settle(ctx context.Context, o FanoutOptions, done <-chan time.Time) (ended time.Time, err error) {
	got, changed := 0, time.Now()
	for {
		if err := r.loop.poll(5 * time.Millisecond); err != nil {
			return ended, err
		}
		r.fanout.soFar.Store(int64(r.fanout.got))
		if ctx.Err() != nil {
			return ended, ctx.Err()
		}
		if ended.IsZero() {
			select {
			case ended = <-done:
				changed = time.Now()
			default:
				continue
			}
		}
		if r.fanout.got != got {
			got, changed = r.fanout.got, time.Now()
		}
		expected, answered := r.fanout.progress(o.Sockets)
		if answered && got >= expected || time.Since(changed) > o.Grace {
			return ended, nil
		}
	}
}

// senders connects each publisher to its socket, or to a stream of its own.
func (r *run) senders(
	ctx context.Context, o FanoutOptions, router func(context.Context) (*grpc.ClientConn, error), background *sync.WaitGroup,
) ([]sender, error) {
	bySocket := map[*publisher]*conn{}
	for _, c := range r.loop.conns {
		if c.pub != nil {
			bySocket[c.pub] = c
		}
	}
	var client *grpc.ClientConn
	if o.Via == viaGRPC {
		var err error
		if client, err = router(ctx); err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = client.Close() }) // its streams are over
	}
	var list []sender
	for _, p := range r.fanout.publishers {
		if o.Via == viaSocket {
			list = append(list, &socketSender{conn: bySocket[p]})
			continue
		}
		s, err := openGRPC(ctx, client, p)
		if err != nil {
			return nil, fmt.Errorf("publisher of %s: %w", topicName(p.topic), err)
		}
		background.Go(func() { s.receive(r.clock) })
		list = append(list, s)
	}
	return list, nil
}
