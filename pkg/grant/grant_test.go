package grant_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/grant"
)

func TestWhatClaimsAllow(t *testing.T) {
	for _, c := range []struct {
		claims     string
		join, push string // topics that may be, separated by blanks
	}{
		{`{}`, "room:1 room:2 lobby", "room:1 room:2 lobby"},
		{`{"topics":null,"push":null}`, "room:1 room:2 lobby", "room:1 room:2 lobby"},
		{`{"topics":[]}`, "", ""},
		{`{"topics":["room:*"]}`, "room:1 room:2", "room:1 room:2"},
		{`{"topics":["room:1","lobby"]}`, "room:1 lobby", "room:1 lobby"},
		{`{"topics":["*"],"push":[]}`, "room:1 room:2 lobby", ""},
		{`{"topics":["*"],"push":["room:2"]}`, "room:1 room:2 lobby", "room:2"},
		{`{"push":["lobby"]}`, "room:1 room:2 lobby", "lobby"},
		{`{"topics":["*:1"]}`, "", ""},
		{`{"topics":["Room:*"," room:1"]}`, "", ""},
	} {
		g, err := grant.Parse([]byte(c.claims))
		if err != nil {
			t.Errorf("%s: %v", c.claims, err)
			continue
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
		if strings.Join(join, " ") != c.join || strings.Join(push, " ") != c.push {
			t.Errorf("%s: join %q, push %q", c.claims, join, push)
		}
	}
}

func TestClaimsThatMakeNoSense(t *testing.T) {
	for _, claims := range []string{
		"", "null", "[]", `"sub"`, "1", "{", `{"sub":1}`, `{"exp":"soon"}`, `{"exp":true}`, `{"topics":"room:*"}`, `{"push":[1]}`,
		`{"exp":1e400}`, `{"exp":1700000000000}`, `{"exp":-1e13}`, "{\"sub\":\"\xff\"}", `{} {}`,
	} {
		if g, err := grant.Parse([]byte(claims)); !errors.Is(err, grant.ErrInvalid) || g != nil {
			t.Errorf("%s: %v, %v", claims, g, err)
		}
	}
}

func TestExpiry(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	for claims, want := range map[string]time.Time{
		`{}`: {}, `{"exp":null}`: {}, `{"exp":1800000000}`: at, `{"exp":1.8e9}`: at, `{"exp":1800000000.9}`: at, `{"exp":0}`: time.Unix(0, 0),
	} {
		g, err := grant.Parse([]byte(claims))
		if err != nil || !g.Expires.Equal(want) {
			t.Errorf("%s: %v, %v", claims, g, err)
			continue
		}
		if never := want.IsZero(); g.Expired(at.Add(time.Hour)) == never || !never && (g.Expired(want.Add(-1)) || !g.Expired(want)) {
			t.Errorf("%s: expires at the wrong time", claims)
		}
	}
}

func TestPatternsAreCopies(t *testing.T) {
	g, err := grant.Parse([]byte(`{"sub":"ada","topics":["a"],"push":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	join, push := g.Patterns()
	if g.User != "ada" || !slices.Equal(join, []string{"a"}) || push == nil || len(push) != 0 {
		t.Errorf("user %q, join %v, push %v", g.User, join, push)
	}
	join[0] = "*"
	if g.MayJoin("b") {
		t.Error("a grant was changed from outside")
	}
}

// Without the claim push, what may be joined may be pushed to; and a pattern
// allows exactly its own topic, or those below its prefix.
func TestPatternsAllowTheirTopicsOnly(t *testing.T) {
	name := rapid.StringMatching(`[ab:]{0,4}`)
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			return name.Draw(t, "name") + rapid.SampledFrom([]string{"", "*"}).Draw(t, "star")
		}), 0, 4).Draw(t, "patterns")
		topic := name.Draw(t, "topic")
		text, err := json.Marshal(patterns)
		if err != nil {
			t.Fatal(err)
		}
		g, err := grant.Parse(fmt.Appendf(nil, `{"topics":%s}`, text))
		if err != nil {
			t.Fatal(err)
		}
		want := slices.ContainsFunc(patterns, func(p string) bool {
			if strings.HasSuffix(p, "*") {
				return len(topic) >= len(p)-1 && topic[:len(p)-1] == p[:len(p)-1]
			}
			return p == topic
		})
		if g.MayJoin(topic) != want || g.MayPush(topic) != want {
			t.Errorf("%q with %q: join %v, push %v", topic, patterns, g.MayJoin(topic), g.MayPush(topic))
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{}`, `{"sub":"ada","exp":1800000000,"topics":["room:*"],"push":[]}`, `{"exp":1e999}`, `null`, "{\"sub\":\"\xff\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, claims []byte) {
		g, err := grant.Parse(claims)
		if err != nil {
			if g != nil || !errors.Is(err, grant.ErrInvalid) {
				t.Errorf("%v, %v", g, err)
			}
			return
		}
		if !json.Valid(g.Claims) || !g.Expires.IsZero() && (g.Expires.Year() < 0 || g.Expires.Year() > 10_000) {
			t.Errorf("%+v", g)
		}
	})
}
