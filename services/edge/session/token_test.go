package session_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/grant"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/services/edge/session"
)

// tokens checks tokens that are their own claims, each quote a '. Some words
// are tokens with which something is wrong.
type tokens struct{}

func (tokens) Verify(token string, done func(*grant.Grant, error)) {
	switch token {
	case "unavailable":
		done(nil, channel.ErrUnavailable)
	case "expired":
		done(nil, fmt.Errorf("jwt: %w", grant.ErrExpired))
	default:
		done(grant.Parse([]byte(strings.ReplaceAll(token, "'", `"`))))
	}
}

// pass lets virtual time pass, and everything happen that is due then.
func pass(d time.Duration) {
	time.Sleep(d) // virtual time
	synctest.Wait()
}

func granted(tb testing.TB, claims string) *grant.Grant {
	tb.Helper()
	g, err := grant.Parse([]byte(claims))
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func expiring(d time.Duration) string { return fmt.Sprintf(`{'exp':%d}`, time.Now().Add(d).Unix()) }

// gated returns a mesh that wants a token for all topics but open:* and
// room:*, which the returned backend decides.
func gated(tb testing.TB, limits session.Limits) (*mesh, *backend) {
	tb.Helper()
	b := &backend{}
	m := newMeshOf(tb, limits, session.Deps{Backend: b, Tokens: tokens{}},
		namespace.Namespace{Topics: "*", Join: namespace.JoinToken},
		namespace.Namespace{Topics: "open:*"},
		namespace.Namespace{Topics: "room:*", Join: namespace.JoinHandler, Push: namespace.PushHandler, Handler: "app"})
	m.world = b.serve
	return m, b
}

func TestJoinWithToken(t *testing.T) {
	for name, c := range map[string]struct {
		socket        string // claims of the token it connected with
		topic, params string
		refused       string // reason, empty if it is not
	}{
		"none":                             {"", "t", `{}`, "token required"},
		"no object":                        {"", "t", `"token"`, "token required"},
		"no string":                        {"", "t", `{"token":7}`, "token required"},
		"of the join":                      {"", "t", `{"token":"{}"}`, ""},
		"of realtime-js":                   {"", "t", `{"access_token":"{}"}`, ""},
		"of the socket":                    {`{}`, "t", `{}`, ""},
		"invalid":                          {"", "t", `{"token":"x"}`, "token invalid"},
		"invalid, and the socket's is not": {`{}`, "t", `{"token":"x"}`, "token invalid"},
		"expired":                          {"", "t", `{"token":"expired"}`, "token expired"},
		"of the socket, expired":           {`{"exp":7}`, "t", `{}`, "token expired"},
		"cannot be checked":                {"", "t", `{"token":"unavailable"}`, "unavailable"},
		"of other topics":                  {"", "t", `{"token":"{'topics':['u','v:*']}"}`, "not allowed by token"},
		"of a prefix":                      {"", "v:1", `{"token":"{'topics':['u','v:*']}"}`, ""},
		"open, invalid":                    {"", "open:1", `{"token":"x"}`, ""},
		"open, cannot be checked":          {"", "open:1", `{"token":"unavailable"}`, ""},
		"handler, invalid":                 {"", "room:1", `{"token":"x"}`, ""},
		"handler, cannot be checked":       {"", "room:1", `{"token":"unavailable"}`, "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := gated(t, session.DefaultLimits())
			who := session.Client{}
			if c.socket != "" {
				who.Grant = granted(t, c.socket)
			}
			a := m.clientOf(1, who)
			a.text(fmt.Sprintf(`["1","1",%q,"phx_join",%s]`, c.topic, c.params))
			m.settle(a)
			want := ok("1", "1", c.topic)
			if c.refused != "" {
				want = refusal("1", "1", c.topic, c.refused)
			}
			a.got(t, want)
		})
	}
}

// A join's token is the socket's for later joins, and says whose it is.
func TestTokenOfJoinIsKept(t *testing.T) {
	m, b := gated(t, session.DefaultLimits())
	a := m.clientOf(1, session.Client{Assigns: []byte(`{"n":1}`)})
	a.text(`["1","1","t","phx_join",{"token":"{'sub':'ann'}"}]`)
	m.settle(a)
	a.got(t, ok("1", "1", "t"))
	m.joined(t, a, "u")
	a.text(`["1","1","room:1","phx_join",{}]`)
	a.pump()
	c, _ := b.next()
	if c.caller.User != "ann" || string(c.caller.Claims) != `{"sub":"ann"}` || string(c.caller.Assigns) != `{"n":1}` {
		t.Errorf("the handler is told %+v", c.caller)
	}
	c.join(session.JoinAnswer{Assigns: []byte(`{"n":2}`)}, nil)
	m.settle(a)
	a.got(t, ok("1", "1", "room:1"))
	for i, assigns := range []string{`{"n":2}`, `{"n":2}`, `{"n":3}`} {
		a.text(`["1","2","room:1","count",{}]`)
		a.pump()
		if c, _ = b.next(); string(c.caller.Assigns) != assigns {
			t.Errorf("push %d: assigns %s, want %s", i, c.caller.Assigns, assigns)
		}
		answer := session.PushAnswer{}
		if i == 1 {
			answer.Assigns = []byte(`{"n":3}`)
		}
		c.push(answer, nil)
	}
	if closed, _ := a.session.Disconnect("ann", ""); !closed {
		t.Error("the socket is not ann's")
	}
}

