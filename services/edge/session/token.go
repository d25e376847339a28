package session

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/skein-mesh/skein/pkg/grant"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/phx"
)

// The events by which a client replaces its token, and the one that asks for it.
// They go to nobody else.
const (
	eventToken        = "skein:token"         // {"token": "..."}
	eventAccessToken  = "access_token"        // {"access_token": "..."}, of Supabase's realtime-js
	eventTokenExpired = "skein:token_expired" //nolint:gosec // {"grace_ms": N}
)

// identity is what is known of whose socket it is.
type identity struct {
	// Static after construction.
	user    string // as connect said; empty leaves it to the grant
	assigns []byte
	trace   []byte // see [Client.Trace]

	// Guarded by the session's lock.
	grant *grant.Grant // the latest; nil for none
	timer *time.Timer  // for the next grant of a channel that expires; nil if none does
}

func newIdentity(c Client) *identity {
	if c.User == "" && c.Grant == nil && c.Assigns == nil && c.Trace == nil {
		return nil
	}
	return &identity{user: c.User, assigns: c.Assigns, trace: c.Trace, grant: c.Grant}
}

// grant is that of the socket; nil for none.
func (s *Session) grant() *grant.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identity == nil {
		return nil
	}
	return s.identity.grant
}

func (s *Session) setGrant(g *grant.Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identity == nil {
		s.identity = new(identity)
	}
	s.identity.grant = g
}

// user is whose socket it is, as connect said, or else the given grant, or that
// of the socket for nil; empty if nobody says.
func (s *Session) user(g *grant.Grant) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id := s.identity; id != nil {
		if id.user != "" {
			return id.user
		}
		if g == nil {
			g = id.grant
		}
	}
	if g == nil {
		return ""
	}
	return g.User
}

// assigns are those of the socket; nil for none.
func (s *Session) assigns() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identity == nil {
		return nil
	}
	return s.identity.assigns
}

// user is whose channel it is; empty if nobody says.
func (c *Channel) user() string {
	if c.extra == nil {
		return c.session.user(nil)
	}
	return c.session.user(c.extra.grant.Load())
}

// usesClaims reports whether a token of the client means anything here.
func (c *Channel) usesClaims() bool {
	return c.ns.Join != namespace.JoinOpen || strings.HasPrefix(c.ns.Presence.Key, namespace.KeyClaims)
}

// mayPush reports whether the channel's token allows its pushes.
func (c *Channel) mayPush() bool {
	if c.ns.Join != namespace.JoinToken {
		return true
	}
	g := c.extra.grant.Load()
	return g == nil || g.MayPush(c.topic)
}

// tokenOf is the token in the params of a join; empty if there is none.
func tokenOf(params []byte) string {
	var p struct {
		Token  json.RawMessage `json:"token"`
		Access json.RawMessage `json:"access_token"`
	}
	if json.Unmarshal(params, &p) != nil {
		return ""
	}
	if token := textOf(p.Token); token != "" {
		return token
	}
	return textOf(p.Access)
}

// textOf is the string that value is; empty if it is none.
func textOf(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}

// refresh replaces the channel's token, and that of all that the same let in.
// Where tokens mean nothing it is thrown away: a secret is never relayed.
func (s *Session) refresh(c *Channel, event string, m phx.Message) {
	tokens := s.shared.Tokens
	reply := func(err error) {
		if err == nil {
			c.send(c.version().OK(c.ref, m.Ref, m.Topic))
			return
		}
		s.shared.counts.add(notRefreshed)
		c.send(c.version().Refusal(c.ref, m.Ref, m.Topic, reason(err)))
	}
	if tokens == nil || !c.usesClaims() {
		reply(nil)
		return
	}
	member := "token"
	if event == eventAccessToken {
		member = "access_token"
	}
	value, _ := find(m.Payload, member)
	token := textOf(value)
	if m.Binary || token == "" {
		reply(grant.ErrMissing)
		return
	}
	s.unanswered.Add(1)
	c.inTurn(func(done func()) {
		tokens.Verify(token, func(g *grant.Grant, err error) {
			if err == nil && g.Expired(time.Now()) {
				err = grant.ErrExpired
			}
			if err == nil {
				s.adopt(c, g)
			}
			reply(err)
			s.answered(0)
			done()
		})
	})
	s.throttle()
}

