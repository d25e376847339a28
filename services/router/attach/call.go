package attach

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Bounds of the calls that wait for the answer of one edge.
const (
	maxCalls  = 16 << 10 // polls wait for ten seconds each
	callBytes = 8 << 20  // of their requests; one larger is taken if it is alone
)

// Errors of [Server.Call]; after the first three the edge was not asked.
var (
	ErrNotAttached = errors.New("the edge is not attached to this router")
	ErrBusy        = errors.New("too many calls wait for the edge")
	ErrLeaving     = errors.New("this router is leaving")
	ErrLost        = errors.New("the edge was lost before it answered")
	ErrUnknown     = errors.New("the edge does not know the call")
)

// Call asks an edge to do something and waits for its answer, until ctx ends;
// the edge then learns that nobody waits any more. The call's seq is set here.
func (s *Server) Call(ctx context.Context, edge string, call *meshv1.EdgeCall) (*meshv1.EdgeAnswer, error) {
	s.mu.Lock()
	p := s.ports[edge]
	s.mu.Unlock()
	if p == nil {
		return nil, ErrNotAttached
	}
	answer, err := p.calls.begin(call)
	if err != nil {
		return nil, err
	}
	p.push(item{call: call})
	select {
	case a := <-answer:
		switch {
		case a == nil:
			return nil, ErrLost
		case a.GetAnswer() == nil:
			return nil, ErrUnknown
		}
		return a, nil
	case <-ctx.Done():
		if p.calls.forget(call.GetSeq()) {
			p.cancel(call.GetSeq())
		}
		return nil, context.Cause(ctx)
	}
}

// Leave refuses polls from now on and asks for the answers to those that wait for
// messages.
func (s *Server) Leave() {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	for _, p := range s.attached() {
		p.leave()
	}
}

// Idle reports whether no call waits for an answer.
func (s *Server) Idle() bool {
	return !slices.ContainsFunc(s.attached(), func(p *port) bool { return !p.calls.idle() })
}

// Queued is how many bytes wait for edges.
func (s *Server) Queued() (bytes int) {
	for _, p := range s.attached() {
		bytes += p.out.Cost()
	}
	return bytes
}

func (s *Server) attached() []*port {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.ports))
}

// enter makes p the way to its edge.
func (s *Server) enter(p *port) {
	s.mu.Lock()
	s.ports[p.edge.ID()] = p
	leaving := s.leaving
	s.mu.Unlock()
	if leaving {
		p.leave()
	}
}

func (s *Server) exit(p *port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ports[p.edge.ID()] == p {
		delete(s.ports, p.edge.ID())
	}
}

func (p *port) leave() {
	for _, seq := range p.calls.leave() {
		p.cancel(seq)
	}
}

func (p *port) cancel(seq uint64) {
	p.push(item{call: &meshv1.EdgeCall{Seq: seq, Call: &meshv1.EdgeCall_Cancel{Cancel: true}}})
}

// calls are those of one stream that are not answered. All methods may be called
// concurrently.
type calls struct {
	mu      sync.Mutex // guards the fields below
	last    uint64     // seq of the last call
	waiting map[uint64]waitingCall
	bytes   int
	leaving bool
	over    bool
}

type waitingCall struct {
	answer chan *meshv1.EdgeAnswer // has room for one; nil says that the stream ended
	size   int
	waits  bool // for messages: a cancel loses nothing
}

// begin takes a call in and sets its seq.
func (c *calls) begin(call *meshv1.EdgeCall) (<-chan *meshv1.EdgeAnswer, error) {
	poll := call.GetPoll()
	w := waitingCall{make(chan *meshv1.EdgeAnswer, 1), proto.Size(call), poll != nil && !poll.GetPublish()}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over:
		return nil, ErrNotAttached
	case c.leaving && poll != nil:
		return nil, ErrLeaving
	case len(c.waiting) >= maxCalls, len(c.waiting) > 0 && c.bytes+w.size > callBytes:
		return nil, ErrBusy
	}
	if c.waiting == nil {
		c.waiting = map[uint64]waitingCall{}
	}
	c.last++
	call.Seq = c.last
	c.waiting[c.last] = w
	c.bytes += w.size
	return w.answer, nil
}

// answer ends a call. One that was forgotten, or never made, is ignored.
func (c *calls) answer(a *meshv1.EdgeAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.take(a.GetSeq()); ok {
		w.answer <- a
	}
}

// forget ends a call without an answer and reports whether it was still waiting.
func (c *calls) forget(seq uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.take(seq)
	return ok
}

func (c *calls) take(seq uint64) (waitingCall, bool) {
	w, ok := c.waiting[seq]
	if ok {
		delete(c.waiting, seq)
		c.bytes -= w.size
	}
	return w, ok
}

// leave refuses polls from now on and returns those that wait for messages.
func (c *calls) leave() (polls []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	for seq, w := range c.waiting {
		if w.waits {
			polls = append(polls, seq)
		}
	}
	return polls
}

func (c *calls) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) == 0
}

// end ends all calls: the stream is over.
func (c *calls) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for _, w := range c.waiting {
		w.answer <- nil
	}
	c.waiting, c.bytes = nil, 0
}
