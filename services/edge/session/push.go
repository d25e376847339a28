package session

import (
	"bytes"
	"time"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/grant"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/phx"
)

// push does with an event of the client what the namespace says.
func (s *Session) push(c *Channel, event string, m phx.Message) {
	switch {
	case channel.ValidateEvent(event) != nil: // the protocol's own, or no string
		s.crash(c, m)
	case c.ns.Dialect == namespace.DialectSupabase && event == eventPresence:
		s.presence(c, m)
	case !c.mayPush():
		s.deny(c, m, grant.ErrTopic.Error())
	case c.ns.Push == namespace.PushDeny:
		s.deny(c, m, "push not allowed")
	case c.asks():
		s.ask(c, event, m)
	default:
		s.relay(c, event, m)
	}
}

func (s *Session) deny(c *Channel, m phx.Message, reason string) {
	s.shared.counts.add(pushDenied)
	c.send(c.version().Refusal(c.ref, m.Ref, m.Topic, reason))
}

// relay makes a push a broadcast. Phoenix's channel crashes on what cannot be
// one.
func (s *Session) relay(c *Channel, event string, m phx.Message) {
	b := channel.Broadcast{Topic: c.topic, Event: event, Binary: m.Binary, Trace: s.trace()}
	notSender := c.ns.Push == namespace.PushRelayFrom
	if c.ns.Dialect == namespace.DialectSupabase && event == eventBroadcast {
		notSender = !c.extra.realtime.self
		if m.UserEvent != "" {
			b.Event, _ = m.UserEvent.Text()
		}
	}
	if !m.Object && !m.Binary || b.Validate() != nil {
		s.crash(c, m)
		return
	}
	if notSender {
		b.Except = s.connection()
	}
	b.Payload = bytes.Clone(m.Payload)
	ref, topic := m.Ref, m.Topic
	s.shared.counts.add(pushed)
	s.unanswered.Add(1)
	c.hold()
	s.shared.Mesh.Publish(b, func(err error) { c.acknowledged(ref, topic, err) })
	s.throttle()
}

// connection is the client's name in the fleet.
func (s *Session) connection() channel.Connection {
	return channel.Connection{Edge: s.shared.Edge, ID: s.conn.ID()}
}

// acknowledged replies to a relayed push, unless the channel ended meanwhile.
func (c *Channel) acknowledged(ref, topic phx.Term, err error) {
	s := c.session
	frame := c.version().OK(c.ref, ref, topic)
	if err != nil {
		frame = c.version().Refusal(c.ref, ref, topic, reason(err))
		s.shared.counts.add(pushFailed)
	}
	if !c.send(frame) {
		s.shared.counts.add(unreplied)
	}
	s.answered(0)
	c.release()
}

// throttle makes a client wait that has too much unanswered, until half of it
// is answered.
func (s *Session) throttle() {
	limits := &s.shared.limits
	if int(s.unanswered.Load()) < limits.Unanswered && int(s.waiting.Load()) < limits.Waiting {
		return
	}
	s.gate.begin()
	s.throttled.Store(true)
	s.unthrottle() // answers may have come before it was set
	s.gate.wait(s.conn)
}

func (s *Session) unthrottle() {
	limits := &s.shared.limits
	if int(s.unanswered.Load()) <= limits.Unanswered/2 && int(s.waiting.Load()) <= limits.Waiting/2 &&
		s.throttled.Load() && s.throttled.CompareAndSwap(true, false) {
		s.gate.end(s.conn)
	}
}

// answered notes the end of a push that had so many bytes waiting.
func (s *Session) answered(size int32) {
	s.unanswered.Add(-1)
	if size > 0 {
		s.waiting.Add(-size)
	}
	s.unthrottle()
}

// The burst is what a client may send at once, as the time that it would take at
// the limit's rate; pauses are no shorter than minPause.
const (
	burst    = 2 * time.Second
	minPause = 50 * time.Millisecond
)

// pace makes a client wait that sends faster than the limit. A message that the
// client waits for anyway is counted, and paid for with a later one.
func (s *Session) pace() {
	rate := s.shared.limits.Rate
	if rate == 0 {
		return
	}
	now := int64(time.Since(s.shared.born))
	s.due = max(s.due, now) + int64(time.Second)/int64(rate)
	ahead := time.Duration(s.due-now) - burst
	if ahead <= 0 || s.gate.busy() {
		return
	}
	s.shared.counts.add(paced)
	s.gate.begin()
	time.AfterFunc(max(ahead, minPause), func() { s.gate.end(s.conn) })
	s.gate.wait(s.conn)
}
