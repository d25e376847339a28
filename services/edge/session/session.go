// Package session is one client's side of the channel protocol: what a server
// of Phoenix Channels answers to heartbeats, joins, leaves and pushes, and when.
//
// # Goroutines
//
// A session has no lock. Its connection's reader alone calls [Session.Message]
// and [Session.Closed], and owns the list of channels. Everybody else, the hub
// and the mesh, sees a channel: they touch its atomics and send frames.
//
// # Waiting
//
// Whatever cannot be answered at once (a join until the mesh confirmed the
// topic, a leave behind pushes that are not answered yet, a push too many)
// pauses the connection, so that the client's later messages wait in the
// kernel and keep their order. Nothing is buffered here.
//
// # Order
//
// All that a channel gets is sent while the hub holds it in its topic: nothing
// comes before the reply to its join or after its phx_close or phx_error. The
// answer to a push is sent when the mesh acknowledged it, and the mesh delivers
// the broadcast before it acknowledges.
package session

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/hub"
)

// Conn is the client's connection. All methods may be called from any
// goroutine, and do nothing when it is closed.
type Conn interface {
	// ID is unique among the connections of this edge, from 1.
	ID() uint64
	// Send queues a frame and never blocks: a client that reads too slowly is
	// closed.
	Send(f wsframe.Frame)
	// Close begins to close the connection. It does not call the session back.
	Close(code wsframe.Code, reason string)
	// Pause ends the delivery of messages with the current one, until Resume.
	// They are a switch, not a count.
	Pause()
	Resume()
}

// topicPhoenix and eventHeartbeat are how a client says that it is alive.
const (
	topicPhoenix   = "phoenix"
	eventHeartbeat = "heartbeat"
)

// Session is the channel protocol of one connection.
type Session struct {
	// Static after construction.
	conn   Conn
	shared *Shared

	// Owned by the connection's reader.
	channels []*Channel // few, so a search is cheaper than a map is big
	ended    bool

	// Used by everybody.
	gate       gate
	unanswered atomic.Int32 // pushes of all channels
	throttled  atomic.Bool  // the gate is closed because of them
}

// New returns the session of a connection that was just accepted.
func New(conn Conn, shared *Shared) *Session {
	return &Session{conn: conn, shared: shared}
}

// Message handles one message of the client. data is not kept.
func (s *Session) Message(op wsframe.Opcode, data []byte) {
	if s.ended {
		return
	}
	decode := phx.DecodeText
	if op == wsframe.Binary {
		decode = phx.DecodeBinary
	}
	m, err := decode(data)
	if err != nil {
		s.ended = true
		s.shared.counts.add(malformed)
		s.conn.Close(wsframe.CodeInternal, "")
		return
	}
	topic, _ := m.Topic.Text()
	event, _ := m.Event.Text()
	if topic == topicPhoenix && event == eventHeartbeat {
		s.conn.Send(phx.OK(phx.Null, m.Ref, m.Topic))
		return
	}
	if c := s.find(topic); c != nil {
		s.toChannel(c, event, m)
		return
	}
	switch event {
	case channel.EventJoin:
		s.firstJoin(topic, m)
	case channel.EventLeave:
		s.conn.Send(phx.OK(m.JoinRef, m.Ref, m.Topic))
	default:
		s.unmatched(m)
	}
}

// Closed ends the session. It must be called once, after the last Message.
func (s *Session) Closed() {
	s.ended = true
	for _, c := range s.channels {
		c.state.Store(gone)
		s.shared.hub.Leave(c.topic, c)
	}
	s.channels = nil
}

// toChannel handles a message for a topic that is joined.
func (s *Session) toChannel(c *Channel, event string, m phx.Message) {
	switch {
	case event == channel.EventJoin:
		s.join(newChannel(s, c.topic, m), c)
	case m.JoinRef != phx.Null && m.JoinRef != c.joinRef():
		s.shared.counts.add(staleRef) // of an earlier channel on this topic
	case event == channel.EventLeave:
		s.leave(c, m)
	case !relayable(c.topic, event, m):
		s.crash(c, m)
	default:
		s.push(c, event, m)
	}
}

// relayable reports whether a push may become a broadcast. Phoenix's channel
// crashes on all others.
func relayable(topic, event string, m phx.Message) bool {
	b := channel.Broadcast{Topic: topic, Event: event, Binary: m.Binary}
	return (m.Object || m.Binary) && b.Validate() == nil
}

