package session_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/services/edge/session"
)

// people remembers what it was told, and keeps the watchers.
type people struct {
	mu       sync.Mutex
	log      []string
	watchers map[session.Watcher]string // to their topic
}

func (p *people) note(format string, args ...any) {
	p.log = append(p.log, fmt.Sprintf(format, args...))
}

func (p *people) Enter(topic string, w session.Watcher, maxListed int, who *session.Person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watchers == nil {
		p.watchers = map[session.Watcher]string{}
	}
	p.watchers[w] = topic
	if who == nil {
		p.note("enter %s", topic)
		return
	}
	p.note("enter %s %d %s %s", topic, maxListed, who.Key, who.Meta)
}

func (p *people) Track(topic string, _ session.Watcher, who session.Person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note("track %s %s %s", topic, who.Key, who.Meta)
}

func (p *people) Untrack(topic string, _ session.Watcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note("untrack %s", topic)
}

func (p *people) Leave(topic string, w session.Watcher, moving bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watchers[w] != topic {
		p.note("leave %s without enter", topic)
		return
	}
	delete(p.watchers, w)
	if moving {
		p.note("move %s", topic)
		return
	}
	p.note("leave %s", topic)
}

func (p *people) told(t *testing.T, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.log, want) {
		t.Errorf("people were told\n%s\nwant\n%s", strings.Join(p.log, "\n"), strings.Join(want, "\n"))
	}
	p.log = nil
}

// balanced checks that who entered left, once.
func (p *people) balanced(t interface{ Fatalf(string, ...any) }) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		if strings.HasSuffix(line, "without enter") {
			t.Fatalf("%s", line)
		}
	}
	if len(p.watchers) > 0 {
		t.Fatalf("%d watchers never left", len(p.watchers))
	}
}

// state is what the list of people sends to who entered: by another goroutine,
// later.
func (p *people) state() {
	p.mu.Lock()
	var all []session.Watcher
	for w := range p.watchers {
		all = append(all, w)
	}
	p.mu.Unlock()
	for _, w := range all {
		w.Push("presence_state", []byte(`{}`))
	}
}

func TestWhoEnters(t *testing.T) {
	defaults := []string{"meta.*", "online_at"}
	for name, c := range map[string]struct {
		presence namespace.Presence
		params   string
		want     string
	}{
		"W194":                {namespace.Presence{Key: "params.user_id", Meta: defaults}, `{"user_id":"u1","meta":{"d":1}}`, `1000 u1 {"d":1,"online_at":946684800}`},
		"a number":            {namespace.Presence{Key: "params.user_id"}, `{"user_id":42}`, `1000 42 {}`},
		"nobody":              {namespace.Presence{Key: "params.user_id"}, `{}`, ``},
		"an object":           {namespace.Presence{Key: "params.user_id"}, `{"user_id":{"a":1}}`, ``},
		"empty":               {namespace.Presence{Key: "params.user_id"}, `{"user_id":""}`, ``},
		"params no object":    {namespace.Presence{Key: "params.user_id"}, `"x"`, ``},
		"below":               {namespace.Presence{Key: "params.config.presence.key", MaxListed: 7}, `{"config":{"presence":{"key":"k"}}}`, `7 k {}`},
		"a name with dots":    {namespace.Presence{Key: "params.a.b"}, `{"a.b":"x","a":{"b":"y"}}`, `1000 x {}`},
		"of the token":        {namespace.Presence{Key: "claims.sub", Meta: []string{"name"}}, `{"token":"{'sub':'ann'}","name":"Ann","sub":"x"}`, `1000 ann {"name":"Ann"}`},
		"of no token":         {namespace.Presence{Key: "claims.sub"}, `{"sub":"x"}`, ``},
		"meta of many kinds":  {namespace.Presence{Key: "params.u", Meta: []string{"a", "b", "m.*", "n.c", "z.*"}}, `{"u":"x","a":[1],"m":{"q\"":1,"p":"é","a":2},"n":{"c":null},"z":7}`, `1000 x {"a":[1],"p":"é","q\"":1,"c":null}`},
		"meta is not the key": {namespace.Presence{Key: "params.u", Meta: []string{"u"}}, `{"u":7}`, `1000 7 {"u":7}`},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				p := &people{}
				m := newMeshOf(t, session.DefaultLimits(), session.Deps{People: p, Tokens: tokens{}},
					namespace.Namespace{Topics: "*", Presence: c.presence})
				a := m.client(1)
				a.text(fmt.Sprintf(`["1","1","t","phx_join",%s]`, c.params))
				m.settle(a)
				a.got(t, ok("1", "1", "t"))
				p.told(t, strings.TrimRight("enter t "+c.want, " "))
				p.state()
				a.got(t, `["1",null,"t","presence_state",{}]`)
				a.hangUp()
				p.told(t, "leave t")
			})
		})
	}
}

