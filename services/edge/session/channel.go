package session

import (
	"errors"
	"strings"
	"sync/atomic"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/grant"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/hub"
)

// state of a channel. It only grows; from joined on, under the hub's lock.
const (
	joining uint32 = iota
	joined
	gone // refused, ended, replaced, or its socket closed
)

// Channel is one join of one topic on one socket. It is the hub's subscriber.
type Channel struct {
	hub.Seat

	// Static after construction.
	session   *Session
	ns        *namespace.Namespace
	topic     string
	ref       phx.Term // join_ref of the join, or its ref if that was null
	extra     *extra   // nil for what is neither asked, nor checked, nor seen
	format    hub.Format
	anonymous bool // the join_ref was null

	// Owned by the connection's reader.
	leaving bool   // what ends it is in its mailbox
	then    func() // what the last release runs; set before the channel's own

	request *request // belongs to whoever moves the state from joining

	state  atomic.Uint32
	doomed atomic.Bool  // a backend ended it; whoever clears that does so
	users  atomic.Int32 // relayed pushes without an answer, and 1 for the channel itself
}

// extra is what channels have whose namespace has more than relayed pushes.
type extra struct {
	grant    atomic.Pointer[grant.Grant] // that let it in, or the one that replaced it; nil for none
	admitted atomic.Bool                 // the handler let it in, or may be asked of it, and was not told its end
	hurried  atomic.Bool                 // its successor waited too long: no more pushes are handed to the handler
	entered  atomic.Bool                 // people know it; set while the hub holds it in its topic
	warned   *grant.Grant                // the client knows that it expired; guarded by the session's lock
	assigns  []byte                      // of the handler; owned by the join, then by the mailbox
	realtime realtime                    // in the dialect of Supabase
	mailbox  mailbox
}

func newChannel(s *Session, ns *namespace.Namespace, topic string, m phx.Message) *Channel {
	c := &Channel{
		Seat:      hub.Seat{Connection: s.conn.ID()},
		session:   s,
		ns:        ns,
		topic:     topic,
		ref:       phx.Term(strings.Clone(string(m.JoinRef))), // not the whole head of the message
		format:    s.format,
		anonymous: m.JoinRef == phx.Null,
		request:   newRequest(m),
	}
	if c.anonymous {
		c.ref = phx.Term(strings.Clone(string(m.Ref)))
	}
	supabase := ns.Dialect == namespace.DialectSupabase
	if supabase && s.format.Version == phx.V2 {
		c.format.Version = phx.Supabase
	}
	if supabase || ns.Join != namespace.JoinOpen || ns.AsksHandler() || ns.Presence.Enabled() {
		c.extra = new(extra)
		c.request.keep(m)
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

func (c *Channel) version() phx.Version { return c.format.Version }

// asks reports whether pushes go to a handler.
func (c *Channel) asks() bool { return c.ns.Push == namespace.PushHandler }

// Deliver implements [hub.Subscriber].
func (c *Channel) Deliver(m *hub.Message) {
	if f, ok := m.Frame(c.format); ok {
		c.session.conn.Send(f)
	} else {
		c.session.shared.counts.add(unfit)
	}
}

// Push implements [Watcher].
func (c *Channel) Push(event string, payload []byte) {
	f, err := c.version().Push(phx.Push{JoinRef: c.ref, Topic: phx.Text(c.topic), Event: event, Payload: payload})
	if err == nil { // always: it is text
		c.send(f)
	}
}

// Failed implements [hub.Subscriber].
func (c *Channel) Failed() {
	if c.state.Load() == joined {
		c.session.shared.counts.add(failed)
		c.session.conn.Send(c.version().Error(c.joinRef(), phx.Text(c.topic), reason(channel.ErrUnavailable)))
		c.state.Store(gone)
		c.over(LeftLost)
	}
}

// send sends frames unless the channel ended. It reports whether it did.
func (c *Channel) send(frames ...wsframe.Frame) bool {
	return c.session.shared.Hub.IfSeated(c.topic, c, func() { c.post(frames) })
}

func (c *Channel) post(frames []wsframe.Frame) {
	for _, f := range frames {
		c.session.conn.Send(f)
	}
}

// end takes a channel that was joined out of its topic, with the last frames
// that it gets. It reports whether it was the one to do so: the channel may have
// ended before, and then the client was told.
func (c *Channel) end(why LeaveReason, last ...wsframe.Frame) bool {
	ended := c.session.shared.Hub.Leave(c.topic, c, func() {
		c.post(last)
		c.state.Store(gone) // not before: else the reader might answer what comes behind
	})
	if ended {
		c.over(why)
	}
	return ended
}

// crash ends the channel as Phoenix does when its process dies.
func (c *Channel) crash(topic phx.Term) bool {
	c.session.shared.counts.add(crashed)
	return c.end(LeftCrashed, c.version().Error(c.joinRef(), topic, "channel_crash"))
}

// kick ends the channel because a backend said so; one that is being joined as
// soon as it is. It reports whether that ends it.
func (c *Channel) kick() bool {
	c.doomed.Store(true)
	switch c.state.Load() {
	case joining:
		return true // Joined will see it
	case joined:
		return !c.doomed.Swap(false) || c.end(LeftKicked, c.version().Close(c.joinRef(), phx.Text(c.topic)))
	}
	return false
}

// over tells everybody that an ended channel is over. It is called once, but for
// a join whose socket closes while its handler is being asked: then a second
// time when the handler has answered. A lock of the hub may be held.
func (c *Channel) over(why LeaveReason) {
	if c.extra == nil {
		return
	}
	if c.extra.entered.Load() {
		c.session.shared.People.Leave(c.topic, c, why == LeftClosed && c.session.moving.Load())
	}
	if c.extra.admitted.Swap(false) {
		c.extra.mailbox.last(func() { c.session.shared.Backend.Leave(c.ns, c.caller(), why) })
	}
}

// after runs do when every earlier push is answered.
func (c *Channel) after(do func()) {
	switch {
	case c.asks():
		c.extra.mailbox.add(func() {
			do()
			c.extra.mailbox.done()
		})
	case c.users.Load() == 1:
		do()
	default:
		c.then = do
		c.release()
	}
}

func (c *Channel) hold() { c.users.Add(1) }

func (c *Channel) release() {
	if c.users.Add(-1) == 0 {
		c.then()
	}
}

// reason is what clients are told of an error, which may say more to us.
func reason(err error) string {
	for _, e := range []error{
		channel.ErrOverloaded, channel.ErrTimeout, grant.ErrMissing, grant.ErrInvalid, grant.ErrExpired, grant.ErrTopic,
	} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return channel.ErrUnavailable.Error()
}
