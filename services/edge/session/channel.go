package session

import (
	"errors"
	"strings"
	"sync/atomic"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/hub"
)

// state of a channel.
const (
	joining uint32 = iota
	joined
	gone // failed, replaced, or its socket closed
)

// Channel is one join of one topic on one socket. It is the hub's subscriber.
type Channel struct {
	hub.Seat

	// Static after construction.
	session   *Session
	topic     string
	ref       phx.Term // join_ref of the join, or its ref if that was null
	anonymous bool     // the join_ref was null

	request *request // until Joined
	then    func()   // what the last release runs; set before the channel's own

	state atomic.Uint32
	users atomic.Int32 // pushes without an answer, and 1 for the channel itself
}

// request is what only the answer to a join needs.
type request struct {
	ref, topic phx.Term
	old        *Channel // to be replaced; nil for none
}

func newChannel(s *Session, topic string, m phx.Message) *Channel {
	c := &Channel{
		Seat:      hub.Seat{Connection: s.conn.ID()},
		session:   s,
		topic:     topic,
		ref:       phx.Term(strings.Clone(string(m.JoinRef))), // not the whole head of the message
		anonymous: m.JoinRef == phx.Null,
		request:   &request{ref: m.Ref, topic: m.Topic},
	}
	if c.anonymous {
		c.ref = phx.Term(strings.Clone(string(m.Ref)))
	}
	c.users.Store(1)
	return c
}

// joinRef is the join_ref as the client sent it. Replies and pushes have ref.
func (c *Channel) joinRef() phx.Term {
	if c.anonymous {
		return phx.Null
	}
	return c.ref
}

// Joined implements [hub.Subscriber].
func (c *Channel) Joined(err error) {
	s, r := c.session, c.request
	c.request = nil
	next, frame := joined, phx.OK(c.joinRef(), r.ref, r.topic)
	if err != nil {
		next, frame = gone, phx.Refusal(c.joinRef(), r.ref, r.topic, reason(err))
		s.shared.counts.add(joinFailed)
	} else {
		s.shared.counts.add(joinedOK)
	}
	if c.state.CompareAndSwap(joining, next) {
		s.conn.Send(frame)
	}
	if r.old != nil && r.old.state.CompareAndSwap(joined, gone) {
		s.conn.Send(phx.Close(r.old.joinRef(), r.topic))
	}
	s.gate.end(s.conn)
}

// Deliver implements [hub.Subscriber].
func (c *Channel) Deliver(m *hub.Message) { c.session.conn.Send(m.Frame()) }

// Failed implements [hub.Subscriber].
func (c *Channel) Failed() {
	if c.state.CompareAndSwap(joined, gone) {
		c.session.shared.counts.add(failed)
		c.session.conn.Send(phx.Error(c.joinRef(), phx.Text(c.topic), reason(channel.ErrUnavailable)))
	}
}

// part takes the channel out of the hub. It reports whether it still was there:
// the mesh may have failed it.
func (c *Channel) part() bool {
	was := c.session.shared.hub.Leave(c.topic, c)
	c.state.Store(gone) // not before: Failed must still find it joined
	return was
}

// answer replies to a push, unless the channel ended meanwhile.
func (c *Channel) answer(ref, topic phx.Term, err error) {
	s := c.session
	var frame wsframe.Frame
	if err == nil {
		frame = phx.OK(c.ref, ref, topic)
	} else {
		frame = phx.Refusal(c.ref, ref, topic, reason(err))
		s.shared.counts.add(pushFailed)
	}
	if !s.shared.hub.IfSeated(c.topic, c, func() { s.conn.Send(frame) }) {
		s.shared.counts.add(unreplied)
	}
	s.unanswered.Add(-1)
	s.unthrottle()
	c.release()
}

func (c *Channel) quiet() bool { return c.users.Load() == 1 }

func (c *Channel) hold() { c.users.Add(1) }

func (c *Channel) release() {
	if c.users.Add(-1) == 0 {
		c.then()
	}
}

// reason is what clients are told of an error of the mesh.
func reason(err error) string {
	if errors.Is(err, channel.ErrOverloaded) {
		return channel.ErrOverloaded.Error()
	}
	return channel.ErrUnavailable.Error()
}
