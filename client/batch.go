package client

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// batcher collects what is published while a call is under way into the next.
// Only callers that wait have something in it.
type batcher struct {
	client  *Client
	running sync.WaitGroup // of the goroutine that sends

	mu      sync.Mutex // guards the fields below
	sending bool
	waiting []*pending
}

// pending is a message that waits, or is under way.
type pending struct {
	message *routerv1.Message
	done    chan Result // has room for one
}

// publish is [Client.publish] in a batch with others.
func (b *batcher) publish(ctx context.Context, m *routerv1.Message) (Receipt, error) {
	p := &pending{m, make(chan Result, 1)}
	b.add(ctx, p)
	select {
	case r := <-p.done:
		return r.Receipt, r.Err
	case <-ctx.Done():
	}
	err := status.FromContextError(ctx.Err()).Err()
	return Receipt{}, conclude(err, !b.withdraw(p))
}

func (b *batcher) add(ctx context.Context, p *pending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, p)
	if !b.sending {
		b.sending = true
		ctx := context.WithoutCancel(ctx)
		b.running.Go(func() { b.send(ctx) })
	}
}

// withdraw takes back a message; false means that it is under way.
func (b *batcher) withdraw(p *pending) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiting, p)
	if i < 0 {
		return false
	}
	b.waiting = slices.Delete(b.waiting, i, i+1)
	return true
}

// send sends until nothing waits. ctx carries values only, of whoever began.
func (b *batcher) send(ctx context.Context) {
	for batch := b.next(); batch != nil; batch = b.next() {
		messages := make([]*routerv1.Message, 0, len(batch))
		for _, p := range batch {
			messages = append(messages, p.message)
		}
		ctx, cancel := context.WithTimeout(ctx, b.client.options.Timeout)
		results := b.client.publishAll(ctx, messages)
		cancel()
		for i, p := range batch {
			p.done <- results[i]
		}
	}
}

// next takes what fits in one call; nil means that nothing waits, and that
// sending ends.
func (b *batcher) next() []*pending {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.sending = false
		return nil
	}
	n, bytes := 0, 0
	for n < min(len(b.waiting), maxBatch) {
		bytes += proto.Size(b.waiting[n].message)
		if n > 0 && bytes > maxBatchBytes {
			break
		}
		n++
	}
	batch := slices.Clone(b.waiting[:n])
	b.waiting = slices.Delete(b.waiting, 0, n)
	return batch
}
