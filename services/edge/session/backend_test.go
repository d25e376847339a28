package session_test

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/services/edge/session"
)

// backend remembers what it was asked, and the test answers.
type backend struct {
	mu    sync.Mutex
	asked []call
	left  []string     // "topic join_ref reason", in order
	let   atomic.Int64 // joins let in, by serveAt
}

// call is a question to the backend: a join if event is empty.
type call struct {
	caller     session.Caller
	event, ref string
	payload    session.Payload
	join       func(session.JoinAnswer, error)
	push       func(session.PushAnswer, error)
}

func (b *backend) Join(_ *namespace.Namespace, c session.Caller, params session.Payload, done func(session.JoinAnswer, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, call{caller: c, payload: params, join: done})
}

//nolint:revive // the interface has as many arguments
func (b *backend) Push(_ *namespace.Namespace, c session.Caller, event, ref string, p session.Payload, done func(session.PushAnswer, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, call{caller: c, event: event, ref: ref, payload: p, push: done})
}

func (b *backend) Leave(_ *namespace.Namespace, c session.Caller, reason session.LeaveReason) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = append(b.left, fmt.Sprintf("%s %s %d", c.Topic, c.JoinRef, reason))
}

// next takes the oldest question.
func (b *backend) next() (call, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.asked) == 0 {
		return call{}, false
	}
	c := b.asked[0]
	b.asked = b.asked[1:]
	return c, true
}

// ended returns the channels that are over, since the last call.
func (b *backend) ended() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.left
	b.left = nil
	return left
}

// serve answers the oldest question as app does, and reports whether there was
// one.
func (b *backend) serve() bool {
	c, ok := b.next()
	if ok {
		app(c)
	}
	return ok
}

// app answers as the channel does that the recordings of Phoenix were made with.
func app(c call) {
	if c.join != nil {
		c.join(appJoin(c))
		return
	}
	c.push(appPush(c))
}

func text(json string) session.Payload { return session.Payload{Data: []byte(json)} }

func opaque(data string) session.Payload { return session.Payload{Data: []byte(data), Binary: true} }

func replyWith(status string, p session.Payload) *session.Reply {
	return &session.Reply{Status: status, Payload: p}
}
