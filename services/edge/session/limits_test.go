package session_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/services/edge/session"
)

// A client that sends more than the limit loses nothing: it is read at the
// limit's rate, after a burst of two seconds' worth.
func TestRate(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const rate, messages = 100, 700
		limits := session.DefaultLimits()
		limits.Rate = rate
		m := newMesh(t, limits)
		c := m.client(1)
		for i := range messages {
			c.text(fmt.Sprintf(`[null,"%d","phoenix","heartbeat",{}]`, i))
		}
		start := time.Now()
		c.wait()
		if got := len(c.take()); got != messages {
			t.Errorf("%d answers", got)
		}
		// The last pause begins behind the last message.
		if took := time.Since(start).Round(100 * time.Millisecond); took != (messages-2*rate)*time.Second/rate {
			t.Errorf("took %s", took)
		}
	})
}

func TestRateOff(t *testing.T) {
	m := newMesh(t, session.Limits{Channels: 1, Unanswered: 1})
	c := m.client(1)
	for range 10_000 {
		c.text(`[null,"1","phoenix","heartbeat",{}]`)
	}
	c.pump()
	if got := len(c.take()); got != 10_000 {
		t.Errorf("%d answers", got)
	}
}

// What waits for a handler is bounded in bytes; then the client is.
func TestWaitingForTheHandler(t *testing.T) {
	limits := session.DefaultLimits()
	limits.Waiting = 1000
	m, b := handled(t, limits)
	c := m.client(1)
	m.joinedRoom(t, c)
	for i := range 10 {
		c.text(fmt.Sprintf(`["1","%d","room:lobby","echo",{"x":"%0300d"}]`, i, i))
	}
	c.pump()
	if got := len(c.in); got != 6 {
		t.Errorf("%d messages wait in the kernel, want 6", got)
	}
	b.serve()
	if c.pump(); len(c.in) != 6 {
		t.Error("read on with more than half of the bytes waiting")
	}
	m.settle(c)
	if got := len(c.take()); got != 10 {
		t.Errorf("%d answers", got)
	}
}

// A join waits five seconds for the pushes of its predecessor, as in Phoenix,
// and for the one that the handler has.
func TestJoinBehindASlowHandler(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, b := handled(t, session.DefaultLimits())
		c := m.client(1)
		m.joinedRoom(t, c)
		for i := range 5 {
			c.text(fmt.Sprintf(`["1","1%d","room:lobby","echo",{}]`, i))
		}
		c.text(`["5","5","room:lobby","phx_join",{}]`)
		c.pump()
		for range 2 {
			pass(3 * time.Second)
			b.serve()
		}
		c.got(t, ok("1", "10", "room:lobby"), ok("1", "11", "room:lobby"))
		m.settle(c)
		c.got(t, ok("5", "5", "room:lobby"), `["1","1","room:lobby","phx_close",{}]`)
		if got := m.counts(t)["unreplied"]; got != 3 {
			t.Errorf("%d pushes counted as not replied to", got)
		}
	})
}

func TestRefusalDelay(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		limits := session.DefaultLimits()
		limits.RefusalDelay = 5 * time.Second
		m := newMeshOf(t, limits, session.Deps{Tokens: tokens{}},
			namespace.Namespace{Topics: "*", Join: namespace.JoinToken})
		c := m.client(1)
		c.text(`["1","1","t","phx_join",{}]`)
		c.text(`[null,"2","phoenix","heartbeat",{}]`)
		start := time.Now()
		c.wait()
		c.got(t, refusal("1", "1", "t", "token required"), `[null,"2","phoenix","phx_reply",{"response":{},"status":"ok"}]`)
		if took := time.Since(start); took != limits.RefusalDelay {
			t.Errorf("refused after %s", took)
		}
		c.text(`["3","3","t","phx_join",{}]`)
		c.pump()
		c.hangUp()
		pass(limits.RefusalDelay)
		c.got(t)
	})
}

func TestPushModes(t *testing.T) {
	m := newMeshOf(t, session.DefaultLimits(), session.Deps{},
		namespace.Namespace{Topics: "from:*", Push: namespace.PushRelayFrom},
		namespace.Namespace{Topics: "deny:*", Push: namespace.PushDeny})
	a, b := m.client(1), m.client(2)
	m.joined(t, a, "from:1")
	m.joined(t, b, "from:1")
	a.text(`["1","2","from:1","e",{"n":1}]`)
	m.settle(a, b)
	a.got(t, ok("1", "2", "from:1"))
	b.got(t, `[null,null,"from:1","e",{"n":1}]`)

	m.joined(t, a, "deny:1")
	a.text(`["1","2","deny:1","e",{}]`)
	a.text(`["1","3","deny:1","e",7]`)
	a.text(`["1","4","other","phx_join",{}]`)
	m.settle(a)
	a.got(t, refusal("1", "2", "deny:1", "push not allowed"), refusal("1", "3", "deny:1", "push not allowed"),
		`[null,"4","other","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`)
}
