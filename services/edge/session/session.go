// Package session is one client's side of the channel protocol: what a server
// of Phoenix Channels answers to heartbeats, joins, leaves and pushes, and when.
//
// # Goroutines
//
// A session belongs to its connection's reader: it alone calls
// [Session.Message] and [Session.Closed] and changes the list of channels.
// Everybody else (the hub, the mesh, handlers, timers, [Session.Disconnect])
// sees a [Channel]: whoever moves its atomic state from joining answers the
// join, and whoever takes it out of the hub ends it. So each of these happens
// once, whether the reader is paused or not, and the session's lock is not held
// meanwhile. The one lock of a session guards the list against those who
// look for channels in it, and what is known of the client.
//
// # Waiting
//
// Whatever cannot be answered at once (a join until token, handler and mesh
// have agreed, a leave behind pushes that are not answered yet, a push too many)
// pauses the connection, so that the client's later messages wait in the kernel
// and keep their order. Only pushes to a handler wait here, in the [mailbox] of
// their channel, and not more than [Limits.Waiting].
//
// # Order
//
// All that a channel gets is sent while the hub holds it in its topic: nothing
// comes before the reply to its join or after its phx_close or phx_error. The
// answer to a push is sent when the mesh acknowledged it, and the mesh delivers
// the broadcast before it acknowledges.
package session

import (
	"slices"
	"strings"
	"sync"
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
	// Close begins to close the connection, and reports whether nobody did before.
	// It does not call the session back.
	Close(code wsframe.Code, reason string) bool
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
	format hub.Format

	// Owned by the connection's reader.
	ended bool
	due   int64 // when the client's messages so far would be over at the limit's rate, in the shared time

	// mu guards the fields below. The reader alone changes channels, so it may
	// read them without.
	mu       sync.Mutex
	channels []*Channel // few, so a search is cheaper than a map is big
	identity *identity  // nil if nothing is known

	// Used by everybody.
	gate       gate
	unanswered atomic.Int32 // pushes of all channels
	waiting    atomic.Int32 // bytes of those for handlers
	throttled  atomic.Bool  // the gate is closed because of them
	moving     atomic.Bool  // the client is expected on another edge
}

// New returns the session of a connection that was just accepted.
func New(conn Conn, shared *Shared, client Client) *Session {
	return &Session{
		conn:     conn,
		shared:   shared,
		format:   hub.Format{Version: client.Version, Deflate: client.Deflate},
		identity: newIdentity(client),
	}
}

// Message handles one message of the client. data is not kept.
func (s *Session) Message(op wsframe.Opcode, data []byte) {
	if s.ended {
		return
	}
	version := s.format.Version
	if version == phx.V2 && s.shared.supabase {
		version = phx.Supabase // understands all of V2
	}
	m, err := version.Decode(data, op == wsframe.Binary)
	if err != nil {
		s.ended = true
		s.shared.counts.add(malformed)
		s.conn.Close(wsframe.CodeInternal, "")
		return
	}
	s.handle(m)
	s.pace()
}

func (s *Session) handle(m phx.Message) {
	topic, _ := m.Topic.Text()
	event, _ := m.Event.Text()
	if topic == topicPhoenix && event == eventHeartbeat {
		s.conn.Send(s.format.Version.OK(phx.Null, m.Ref, m.Topic))
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
		s.conn.Send(s.format.Version.OK(m.JoinRef, m.Ref, m.Topic))
	default:
		s.unmatched(m)
	}
}

// toChannel handles a message for a topic that is joined.
func (s *Session) toChannel(c *Channel, event string, m phx.Message) {
	switch {
	case event == channel.EventJoin:
		s.join(newChannel(s, c.ns, c.topic, m), c)
	case c.leaving || m.JoinRef != phx.Null && m.JoinRef != c.joinRef():
		s.shared.counts.add(staleRef)
	case event == channel.EventLeave:
		s.leave(c, m)
	case event == eventToken || event == eventAccessToken:
		s.refresh(c, event, m)
	default:
		s.push(c, event, m)
	}
}

func (s *Session) unmatched(m phx.Message) {
	s.shared.counts.add(unmatchedTopic)
	s.conn.Send(s.format.Version.Refusal(phx.Null, m.Ref, m.Topic, "unmatched topic"))
}