// inTurn runs do behind what waits for the channel's handler, and holds off what
// would end the channel, until do calls done.
func (c *Channel) inTurn(do func(done func())) {
	if c.asks() {
		c.extra.mailbox.add(func() { do(c.extra.mailbox.done) })
		return
	}
	c.hold()
	do(c.release)
}

// adopt makes g the grant of the socket, and of every channel that has the same
// as c: those that it does not allow end.
func (s *Session) adopt(c *Channel, g *grant.Grant) {
	s.shared.counts.add(refreshed)
	s.setGrant(g)
	old := c.extra.grant.Load()
	for _, other := range s.snapshot() {
		if other.extra == nil || other.extra.grant.Load() != old {
			continue
		}
		other.extra.grant.Store(g)
		if other.ns.Join == namespace.JoinToken && !g.MayJoin(other.topic) {
			other.expire(grant.ErrTopic)
		}
	}
	s.watch()
}

// expire ends a channel whose token allows it no longer. The client joins again,
// with another token if it has one.
func (c *Channel) expire(why error) {
	if c.end(LeftExpired, c.version().Error(c.joinRef(), phx.Text(c.topic), why.Error())) {
		c.session.shared.counts.add(expired)
	}
}

// watch sees to it that the end of the channel's grant is noticed.
func (c *Channel) watch() {
	if c.extra != nil && c.expiring() != nil {
		c.session.watch()
	}
}

// expiring is the grant that limits how long the channel lives; nil for none.
func (c *Channel) expiring() *grant.Grant {
	if c.extra == nil || c.ns.Join == namespace.JoinOpen || c.state.Load() != joined {
		return nil
	}
	if g := c.extra.grant.Load(); g != nil && !g.Expires.IsZero() {
		return g
	}
	return nil
}

// watch sets the timer for what [Session.expire] has to do next.
func (s *Session) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next time.Time
	for _, c := range s.channels {
		g := c.expiring()
		if g == nil {
			continue
		}
		at := g.Expires
		if c.extra.warned == g {
			at = at.Add(s.shared.limits.Grace)
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	s.stopTimer()
	if next.IsZero() {
		return
	}
	if s.identity == nil { // its channels have their own grants
		s.identity = new(identity)
	}
	s.identity.timer = time.AfterFunc(time.Until(next), s.expire)
}

// stopTimer stops the timer, if there is one. The lock is held.
func (s *Session) stopTimer() {
	if s.identity != nil && s.identity.timer != nil {
		s.identity.timer.Stop()
		s.identity.timer = nil
	}
}

// expire tells the channels whose grant expired, and ends those that were told
// and got no other in time.
func (s *Session) expire() {
	now := time.Now()
	s.mu.Lock()
	var warn, end []*Channel
	for _, c := range s.channels {
		g := c.expiring()
		switch {
		case g == nil || !g.Expired(now):
		case c.extra.warned != g:
			c.extra.warned = g
			warn = append(warn, c)
		case !now.Before(g.Expires.Add(s.shared.limits.Grace)):
			end = append(end, c)
		}
	}
	s.mu.Unlock()
	for _, c := range warn {
		c.Push(eventTokenExpired, graceOf(s.shared.limits.Grace))
	}
	for _, c := range end {
		c.expire(grant.ErrExpired)
	}
	s.watch()
}

// graceOf is the payload that tells how long a client has for another token.
func graceOf(d time.Duration) []byte {
	return fmt.Appendf(nil, `{"grace_ms":%d}`, d.Milliseconds())
}
