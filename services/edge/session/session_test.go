package session_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/services/edge/session"
)

// texts returns what a client got since the last call, and checks nothing.
func (c *client) texts() []string {
	var out []string
	for _, f := range c.take() {
		out = append(out, describe(f))
	}
	return out
}

func (c *client) got(t *testing.T, want ...string) {
	t.Helper()
	if got := c.texts(); !slices.Equal(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (m *mesh) joined(t *testing.T, c *client, topic string) {
	t.Helper()
	c.text(fmt.Sprintf(`["1","1",%q,"phx_join",{}]`, topic))
	m.settle(c)
	c.got(t, ok("1", "1", topic))
}

func ok(joinRef, ref, topic string) string {
	return fmt.Sprintf(`[%q,%q,%q,"phx_reply",{"response":{},"status":"ok"}]`, joinRef, ref, topic)
}

func refusal(joinRef, ref, topic, reason string) string {
	return fmt.Sprintf(`[%q,%q,%q,"phx_reply",{"response":{"reason":%q},"status":"error"}]`, joinRef, ref, topic, reason)
}

func TestJoinWithoutOwner(t *testing.T) {
	m := newMesh(t, session.DefaultLimits())
	c := m.client(1)
	c.text(`["1","1","t","phx_join",{}]`)
	c.text(`["1","2","t","hello",{}]`)
	c.pump()
	c.got(t)
	m.hub.Confirm("t", fmt.Errorf("owner of t: %w", channel.ErrUnavailable))
	c.pump()
	c.got(t, refusal("1", "1", "t", "unavailable"), `[null,"2","t","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`)
	m.joined(t, c, "t")
}

func TestPushFails(t *testing.T) {
	for reason, err := range map[string]error{
		"unavailable": channel.ErrUnavailable,
		"overloaded":  fmt.Errorf("uplink: %w", channel.ErrOverloaded),
	} {
		m := newMesh(t, session.DefaultLimits())
		c := m.client(1)
		m.joined(t, c, "t")
		c.text(`["1","2","t","hello",{}]`)
		c.pump()
		p, _ := m.nextPublish()
		p.done(err)
		c.got(t, refusal("1", "2", "t", reason))
	}
}

func TestTopicLost(t *testing.T) {
	m := newMesh(t, session.DefaultLimits())
	c := m.client(1)
	m.joined(t, c, "t")
	m.joined(t, c, "u")
	c.text(`["1","2","t","hello",{}]`)
	c.pump()
	m.hub.Fail(func(topic string) bool { return topic == "t" })
	c.got(t, `["1","1","t","phx_error",{"reason":"unavailable"}]`)

	p, _ := m.nextPublish()
	p.done(channel.ErrUnavailable)
	c.got(t) // the channel it belonged to is gone

	c.text(`["1","3","t","hello",{}]`)
	c.text(`["1","4","u","hello",{}]`)
	m.settle(c)
	c.got(t, `[null,"3","t","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`,
		`[null,null,"u","hello",{}]`, ok("1", "4", "u"))
	m.joined(t, c, "t")
}

// A leave or a crash that waited for a push meets a channel that failed.
func TestTopicLostWhileEnding(t *testing.T) {
	for name, c := range map[string]struct{ message, want string }{
		"leave": {`["1","3","t","phx_leave",{}]`, ok("1", "3", "t")},
		"crash": {`["1","3","t","hello",7]`, `[null,"3","t","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`},
		"join":  {`["3","3","t","phx_join",{}]`, ok("3", "3", "t")},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t, session.DefaultLimits())
			a := m.client(1)
			m.joined(t, a, "t")
			a.text(`["1","2","t","hello",{}]`)
			a.text(c.message)
			a.pump()
			m.hub.Fail(func(string) bool { return true })
			a.got(t, `["1","1","t","phx_error",{"reason":"unavailable"}]`)
			m.settle(a)
			a.got(t, c.want)
			if a.paused {
				t.Error("the client is still paused")
			}
		})
	}
}

