package grant_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/grant"
)

func TestParse(t *testing.T) {
	const claims = `{"sub":"ann","exp":1700000000.5,"aud":["x"],"topics":["room:*"]}`
	g, err := grant.Parse([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	if g.User != "ann" || !g.Expires.Equal(time.Unix(1_700_000_000, 0)) || string(g.Claims) != claims {
		t.Errorf("got %+v", g)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, claims := range []string{``, `[]`, `"ann"`, `{"sub":7}`, `{"exp":"tomorrow"}`, `{"exp":[]}`, `{"exp":1e300}`, `{"exp":-1}`, `{"topics":"room:*"}`, `{"push":[1]}`, `{"sub":"ann"`} {
		if g, err := grant.Parse([]byte(claims)); !errors.Is(err, grant.ErrInvalid) {
			t.Errorf("%s: got %+v, %v", claims, g, err)
		}
	}
}

func TestExpired(t *testing.T) {
	end := time.Unix(1_700_000_000, 0)
	g := &grant.Grant{Expires: end}
	if g.Expired(end.Add(-time.Nanosecond)) || !g.Expired(end) {
		t.Error("it is over at its end, and not before")
	}
	if (&grant.Grant{}).Expired(end) {
		t.Error("one without an end is over")
	}
}

func TestTopics(t *testing.T) {
	for claims, want := range map[string]struct{ join, push string }{
		`{}`:                                   {"room:1 room:2 lobby", "room:1 room:2 lobby"},
		`{"topics":["room:*"]}`:                {"room:1 room:2", "room:1 room:2"},
		`{"topics":["*"],"push":["room:1"]}`:   {"room:1 room:2 lobby", "room:1"},
		`{"topics":["lobby"],"push":[]}`:       {"lobby", ""},
		`{"push":["lobby"]}`:                   {"room:1 room:2 lobby", "lobby"},
		`{"topics":[]}`:                        {"", ""},
		`{"topics":null}`:                      {"room:1 room:2 lobby", "room:1 room:2 lobby"},
		`{"topics":["room","roo:*","*:1",""]}`: {"", ""},
		`{"topics":["room:1","room:*"]}`:       {"room:1 room:2", "room:1 room:2"},
	} {
		g, err := grant.Parse([]byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		var join, push []string
		for _, topic := range []string{"room:1", "room:2", "lobby"} {
			if g.MayJoin(topic) {
				join = append(join, topic)
			}
			if g.MayPush(topic) {
				push = append(push, topic)
			}
		}
		if got := strings.Join(join, " "); got != want.join {
			t.Errorf("%s: may join %q, want %q", claims, got, want.join)
		}
		if got := strings.Join(push, " "); got != want.push {
			t.Errorf("%s: may push to %q, want %q", claims, got, want.push)
		}
	}
}

// A pattern allows what begins with it and nothing else.
func TestPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.StringMatching(`[a-c:]{0,3}`).Draw(t, "prefix")
		topic := rapid.StringMatching(`[a-c:]{0,5}`).Draw(t, "topic")
		g, err := grant.Parse([]byte(`{"topics":["` + prefix + `*"]}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := g.MayJoin(topic); got != strings.HasPrefix(topic, prefix) {
			t.Errorf("%s* allows %s: %v", prefix, topic, got)
		}
	})
}

// FuzzParse: whatever a key's owner signs, it is read or refused.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{}`, `{"sub":"ann","exp":1e300}`, `{"exp":-1}`, `{"topics":["a*"],"push":null}`, `[`, "{\"sub\":\"\xff\"}"} {
		f.Add([]byte(seed), "a:b")
	}
	f.Fuzz(func(t *testing.T, claims []byte, topic string) {
		g, err := grant.Parse(claims)
		if err != nil {
			if !errors.Is(err, grant.ErrInvalid) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		g.MayJoin(topic)
		g.MayPush(topic)
		g.Expired(time.Unix(1_700_000_000, 0))
	})
}