func (s *Session) firstJoin(topic string, m phx.Message) {
	ns := s.shared.Namespaces.Of(topic)
	if ns == nil || channel.ValidateTopic(topic) != nil { // "" if it is no string
		s.unmatched(m)
		return
	}
	if s.alive() >= s.shared.limits.Channels {
		s.shared.counts.add(tooManyChannels)
		s.conn.Send(s.format.Version.Refusal(m.JoinRef, m.Ref, m.Topic, "too many channels joined"))
		return
	}
	s.join(newChannel(s, ns, s.shared.Hub.Name(strings.Clone(topic)), m), nil)
}

func (s *Session) leave(c *Channel, m phx.Message) {
	v := s.format.Version
	s.finish(c, func() bool {
		return c.end(LeftByClient, v.OK(c.ref, m.Ref, m.Topic), v.Close(c.joinRef(), m.Topic))
	}, func() {
		s.conn.Send(v.OK(m.JoinRef, m.Ref, m.Topic))
	})
}

// crash answers what would raise in a Phoenix channel.
func (s *Session) crash(c *Channel, m phx.Message) {
	s.finish(c, func() bool { return c.crash(m.Topic) }, func() { s.unmatched(m) })
}

// finish ends c when its earlier pushes are answered, or does otherwise if it
// ended before. The client waits for that. But not for a handler: then it gets
// no more answers to what it says to this channel, and none to the message that
// ends it if something else did so before, as in Phoenix.
func (s *Session) finish(c *Channel, end func() bool, otherwise func()) {
	if c.asks() {
		c.leaving = true
		c.after(func() {
			if !end() {
				s.shared.counts.add(unreplied)
			}
		})
		return
	}
	s.remove(c)
	s.gate.begin()
	c.after(func() {
		if !end() {
			otherwise()
		}
		s.gate.end(s.conn)
	})
	s.gate.wait(s.conn)
}

// Closed ends the session. It must be called once, after the last Message.
func (s *Session) Closed() {
	s.ended = true
	s.mu.Lock()
	channels := s.channels
	s.channels = nil
	s.stopTimer()
	s.mu.Unlock()
	for _, c := range channels {
		if !c.abandon() {
			c.end(LeftClosed)
		}
	}
}

// Quiet reports whether the client waits for nothing: every push is answered, no
// join or leave is under way, and no mailbox holds anything, since what is in one
// is a push without an answer or behind such. It may be called by any goroutine;
// the next moment it may be otherwise.
func (s *Session) Quiet() bool { return s.unanswered.Load() == 0 && !s.gate.busy() }

// Move closes the connection with 1012, so that the client comes back on another
// edge: until then those who see who is online do not see that it left. It
// reports whether that closed it. It may be called by any goroutine.
func (s *Session) Move(reason string) bool {
	s.moving.Store(true) // first: the end of the session may be on its way when Close returns
	moved := s.conn.Close(wsframe.CodeRestart, reason)
	if !moved {
		s.moving.Store(false) // it goes for another reason
	}
	return moved
}

// Disconnect ends what a backend wants ended, if the client is the user's, or
// whoever it is for an empty user: with a topic its channel there, with
// phx_close, else the socket, with 1001. It may be called by any goroutine. It
// reports whether the socket is being closed, and how many channels ended.
func (s *Session) Disconnect(user, topic string) (closed bool, channels int) {
	if topic == "" {
		if user != "" && user != s.user(nil) {
			return false, 0
		}
		s.shared.counts.add(kicked)
		s.conn.Close(wsframe.CodeGoingAway, "")
		return true, 0
	}
	for _, c := range s.snapshot() {
		if c.topic == topic && (user == "" || user == c.user()) && c.kick() {
			s.shared.counts.add(kicked)
			channels++
		}
	}
	return false, channels
}

// snapshot returns the channels, for who is not the reader.
func (s *Session) snapshot() []*Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.channels)
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
		s.mu.Lock()
		defer s.mu.Unlock()
		s.channels = slices.DeleteFunc(s.channels, func(c *Channel) bool { return c.state.Load() == gone })
	}
	return len(s.channels)
}

// list adds c, in place of old if that is not nil.
func (s *Session) list(c, old *Channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old == nil {
		s.channels = append(s.channels, c)
	} else {
		s.channels[slices.Index(s.channels, old)] = c
	}
}

func (s *Session) remove(c *Channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.channels, c)
	s.channels = slices.Delete(s.channels, i, i+1)
}