// W024: 101 joins on one socket; a leave or a lost topic frees its slot.
func TestTooManyChannels(t *testing.T) {
	m := newMesh(t, session.DefaultLimits())
	c := m.client(1)
	for i := range 100 {
		m.joined(t, c, fmt.Sprintf("room:%d", i))
	}
	tooMany := func() {
		t.Helper()
		c.text(`["9","9","one:more","phx_join",{}]`)
		m.settle(c)
		c.got(t, refusal("9", "9", "one:more", "too many channels joined"))
	}
	tooMany()
	c.text(`["2","2","room:5","phx_join",{}]`) // takes the place of another
	m.settle(c)
	c.got(t, ok("2", "2", "room:5"), `["1","1","room:5","phx_close",{}]`)
	tooMany()
	c.text(`["2","3","room:5","phx_leave",{}]`)
	m.settle(c)
	c.got(t, ok("2", "3", "room:5"), `["2","2","room:5","phx_close",{}]`)
	m.joined(t, c, "room:5")
	tooMany()
	m.hub.Fail(func(topic string) bool { return topic == "room:7" })
	c.got(t, `["1","1","room:7","phx_error",{"reason":"unavailable"}]`)
	m.joined(t, c, "one:more")
}

// A client may have so many pushes under way, then it waits until half of them
// are answered.
func TestUnansweredPushes(t *testing.T) {
	m := newMesh(t, session.Limits{Channels: 1, Unanswered: 4})
	c := m.client(1)
	m.joined(t, c, "t")
	for range 10 {
		c.text(`["1","2","t","hello",{}]`)
	}
	answer := func() {
		p, _ := m.nextPublish()
		p.done(nil)
		c.pump()
	}
	for _, want := range []int{4, 3, 4, 3, 4, 3, 4, 3, 2, 1, 0} { // waiting in the mesh
		if c.pump(); len(m.pending) != want {
			t.Fatalf("%d under way, want %d", len(m.pending), want)
		}
		if want > 0 {
			answer()
		}
	}
	if got := len(c.take()); got != 10 {
		t.Errorf("%d answers, want 10", got)
	}
}

// An answer may come before Publish returns.
func TestAnsweredAtOnce(t *testing.T) {
	m := newMesh(t, session.Limits{Channels: 1, Unanswered: 1})
	m.deps.Mesh = instantMesh{m}
	shared, err := session.NewShared(m.deps, m.limits)
	if err != nil {
		t.Fatal(err)
	}
	m.shared = shared
	c := m.client(1)
	m.joined(t, c, "t")
	c.text(`["1","2","t","hello",{}]`)
	c.text(`["1","3","t","phx_leave",{}]`)
	c.pump()
	c.got(t, `[null,null,"t","hello",{}]`, ok("1", "2", "t"), ok("1", "3", "t"), `["1","1","t","phx_close",{}]`)
}

type instantMesh struct{ *mesh }

func (m instantMesh) Publish(b channel.Broadcast, done func(error)) {
	m.hub.Deliver(b)
	done(nil)
}

func TestClosedLeavesNothing(t *testing.T) {
	m := newMesh(t, session.DefaultLimits())
	for name, behind := range map[string]string{
		"joined":        ``,
		"joining":       `["5","5","other","phx_join",{}]`,
		"replacing":     `["5","5","t","phx_join",{}]`,
		"leaving":       `["1","5","t","phx_leave",{}]`,
		"not a message": `nonsense`,
	} {
		t.Run(name, func(t *testing.T) {
			c := m.client(1)
			m.joined(t, c, "t")
			c.text(`["1","2","t","hello",{}]`)
			if behind != "" {
				c.text(behind)
			}
			c.pump()
			c.hangUp()
			m.settle()
			c.got(t)
			if n := m.hub.Stats().Subscribers; n != 0 {
				t.Errorf("%d subscribers left", n)
			}
		})
	}
}

func TestLimitsValidate(t *testing.T) {
	if err := session.DefaultLimits().Validate(); err != nil {
		t.Error(err)
	}
	bad := session.Limits{Rate: -1, RefusalDelay: -1, Grace: -1}
	var joined interface{ Unwrap() []error }
	if err := bad.Validate(); !errors.As(err, &joined) || len(joined.Unwrap()) != 6 {
		t.Errorf("got %v, want all limits named", err)
	}
}
