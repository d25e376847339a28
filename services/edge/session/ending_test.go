package session_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/session"
)

func (m *mesh) joinedRoom(t *testing.T, c *client) {
	t.Helper()
	m.joined(t, c, "room:lobby")
}

// A handler is told once of each end of a channel it let in, and why.
func TestHandlerHearsTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(m *mesh, a *client)
		reason session.LeaveReason
	}{
		"leave":    {func(_ *mesh, a *client) { a.text(`["1","2","room:lobby","phx_leave",{}]`) }, session.LeftByClient},
		"close":    {func(_ *mesh, a *client) { a.hangUp() }, session.LeftClosed},
		"move":     {func(_ *mesh, a *client) { a.session.Move("rebalance"); a.hangUp() }, session.LeftClosed},
		"replaced": {func(_ *mesh, a *client) { a.text(`["5","5","room:lobby","phx_join",{}]`) }, session.LeftReplaced},
		"crash":    {func(_ *mesh, a *client) { a.text(`["1","2","room:lobby","crash",{}]`) }, session.LeftCrashed},
		"bad":      {func(_ *mesh, a *client) { a.text(`["1","2","room:lobby","phx_error",{}]`) }, session.LeftCrashed},
		"stop":     {func(_ *mesh, a *client) { a.text(`["1","2","room:lobby","exit_shutdown",{}]`) }, session.LeftStopped},
		"kick":     {func(_ *mesh, a *client) { a.session.Disconnect("", "room:lobby") }, session.LeftKicked},
		"lost":     {func(m *mesh, _ *client) { m.hub.Fail(func(string) bool { return true }) }, session.LeftLost},
	} {
		t.Run(name, func(t *testing.T) {
			m, b := handled(t, session.DefaultLimits())
			a := m.client(1)
			m.joinedRoom(t, a)
			c.end(m, a)
			m.settle(a)
			want := []string{fmt.Sprintf("room:lobby 1 %d", c.reason)}
			if got := b.ended(); !slices.Equal(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
			a.hangUp()
			b.ended()
			m.settle(a)
			if got := b.ended(); len(got) > 0 {
				t.Errorf("told %q of what was over", got)
			}
		})
	}
}

// So is one that only answers pushes.
func TestHandlerOfPushesHearsTheEnd(t *testing.T) {
	b := &backend{}
	m := newMeshOf(t, session.DefaultLimits(), session.Deps{Backend: b},
		namespace.Namespace{Topics: "*", Push: namespace.PushHandler, Handler: "app"})
	m.world = b.serve
	a := m.client(1)
	m.joined(t, a, "t")
	a.text(`["5","5","t","phx_join",{}]`)
	a.text(`["5","6","t","phx_leave",{}]`)
	m.settle(a)
	a.got(t, ok("5", "5", "t"), `["1","1","t","phx_close",{}]`, ok("5", "6", "t"), `["5","5","t","phx_close",{}]`)
	if got := b.ended(); !slices.Equal(got, []string{"t 1 2", "t 5 0"}) {
		t.Errorf("told %q", got)
	}
}

// One that ends while its handler is asked is told when that has answered, and
// what the answer says of others is done.
func TestEndWhileTheHandlerIsAsked(t *testing.T) {
	m, b := handled(t, session.DefaultLimits())
	a, other := m.client(1), m.client(2)
	m.joinedRoom(t, a)
	m.joinedRoom(t, other)
	a.text(`["1","2","room:lobby","shout",{"m":1}]`)
	a.text(`["1","3","room:lobby","shout",{"m":2}]`)
	a.pump()
	a.hangUp()
	if got := b.ended(); len(got) > 0 {
		t.Errorf("told %q while it is asked", got)
	}
	m.settle(other)
	other.got(t, `[null,null,"room:lobby","shout",{"m":1}]`)
	if got := b.ended(); !slices.Equal(got, []string{"room:lobby 1 1"}) {
		t.Errorf("told %q", got)
	}
}

