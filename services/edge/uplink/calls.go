package uplink

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Calls are what routers may ask of this edge.
type Calls interface {
	// Call does what a router asks and returns its answer, nil if it does not know
	// the call. It may wait until ctx ends, which is when the router does not wait
	// any more: it returns soon then, with what it has. Each call has a goroutine
	// of its own.
	Call(ctx context.Context, call *meshv1.EdgeCall) *meshv1.EdgeAnswer
}

// maxAnswers is how many answers may wait to be sent to one router. An answer
// to a poll is the largest, and a publish waits behind no more than these.
const maxAnswers = 4

// calls are those of one stream. Its receiver alone calls begin and cancel.
type calls struct {
	// Static after construction.
	handler Calls // nil knows no call
	out     func(item)
	room    chan struct{} // holds a token for each answer that waits to be sent

	running sync.WaitGroup

	mu     sync.Mutex // guards cancel
	cancel map[uint64]context.CancelFunc
}

func newCalls(handler Calls, out func(item)) *calls {
	return &calls{
		handler: handler, out: out, room: make(chan struct{}, maxAnswers), cancel: map[uint64]context.CancelFunc{},
	}
}

// begin takes in one call of the router. ctx is that of the stream: when it
// ends there is nobody to answer.
func (c *calls) begin(ctx context.Context, call *meshv1.EdgeCall) {
	seq := call.GetSeq()
	if call.GetCancel() {
		c.end(seq)
		return
	}
	within, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	c.cancel[seq] = cancel
	c.mu.Unlock()
	c.running.Go(func() {
		answer := &meshv1.EdgeAnswer{}
		if c.handler != nil {
			if a := c.handler.Call(within, call); a != nil {
				answer = a
			}
		}
		answer.Seq = seq
		c.end(seq)
		select {
		case c.room <- struct{}{}:
			c.out(item{answer: answer, size: answerSize(answer)})
		case <-ctx.Done():
		}
	})
}

// end gives up a call, if it still runs.
func (c *calls) end(seq uint64) {
	c.mu.Lock()
	cancel := c.cancel[seq]
	delete(c.cancel, seq)
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// sent makes room for n answers.
func (c *calls) sent(n int) {
	for range n {
		<-c.room
	}
}

// wait returns when no call runs. The stream's context has ended.
func (c *calls) wait() { c.running.Wait() }

func answerSize(a *meshv1.EdgeAnswer) int {
	size := fixedSize
	for _, m := range a.GetPoll().GetMessages() {
		size += fixedSize + len(m.GetData())
	}
	if found := a.GetInspected(); found != nil {
		size += proto.Size(found)
	}
	return size
}
