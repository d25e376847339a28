package session

import (
	"bytes"
	"errors"
	"time"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/grant"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/hub"
)

// request is what only the answer to a join needs.
type request struct {
	ref, topic phx.Term
	old        *Channel // to be replaced; nil for none
	span       span
	params     Payload // kept for channels with extra only

	reply  wsframe.Frame // zero for ok and {}
	pushes []wsframe.Frame
	person *Person
	closes bool // old has ended, and the client is to be told behind the answer
}

func newRequest(m phx.Message) *request { return &request{ref: m.Ref, topic: m.Topic} }

// keep copies the params of the join.
func (r *request) keep(m phx.Message) { r.params = Payload{bytes.Clone(m.Payload), m.Binary} }

// json is the params, if they are no opaque bytes.
func (r *request) json() []byte {
	if r.params.Binary {
		return nil
	}
	return r.params.Data
}

// join lets c into its topic, in place of old if there is one. The client waits
// until it is answered. Its steps follow each other on whatever goroutine the
// answer to the one before comes; none goes on if the socket was closed.
func (s *Session) join(c, old *Channel) {
	c.request.old, c.request.span = old, s.begin(c.topic, spanJoin)
	if c.ns.Dialect == namespace.DialectSupabase {
		c.extra.realtime = newRealtime(c.request.json())
		c.request.reply = c.realtimeReply()
	}
	s.list(c, old)
	s.gate.begin()
	if old == nil {
		c.admit()
	} else {
		old.after(c.admit)
		old.hurry()
	}
	s.gate.wait(s.conn)
}

// replaceWait is how long a join waits until what its predecessor was pushed is
// answered. It is Phoenix's.
const replaceWait = 5 * time.Second

// hurry drops in a while what then still waits for the channel's handler.
func (c *Channel) hurry() {
	if c.asks() && c.state.Load() == joined {
		time.AfterFunc(replaceWait, func() { c.extra.hurried.Store(true) })
	}
}

// admit is the first step: the token is checked, if the join needs one. Phoenix
// ends the old channel before it asks about the new one.
func (c *Channel) admit() {
	if c.extra == nil {
		c.seat()
		return
	}
	if c.ns.Join != namespace.JoinOpen {
		c.endOld()
	}
	tokens := c.session.shared.Tokens
	token := ""
	if tokens != nil && c.usesClaims() {
		token = tokenOf(c.request.json())
	}
	if token == "" {
		c.checked(nil, nil)
	} else {
		tokens.Verify(token, c.checked)
	}
}

// checked is the second step: what the client's token allows is known.
func (c *Channel) checked(g *grant.Grant, err error) {
	if c.state.Load() == gone {
		return
	}
	offered := g
	if g == nil || err != nil {
		offered, g = nil, c.session.grant()
	}
	g, err = c.weigh(g, err, time.Now())
	if err != nil {
		c.refuseSlowly(c.refusal(reason(err)))
		return
	}
	if g != nil && g == offered {
		c.session.setGrant(g)
	}
	c.extra.grant.Store(g)
	if c.ns.Join == namespace.JoinHandler {
		who := c.caller()
		who.Trace = c.request.span.context
		c.session.shared.Backend.Join(c.ns, who, c.request.params, c.decided)
		return
	}
	c.identify(nil)
	c.seat()
}

// weigh returns what counts of a grant, or why the join is refused. err is what
// is wrong with the token of the join itself: where no token is required, one
// that is not valid counts as none. But a handler is not asked without claims
// that only could not be checked just now.
func (c *Channel) weigh(g *grant.Grant, err error, now time.Time) (*grant.Grant, error) {
	switch {
	case c.ns.Join == namespace.JoinToken:
		if err == nil {
			err = allowsJoin(g, c.topic, now)
		}
		return g, err
	case c.ns.Join == namespace.JoinHandler && err != nil && !aboutToken(err):
		return nil, err
	case g != nil && g.Expired(now):
		return nil, nil
	}
	return g, nil
}

func allowsJoin(g *grant.Grant, topic string, now time.Time) error {
	switch {
	case g == nil:
		return grant.ErrMissing
	case g.Expired(now):
		return grant.ErrExpired
	case !g.MayJoin(topic):
		return grant.ErrTopic
	}
	return nil
}

func aboutToken(err error) bool {
	return errors.Is(err, grant.ErrInvalid) || errors.Is(err, grant.ErrExpired) || errors.Is(err, grant.ErrMissing)
}

// reasonJoinCrashed is what Phoenix says of a join that raised.
const reasonJoinCrashed = "join crashed"