// However a channel ends, people hear of it once; and a watcher that is over is
// sent nothing.
func TestPeopleLeave(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(m *mesh, a *client)
		want []string
	}{
		"leave":      {func(_ *mesh, a *client) { a.text(`["1","2","t","phx_leave",{}]`) }, []string{"leave t"}},
		"close":      {func(_ *mesh, a *client) { a.hangUp() }, []string{"leave t"}},
		"crash":      {func(_ *mesh, a *client) { a.text(`["1","2","t","e",7]`) }, []string{"leave t"}},
		"kick":       {func(_ *mesh, a *client) { a.session.Disconnect("", "t") }, []string{"leave t"}},
		"move":       {func(_ *mesh, a *client) { a.session.Move("rebalance"); a.hangUp() }, []string{"move t"}},
		"left first": {func(_ *mesh, a *client) { a.session.Move(""); a.text(`["1","2","t","phx_leave",{}]`) }, []string{"leave t"}},
		"lost":       {func(m *mesh, _ *client) { m.hub.Fail(func(string) bool { return true }) }, []string{"leave t"}},
		"join again": {func(_ *mesh, a *client) { a.text(`["5","5","t","phx_join",{"u":2}]`) }, []string{"enter t 1000 2 {}", "leave t"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &people{}
			m := newMeshOf(t, session.DefaultLimits(), session.Deps{People: p},
				namespace.Namespace{Topics: "*", Presence: namespace.Presence{Key: "params.u"}})
			a := m.client(1)
			a.text(`["1","1","t","phx_join",{"u":1}]`)
			m.settle(a)
			p.told(t, "enter t 1000 1 {}")
			var old session.Watcher
			for old = range p.watchers {
			}
			c.end(m, a)
			m.settle(a)
			p.told(t, c.want...)
			a.take()
			old.Push("presence_state", []byte(`{}`))
			a.got(t)
			a.hangUp()
		})
	}
}

// A handler may say who a channel is, and change it.
func TestHandlerSaysWho(t *testing.T) {
	p, b := &people{}, &backend{}
	m := newMeshOf(t, session.DefaultLimits(), session.Deps{People: p, Backend: b}, namespace.Namespace{
		Topics: "*", Join: namespace.JoinHandler, Push: namespace.PushHandler, Handler: "app", Presence: namespace.Presence{Key: namespace.KeyHandler},
	})
	a := m.client(1)
	a.text(`["1","1","t","phx_join",{}]`)
	a.pump()
	c, _ := b.next()
	c.join(session.JoinAnswer{Presence: &session.Person{Key: "ann", Meta: []byte(`{"a":1}`)}}, nil)
	m.settle(a)
	p.told(t, `enter t 1000 ann {"a":1}`)
	for _, answer := range []session.PushAnswer{{Presence: &session.Person{Key: "bob", Meta: []byte(`{}`)}}, {Untrack: true}, {}} {
		a.text(`["1","2","t","e",{}]`)
		a.pump()
		c, _ = b.next()
		c.push(answer, nil)
	}
	p.told(t, `track t bob {}`, `untrack t`)
	a.hangUp()
	p.told(t, `leave t`)
}
