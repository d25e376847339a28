//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/tests/process"
)

// socketPublisher pushes to topics over one socket and waits for no reply
// before the next push.
type socketPublisher struct {
	*client
	name    string
	ledger  *ledger
	pending sync.WaitGroup
}

// newSocketPublisher joins the topics at an edge.
func newSocketPublisher(t *testing.T, e *edge, name string, l *ledger, topics []string) *socketPublisher {
	t.Helper()
	p := &socketPublisher{client: connect(t, e, nil), name: name, ledger: l}
	p.join(t, topics...)
	return p
}

func (p *socketPublisher) publish(topic string) {
	payload := p.ledger.next(p.name, topic)
	p.pending.Add(1)
	err := p.ask(topic, "n", payload, func(status string, response json.RawMessage) {
		if status != "ok" {
			p.ledger.doubt(p.name, topic, payload.N)
			p.ledger.problemf("%s: push %d to %s was answered %s %s", p.name, payload.N, topic, status, response)
		}
		p.pending.Done()
	})
	if err != nil {
		p.ledger.problemf("%s: push %d to %s: %v", p.name, payload.N, topic, err)
		p.pending.Done()
	}
}

// flush waits until every push was answered.
func (p *socketPublisher) flush(t *testing.T) {
	t.Helper()
	within(t, 20*time.Second, p.name+" has every reply", p.pending.Wait)
}

// backend publishes through PublishStream of one router at a time. When that
// router leaves it sends what has no result to the next one. When the stream
// breaks without such a goodbye, what has no result has an unknown fate and is
// not sent again.
type backend struct {
	name    string
	ledger  *ledger
	clients []routerv1.RouterServiceClient
	current int
	stream  routerv1.RouterService_PublishStreamClient

	mu      sync.Mutex
	seq     uint64
	pending map[uint64]unanswered
	broken  bool
	goodbye bool // the router said that it leaves
}

// unanswered is a message that was sent and has no result yet.
type unanswered struct {
	lane
	n int
}

func newBackend(t *testing.T, f *fleet, name string, l *ledger) *backend {
	t.Helper()
	b := &backend{name: name, ledger: l, pending: map[uint64]unanswered{}}
	for _, r := range f.routers {
		b.clients = append(b.clients, r.client(t))
	}
	b.open(t.Context())
	return b
}

// open takes the first router that opens a stream, beginning with the current.
func (b *backend) open(ctx context.Context) {
	for range 10 * len(b.clients) {
		stream, err := b.clients[b.current].PublishStream(ctx)
		if err == nil {
			b.stream = stream
			go b.receive(stream)
			return
		}
		b.current = (b.current + 1) % len(b.clients)
	}
	b.ledger.problemf("%s: no router opens a stream", b.name)
}

func (b *backend) receive(stream routerv1.RouterService_PublishStreamClient) {
	for {
		response, err := stream.Recv()
		b.mu.Lock()
		if err != nil {
			b.broken, b.goodbye = true, leaving(err)
			b.mu.Unlock()
			return
		}
		m, known := b.pending[response.GetSeq()]
		delete(b.pending, response.GetSeq())
		b.mu.Unlock()
		if code := response.GetResult().GetCode(); code != 0 {
			b.ledger.doubt(m.publisher, m.topic, m.n)
			b.ledger.problemf("%s: message %d to %s got code %d, %s", b.name, m.n, m.topic, code, response.GetResult().GetReason())
		}
		if !known {
			b.ledger.problemf("%s: result of unknown seq %d", b.name, response.GetSeq())
		}
	}
}

// leaving reports whether a stream ended with a router's goodbye.
func leaving(err error) bool {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetReason() == "LEAVING" {
			return true
		}
	}
	return false
}

func (b *backend) publish(ctx context.Context, topic string) {
	b.mend(ctx)
	b.send(unanswered{lane{b.name, topic}, b.ledger.next(b.name, topic).N})
}

// send does not look at errors: the receiver learns why the stream ended, and
// the message stays without a result.
func (b *backend) send(m unanswered) {
	b.mu.Lock()
	b.seq++
	seq := b.seq
	b.pending[seq] = m
	b.mu.Unlock()
	_ = b.stream.Send(&routerv1.PublishStreamRequest{Seq: seq, Message: &routerv1.Message{
		Topic: m.topic, Event: "n", Payload: &routerv1.Message_Json{Json: fmt.Sprintf(`{"publisher":%q,"n":%d}`, b.name, m.n)},
	}})
}

// mend replaces a broken stream by one to the next router.
func (b *backend) mend(ctx context.Context) {
	b.mu.Lock()
	if !b.broken {
		b.mu.Unlock()
		return
	}
	var again []unanswered
	for _, seq := range slices.Sorted(maps.Keys(b.pending)) {
		m := b.pending[seq]
		if b.goodbye {
			again = append(again, m)
		} else {
			b.ledger.doubt(m.publisher, m.topic, m.n)
		}
	}
	clear(b.pending)
	b.broken = false
	b.mu.Unlock()
	b.current = (b.current + 1) % len(b.clients)
	b.open(ctx)
	for _, m := range again {
		b.send(m)
	}
}

// flush waits until every message was answered.
func (b *backend) flush(t *testing.T) {
	t.Helper()
	process.Eventually(t, 20*time.Second, b.name+" has every result", func() bool {
		b.mend(t.Context())
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.pending) == 0
	})
}

// within fails the test when wait does not return in time.
func within(t *testing.T, d time.Duration, what string, wait func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(d):
		t.Errorf("not within %s: %s", d, what)
	}
}