// decided is the third step: the handler has answered.
func (c *Channel) decided(a JoinAnswer, err error) {
	switch {
	case errors.Is(err, channel.ErrCrashed):
		c.refuseSlowly(c.refusal(reasonJoinCrashed))
		return
	case err != nil:
		c.refuseSlowly(c.refusal(reason(err)))
		return
	}
	if a.Refused {
		a.Reply.Status = phx.StatusError
	} else {
		a.Reply.Status = phx.StatusOK
		c.extra.admitted.Store(true)
	}
	if a.Assigns != nil {
		c.extra.assigns = a.Assigns
	}
	err = c.encodeAnswer(a)
	switch {
	case c.state.Load() == gone: // its socket closed meanwhile
		c.over(LeftClosed)
	case err != nil:
		c.refuseSlowly(c.refusal(reasonJoinCrashed))
	case a.Refused:
		c.refuseSlowly(c.request.reply)
	default:
		c.identify(a.Presence)
		c.seat()
	}
}

// encodeAnswer makes the frames of a handler's answer.
func (c *Channel) encodeAnswer(a JoinAnswer) error {
	r := c.request
	var err1, err2 error
	if a.Refused || a.Reply.Data != nil || a.Reply.Binary {
		r.reply, err1 = c.encodeReply(c.joinRef(), r.ref, r.topic, a.Reply)
	}
	r.pushes, err2 = c.encodePushes(a.Pushes)
	return errors.Join(err1, err2, a.Presence.validate())
}

// seat is the last step: the hub asks the mesh for the topic.
func (c *Channel) seat() {
	if c.state.Load() == gone {
		return
	}
	var replaces hub.Subscriber // not an interface that holds nil
	if old := c.request.old; old != nil {
		replaces = old
	}
	c.session.shared.Hub.Join(c.topic, c, replaces)
}

// Joined implements [hub.Subscriber].
func (c *Channel) Joined(err error) (stays bool) {
	s, r := c.session, c.request
	if err != nil {
		if c.state.CompareAndSwap(joining, gone) {
			s.shared.counts.add(joinFailed)
			r.span.ends(err)
			c.conclude(LeftLost, c.version().Refusal(c.joinRef(), r.ref, r.topic, reason(err)))
		}
		return false
	}
	if !c.state.CompareAndSwap(joining, joined) { // its socket closed
		if r.old != nil && r.old.state.CompareAndSwap(joined, gone) { // c took its seat
			r.old.over(LeftClosed)
		}
		return false
	}
	defer s.gate.end(s.conn)
	c.request = nil
	s.shared.counts.add(joinedOK)
	r.span.ends(nil)
	if r.reply.Len() == 0 {
		r.reply = c.version().OK(c.joinRef(), r.ref, r.topic)
	}
	s.conn.Send(r.reply)
	replaced := r.old != nil && r.old.state.CompareAndSwap(joined, gone)
	if replaced || r.closes {
		s.conn.Send(c.version().Close(r.old.joinRef(), r.topic))
	}
	c.post(r.pushes)
	c.enter(r.person)
	if c.ns.AsksHandler() { // also if it was not asked about the join
		c.extra.admitted.Store(true)
	}
	if replaced { // behind enter: somebody who joins again was never away
		r.old.over(LeftReplaced)
	}
	if c.doomed.Swap(false) {
		s.conn.Send(c.version().Close(c.joinRef(), r.topic))
		c.state.Store(gone)
		c.over(LeftKicked)
		return false
	}
	c.watch()
	return true
}

// refusal is the error reply to the join.
func (c *Channel) refusal(reason string) wsframe.Frame {
	return c.version().Refusal(c.joinRef(), c.request.ref, c.request.topic, reason)
}

// errRefused is how the span of a refused join ends.
var errRefused = errors.New("refused")

// refuseSlowly refuses the join when the client has waited for it, so that one
// that tries again at once does so less often.
func (c *Channel) refuseSlowly(answer wsframe.Frame) {
	refuse := func() {
		if c.state.CompareAndSwap(joining, gone) {
			c.session.shared.counts.add(joinRefused)
			c.request.span.ends(errRefused)
			c.conclude(LeftCrashed, answer)
		}
	}
	if d := c.session.shared.limits.RefusalDelay; d > 0 {
		time.AfterFunc(d, refuse)
	} else {
		refuse()
	}
}

// conclude answers a join that failed, and lets the client go on. why is for a
// handler that had let it in.
func (c *Channel) conclude(why LeaveReason, answer wsframe.Frame) {
	s, r := c.session, c.request
	s.conn.Send(answer)
	if r.closes {
		s.conn.Send(c.version().Close(r.old.joinRef(), r.topic))
	}
	c.over(why)
	s.gate.end(s.conn)
}

// endOld ends the channel that c replaces.
func (c *Channel) endOld() {
	r := c.request
	r.closes = r.old != nil && r.old.end(LeftReplaced)
}

// errClosed is how the span of a join ends whose socket closed.
var errClosed = errors.New("socket closed")

// abandon ends a join whose socket closed. It reports whether there was one.
func (c *Channel) abandon() bool {
	if !c.state.CompareAndSwap(joining, gone) {
		return false
	}
	c.request.span.ends(errClosed)
	c.session.shared.Hub.Leave(c.topic, c, nil)
	if old := c.request.old; old != nil {
		old.end(LeftClosed)
	}
	c.over(LeftClosed)
	return true
}
