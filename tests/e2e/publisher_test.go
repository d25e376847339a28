//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
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
// router goes away it takes the next one; what was not acknowledged by then
// has an unknown fate, and is not sent again.
type backend struct {
	name    string
	ledger  *ledger
	clients []routerv1.RouterServiceClient
	current int
	stream  routerv1.RouterService_PublishStreamClient

	mu      sync.Mutex
	seq     uint64
	pending map[uint64]lane
	numbers map[uint64]int
	broken  bool
}

func newBackend(t *testing.T, f *fleet, name string, l *ledger) *backend {
	t.Helper()
	b := &backend{name: name, ledger: l, pending: map[uint64]lane{}, numbers: map[uint64]int{}}
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
			b.broken = true
			b.mu.Unlock()
			return
		}
		key, known := b.pending[response.GetSeq()]
		n := b.numbers[response.GetSeq()]
		delete(b.pending, response.GetSeq())
		delete(b.numbers, response.GetSeq())
		b.mu.Unlock()
		if code := response.GetResult().GetCode(); code != 0 {
			b.ledger.doubt(key.publisher, key.topic, n)
			b.ledger.problemf("%s: message %d to %s got code %d, %s", b.name, n, key.topic, code, response.GetResult().GetReason())
		}
		if !known {
			b.ledger.problemf("%s: result of unknown seq %d", b.name, response.GetSeq())
		}
	}
}

func (b *backend) publish(ctx context.Context, topic string) {
	b.mu.Lock()
	broken := b.broken
	b.mu.Unlock()
	if broken {
		b.move(ctx)
	}
	payload := b.ledger.next(b.name, topic)
	b.mu.Lock()
	b.seq++
	seq := b.seq
	b.pending[seq], b.numbers[seq] = lane{b.name, topic}, payload.N
	b.mu.Unlock()
	request := &routerv1.PublishStreamRequest{Seq: seq, Message: &routerv1.Message{
		Topic: topic, Event: "n", Payload: &routerv1.Message_Json{Json: fmt.Sprintf(`{"publisher":%q,"n":%d}`, b.name, payload.N)},
	}}
	if err := b.stream.Send(request); err != nil {
		b.mu.Lock()
		b.broken = true // the message stays pending, so its fate is noted as unknown
		b.mu.Unlock()
	}
}

// move gives up the broken stream and opens one at the next router.
func (b *backend) move(ctx context.Context) {
	b.mu.Lock()
	for seq, key := range b.pending {
		b.ledger.doubt(key.publisher, key.topic, b.numbers[seq])
	}
	clear(b.pending)
	clear(b.numbers)
	b.broken = false
	b.mu.Unlock()
	b.current = (b.current + 1) % len(b.clients)
	b.open(ctx)
}

// flush waits until every message was answered, or its stream ended.
func (b *backend) flush(t *testing.T) {
	t.Helper()
	eventually(t, 20*time.Second, b.name+" has every result", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.broken || len(b.pending) == 0
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	for seq, key := range b.pending {
		b.ledger.doubt(key.publisher, key.topic, b.numbers[seq])
	}
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