// A join may be over before its handler, or the mesh, has answered. One that a
// backend ends is joined first.
func TestJoinOverBeforeItsAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		over func(a *client)
		want []string
		told string
	}{
		"closed": {(*client).hangUp, nil, "room:lobby 1 1"},
		"kicked": {
			func(a *client) { a.session.Disconnect("", "room:lobby") },
			[]string{ok("1", "1", "room:lobby"), `["1","1","room:lobby","phx_close",{}]`}, "room:lobby 1 5",
		},
	} {
		for _, handlers := range []int{0, 1} { // that have answered
			t.Run(fmt.Sprintf("%s after %d answers", name, handlers), func(t *testing.T) {
				m, b := handled(t, session.DefaultLimits())
				a := m.client(1)
				a.text(`["1","1","room:lobby","phx_join",{}]`)
				a.pump()
				for range handlers {
					b.serve()
				}
				c.over(a)
				m.settle(a)
				a.got(t, c.want...)
				if got := b.ended(); !slices.Equal(got, []string{c.told}) {
					t.Errorf("told %q, want %q", got, c.told)
				}
				if n := m.hub.Stats().Subscribers; n != 0 || a.paused && a.closed == 0 {
					t.Errorf("%d subscribers left, paused: %v", n, a.paused)
				}
			})
		}
	}
}

// The mesh may have no owner for a topic that the handler allowed.
func TestHandlerAllowsAndTheMeshDoesNot(t *testing.T) {
	m, b := handled(t, session.DefaultLimits())
	a := m.client(1)
	a.text(`["1","1","room:lobby","phx_join",{}]`)
	a.pump()
	b.serve()
	m.hub.Confirm("room:lobby", channel.ErrUnavailable)
	a.got(t, refusal("1", "1", "room:lobby", "unavailable"))
	if got := b.ended(); !slices.Equal(got, []string{"room:lobby 1 7"}) {
		t.Errorf("told %q", got)
	}
}

// The old channel ends before the new one is decided, also if that is refused.
func TestDuplicateJoinRefused(t *testing.T) {
	m, b := handled(t, session.DefaultLimits())
	a := m.client(1)
	m.joinedRoom(t, a)
	a.text(`["5","5","room:lobby","phx_join",{}]`)
	a.pump()
	m.hub.Deliver(channel.Broadcast{Topic: "room:lobby", Event: "e", Payload: []byte(`{}`)})
	a.got(t)
	c, _ := b.next()
	if got := b.ended(); !slices.Equal(got, []string{"room:lobby 1 2"}) {
		t.Errorf("told %q before the new one is asked", got)
	}
	c.join(session.JoinAnswer{Refused: true}, nil)
	a.got(t, `["5","5","room:lobby","phx_reply",{"response":{},"status":"error"}]`, `["1","1","room:lobby","phx_close",{}]`)
	m.joinedRoom(t, a)
}

func TestDisconnect(t *testing.T) {
	m := newMesh(t, session.DefaultLimits())
	a := m.clientOf(1, session.Client{User: "ann"})
	m.joined(t, a, "t")
	m.joined(t, a, "u")
	check := func(user, topic string, closed bool, channels int) {
		t.Helper()
		if c, n := a.session.Disconnect(user, topic); c != closed || n != channels {
			t.Errorf("Disconnect(%q, %q): closed %v, %d channels", user, topic, c, n)
		}
	}
	check("bob", "", false, 0)
	check("bob", "t", false, 0)
	check("ann", "v", false, 0)
	a.got(t)
	check("ann", "t", false, 1)
	a.got(t, `["1","1","t","phx_close",{}]`)
	check("", "t", false, 0)
	check("", "u", false, 1)
	a.got(t, `["1","1","u","phx_close",{}]`)
	m.joined(t, a, "t")
	check("ann", "", true, 0)
	if a.closed != wsframe.CodeGoingAway {
		t.Errorf("closed with %d", a.closed)
	}
}

// A paused client is no different: what it waits for ends with its channel.
func TestDisconnectPaused(t *testing.T) {
	m := newMesh(t, session.DefaultLimits())
	a := m.client(1)
	m.joined(t, a, "t")
	a.text(`["1","2","t","hello",{}]`)
	a.text(`["5","5","t","phx_join",{}]`) // waits for the push
	a.text(`["5","6","t","hello",{}]`)
	a.pump()
	if _, n := a.session.Disconnect("", "t"); n != 1 {
		t.Errorf("%d channels ended", n)
	}
	a.got(t)
	m.settle(a)
	a.got(t, `[null,null,"t","hello",{}]`, ok("1", "2", "t"), ok("5", "5", "t"), `["1","1","t","phx_close",{}]`,
		`["5","5","t","phx_close",{}]`, `[null,"6","t","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`)
	if n := m.hub.Stats().Subscribers; n != 0 || a.paused {
		t.Errorf("%d subscribers left, paused: %v", n, a.paused)
	}
	m.joined(t, a, "t")
}