func (s *Session) unmatched(m phx.Message) {
	s.shared.counts.add(unmatchedTopic)
	s.conn.Send(phx.Refusal(phx.Null, m.Ref, m.Topic, "unmatched topic"))
}

func (s *Session) firstJoin(topic string, m phx.Message) {
	if channel.ValidateTopic(topic) != nil { // "" if it is no string
		s.unmatched(m)
		return
	}
	if s.alive() >= s.shared.limits.Channels {
		s.shared.counts.add(tooManyChannels)
		s.conn.Send(phx.Refusal(m.JoinRef, m.Ref, m.Topic, "too many channels joined"))
		return
	}
	s.join(newChannel(s, s.shared.hub.Name(strings.Clone(topic)), m), nil)
}

// join lets c into its topic, in place of old if there is one. [Channel.Joined]
// lets the client go on.
func (s *Session) join(c, old *Channel) {
	c.request.old = old
	if old == nil {
		s.channels = append(s.channels, c)
	} else {
		s.channels[s.index(old)] = c
	}
	s.exclusive(old, func() {
		var replaces hub.Subscriber // not an interface that holds nil
		if old != nil {
			replaces = old
		}
		s.shared.hub.Join(c.topic, c, replaces)
		if c.state.Load() == gone { // closed while it waited for old's pushes
			s.shared.hub.Leave(c.topic, c)
		}
	})
}

func (s *Session) leave(c *Channel, m phx.Message) {
	s.remove(c)
	s.exclusive(c, func() {
		defer s.gate.end(s.conn)
		if !c.part() {
			s.conn.Send(phx.OK(m.JoinRef, m.Ref, m.Topic))
			return
		}
		s.conn.Send(phx.OK(c.ref, m.Ref, m.Topic))
		s.conn.Send(phx.Close(c.joinRef(), m.Topic))
	})
}

// crash answers what would raise in a Phoenix channel.
func (s *Session) crash(c *Channel, m phx.Message) {
	s.shared.counts.add(crashed)
	s.remove(c)
	s.exclusive(c, func() {
		defer s.gate.end(s.conn)
		if !c.part() {
			s.unmatched(m)
			return
		}
		s.conn.Send(phx.Error(c.joinRef(), m.Topic, "channel_crash"))
	})
}

// exclusive runs do when every push of c, which may be nil, is answered, and
// keeps the client's next message waiting until do, or whoever do leaves it to,
// ends the gate.
func (s *Session) exclusive(c *Channel, do func()) {
	s.gate.begin()
	if c == nil || c.quiet() {
		do()
	} else {
		c.then = do
		c.release()
	}
	s.gate.wait(s.conn)
}

// push relays m to everybody in the topic, the client included.
func (s *Session) push(c *Channel, event string, m phx.Message) {
	s.shared.counts.add(pushed)
	b := channel.Broadcast{Topic: c.topic, Event: event, Payload: bytes.Clone(m.Payload), Binary: m.Binary}
	ref, topic := m.Ref, m.Topic
	c.hold()
	n := s.unanswered.Add(1)
	s.shared.mesh.Publish(b, func(err error) { c.answer(ref, topic, err) })
	if int(n) >= s.shared.limits.Unanswered {
		s.throttle()
	}
}

// throttle makes the client wait until half of its pushes are answered.
func (s *Session) throttle() {
	s.gate.begin()
	s.throttled.Store(true)
	s.unthrottle() // answers may have come before it was set
	s.gate.wait(s.conn)
}

func (s *Session) unthrottle() {
	if int(s.unanswered.Load()) <= s.shared.limits.Unanswered/2 &&
		s.throttled.Load() && s.throttled.CompareAndSwap(true, false) {
		s.gate.end(s.conn)
	}
}

// find returns the channel of a topic, and forgets one that failed.
func (s *Session) find(topic string) *Channel {
	for _, c := range s.channels {
		if c.topic != topic {
			continue
		}
		if c.state.Load() != gone {
			return c
		}
		s.remove(c)
		return nil
	}
	return nil
}

// alive counts the channels, and forgets those that failed.
func (s *Session) alive() int {
	if len(s.channels) >= s.shared.limits.Channels {
		s.channels = slices.DeleteFunc(s.channels, func(c *Channel) bool { return c.state.Load() == gone })
	}
	return len(s.channels)
}

func (s *Session) index(c *Channel) int { return slices.Index(s.channels, c) }

func (s *Session) remove(c *Channel) {
	i := s.index(c)
	s.channels = slices.Delete(s.channels, i, i+1)
}