func TestPushWithToken(t *testing.T) {
	m, _ := gated(t, session.DefaultLimits())
	a := m.clientOf(1, session.Client{Grant: granted(t, `{"topics":["t","u"],"push":["u"]}`)})
	m.joined(t, a, "t")
	m.joined(t, a, "u")
	a.text(`["1","2","t","e",{}]`)
	a.text(`["1","3","u","e",{}]`)
	m.settle(a)
	a.got(t, refusal("1", "2", "t", "not allowed by token"), `[null,null,"u","e",{}]`, ok("1", "3", "u"))
}

// A channel whose token expired is told so, and ends after the grace.
func TestTokenExpires(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, _ := gated(t, session.DefaultLimits())
		a := m.client(1)
		for _, topic := range []string{"t", "room:1"} {
			a.text(fmt.Sprintf(`["1","1",%q,"phx_join",{"token":%q}]`, topic, expiring(time.Minute)))
		}
		a.text(fmt.Sprintf(`["1","1","u","phx_join",{"token":%q}]`, expiring(time.Hour)))
		m.settle(a)
		a.take()
		m.joined(t, a, "open:1")
		pass(time.Minute - time.Second)
		a.got(t)
		pass(time.Second)
		a.got(t, `["1",null,"t","skein:token_expired",{"grace_ms":30000}]`,
			`["1",null,"room:1","skein:token_expired",{"grace_ms":30000}]`)
		a.text(`["1","2","t","still",{}]`)
		m.settle(a)
		a.got(t, `[null,null,"t","still",{}]`, ok("1", "2", "t"))
		pass(30 * time.Second)
		a.got(t, `["1","1","t","phx_error",{"reason":"token expired"}]`, `["1","1","room:1","phx_error",{"reason":"token expired"}]`)
		pass(time.Hour)
		a.got(t, `["1",null,"u","skein:token_expired",{"grace_ms":30000}]`, `["1","1","u","phx_error",{"reason":"token expired"}]`)
		m.joined(t, a, "open:2")
	})
}

// A refreshed token holds for all channels that the old one let in.
func TestTokenRefreshed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, b := gated(t, session.DefaultLimits())
		a := m.clientOf(1, session.Client{Grant: granted(t, strings.ReplaceAll(expiring(time.Minute), "'", `"`))})
		m.joined(t, a, "t")
		m.joined(t, a, "room:1")
		pass(time.Minute)
		a.take()
		a.text(fmt.Sprintf(`["1","2","room:1","skein:token",{"token":%q}]`, expiring(time.Hour)))
		m.settle(a)
		a.got(t, ok("1", "2", "room:1"))
		pass(time.Minute)
		a.got(t)
		a.text(`["1","3","room:1","claims",{}]`)
		a.pump()
		if c, _ := b.next(); !strings.Contains(string(c.caller.Claims), "exp") {
			t.Errorf("the handler sees claims %s", c.caller.Claims)
		}
		a.text(`["1","4","t","access_token",{"access_token":"{'topics':['room:*']}"}]`)
		m.settle(a)
		a.got(t, `["1","1","t","phx_error",{"reason":"not allowed by token"}]`)
		a.hangUp()
	})
}

func TestTokenNotRefreshed(t *testing.T) {
	m, _ := gated(t, session.DefaultLimits())
	a := m.clientOf(1, session.Client{Grant: granted(t, `{}`)})
	m.joined(t, a, "t")
	m.joined(t, a, "open:1")
	for i, c := range []struct{ message, want string }{
		{`["1","2","t","skein:token",{"token":"x"}]`, refusal("1", "2", "t", "token invalid")},
		{`["1","2","t","skein:token",{"token":"{'exp':7}"}]`, refusal("1", "2", "t", "token expired")},
		{`["1","2","t","skein:token",{"token":"unavailable"}]`, refusal("1", "2", "t", "unavailable")},
		{`["1","2","t","skein:token",{"access_token":"{}"}]`, refusal("1", "2", "t", "token required")},
		{`["1","2","t","access_token",{"access_token":null}]`, refusal("1", "2", "t", "token required")},
		{`["1","2","t","access_token",7]`, refusal("1", "2", "t", "token required")},
		{`["1","2","open:1","access_token",{"access_token":"secret"}]`, ok("1", "2", "open:1")},
		{`["1","2","t","e",{}]`, `[null,null,"t","e",{}]` + ok("1", "2", "t")},
	} {
		a.text(c.message)
		m.settle(a)
		if got := strings.Join(a.texts(), ""); got != c.want {
			t.Errorf("%d: got %s, want %s", i, got, c.want)
		}
	}
}

// Channels with tokens of their own do not share them.
func TestTokensOfTheirOwn(t *testing.T) {
	m, _ := gated(t, session.DefaultLimits())
	a := m.client(1)
	for _, topic := range []string{"t", "u"} {
		a.text(fmt.Sprintf(`["1","1",%q,"phx_join",{"token":"{'topics':[%s]}"}]`, topic, "'"+topic+"'"))
	}
	m.settle(a)
	a.got(t, ok("1", "1", "t"), ok("1", "1", "u"))
	a.text(`["1","2","u","skein:token",{"token":"{'topics':['u']}"}]`)
	m.settle(a)
	a.got(t, ok("1", "2", "u"))
	a.text(`["1","3","t","e",{}]`)
	m.settle(a)
	a.got(t, `[null,null,"t","e",{}]`, ok("1", "3", "t"))
}
