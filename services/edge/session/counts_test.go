package session_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/services/edge/session"
)

// Whatever becomes of a message or a channel is counted once.
func TestCounts(t *testing.T) {
	push := func(topic, event, payload string) string {
		return fmt.Sprintf(`["1","2",%q,%q,%s]`, topic, event, payload)
	}
	for want, do := range map[string]func(m *mesh, c *client){
		"joined too_many_channels": func(_ *mesh, c *client) {
			c.text(push("t", "phx_join", `{}`))
			c.text(push("new", "phx_join", `{}`))
		},
		"joined":                        func(_ *mesh, c *client) { c.text(push("t", "phx_join", `{}`)) },
		"join_refused":                  func(_ *mesh, c *client) { c.text(push("room:no", "phx_join", `{}`)) },
		"push_denied":                   func(_ *mesh, c *client) { c.text(push("deny", "e", `{}`)) },
		"pushed":                        func(_ *mesh, c *client) { c.text(push("open", "e", `{}`)) },
		"pushed push_failed":            func(_ *mesh, c *client) { c.text(push("room:1", "slow", `{}`)) },
		"pushed channel_crash":          func(_ *mesh, c *client) { c.text(push("room:1", "crash", `{}`)) },
		"channel_crash":                 func(_ *mesh, c *client) { c.text(push("open", "e", `7`)) },
		"pushed channel_stopped":        func(_ *mesh, c *client) { c.text(push("room:1", "exit_reply", `{}`)) },
		"unmatched_topic":               func(_ *mesh, c *client) { c.text(push("none", "e", `{}`)) },
		"stale_join_ref":                func(_ *mesh, c *client) { c.text(`["0","2","open","e",{}]`) },
		"channel_failed":                func(m *mesh, _ *client) { m.hub.Fail(func(topic string) bool { return topic == "open" }) },
		"disconnected":                  func(_ *mesh, c *client) { c.session.Disconnect("", "open") },
		"token_refreshed":               func(_ *mesh, c *client) { c.text(push("gate", "skein:token", `{"token":"{}"}`)) },
		"token_refreshed token_expired": func(_ *mesh, c *client) { c.text(push("gate", "skein:token", `{"token":"{'topics':[]}"}`)) },
		"token_not_refreshed":           func(_ *mesh, c *client) { c.text(push("gate", "skein:token", `{}`)) },
		"malformed":                     func(_ *mesh, c *client) { c.text(`nonsense`) },
		"join_failed": func(m *mesh, c *client) {
			c.text(push("new", "phx_join", `{}`))
			c.pump()
			topic, _ := m.nextWant()
			m.hub.Confirm(topic, channel.ErrUnavailable)
		},
		"pushed unreplied disconnected": func(m *mesh, c *client) {
			c.text(push("open", "e", `{}`))
			c.pump()
			c.session.Disconnect("", "open")
		},
		"pushed broadcast_failed": func(m *mesh, c *client) {
			c.text(push("room:1", "shout", `{}`))
			c.pump()
			m.world()
			p, _ := m.nextPublish()
			p.done(channel.ErrOverloaded)
		},
	} {
		t.Run(want, func(t *testing.T) { count(t, want, do) })
	}
}

// count lets a client that is joined to a topic of each kind do something, and
// compares what is counted, once each.
func count(t *testing.T, want string, do func(m *mesh, c *client)) {
	t.Helper()
	b := &backend{}
	limits := session.DefaultLimits()
	limits.Channels = 5
	m := newMeshOf(t, limits, session.Deps{Backend: b, Tokens: tokens{}, Mount: "/socket"},
		namespace.Namespace{Topics: "open"}, namespace.Namespace{Topics: "new"}, namespace.Namespace{Topics: "t"},
		namespace.Namespace{Topics: "deny", Push: namespace.PushDeny},
		namespace.Namespace{Topics: "gate", Join: namespace.JoinToken},
		namespace.Namespace{Topics: "room:*", Join: namespace.JoinHandler, Push: namespace.PushHandler, Handler: "app"})
	m.world = b.serve
	c := m.clientOf(1, session.Client{Grant: granted(t, `{}`)})
	for _, topic := range []string{"open", "deny", "gate", "room:1"} {
		m.joined(t, c, topic)
	}
	before := m.counts(t)
	do(m, c)
	m.settle(c)
	after := m.counts(t)
	for reason, n := range before {
		if after[reason] -= n; after[reason] == 0 {
			delete(after, reason)
		}
	}
	all := map[string]int64{}
	for reason := range strings.FieldsSeq(want) {
		all[reason] = 1
	}
	if !maps.Equal(after, all) {
		t.Errorf("counted %v", after)
	}
}

// A client of version 1 that is left out of a broadcast is counted, and so is
// one that is read more slowly.
func TestCountsOfDelivery(t *testing.T) {
	limits := session.DefaultLimits()
	limits.Rate = 1
	m := newMesh(t, limits)
	c := m.clientOf(1, session.Client{Version: phx.V1})
	c.text(`{"topic":"t","event":"phx_join","payload":{},"ref":"1"}`)
	m.settle(c)
	m.hub.Deliver(channel.Broadcast{Topic: "t", Event: "e", Payload: []byte("\xff"), Binary: true})
	c.text(`{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"2"}`)
	c.text(`{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"3"}`)
	c.pump()
	if got := m.counts(t); got["binary_unfit"] != 1 || got["rate_limited"] != 1 || !c.paused {
		t.Errorf("counted %v, paused: %v", got, c.paused)
	}
}
