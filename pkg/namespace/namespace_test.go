package namespace_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/namespace"
)

func set(tb testing.TB, patterns ...string) *namespace.Set {
	tb.Helper()
	var all []namespace.Namespace
	for _, p := range patterns {
		n := namespace.Namespace{Topics: p}
		n.SetDefaults()
		all = append(all, n)
	}
	s, err := namespace.NewSet(all)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestOf(t *testing.T) {
	s := set(t, "room:*", "room:vip:*", "room:lobby", "exact")
	for topic, want := range map[string]string{
		"room:1":      "room:*",
		"room:":       "room:*",
		"room:vip":    "room:*",
		"room:vip:1":  "room:vip:*",
		"room:lobby":  "room:lobby",
		"room:lobby2": "room:*",
		"exact":       "exact",
		"exact:sub":   "",
		"exactly":     "",
		"room":        "",
		"":            "",
	} {
		got := ""
		if n := s.Of(topic); n != nil {
			got = n.Topics
		}
		if got != want {
			t.Errorf("%q is in %q, want %q", topic, got, want)
		}
	}
}

// The namespace of a topic is the longest that matches it, whatever the order
// in which they were given.
func TestOfIsTheLongest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfDistinct(rapid.StringMatching(`[ab]{0,3}\*?`), rapid.ID).Draw(t, "patterns")
		topic := rapid.StringMatching(`[ab]{1,4}`).Draw(t, "topic")
		all := make([]namespace.Namespace, len(patterns))
		want := ""
		for i, p := range patterns {
			all[i].Topics = p
			if all[i].Match(topic) && (p == topic || want != topic && len(p) > len(want)) {
				want = p
			}
		}
		s, err := namespace.NewSet(all)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if n := s.Of(topic); n != nil {
			got = n.Topics
		}
		if got != want {
			t.Fatalf("%q is in %q, want %q", topic, got, want)
		}
		if len(s.All()) != len(all) {
			t.Fatalf("All yields %d of %d", len(s.All()), len(all))
		}
	})
}

func TestNewSetRefusesTwice(t *testing.T) {
	_, err := namespace.NewSet([]namespace.Namespace{{Topics: "a"}, {Topics: "b"}, {Topics: "a"}})
	if err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("got %v", err)
	}
}

func TestDefault(t *testing.T) {
	for _, n := range namespace.Default() {
		if err := n.Validate(); err != nil {
			t.Error(err)
		}
	}
	s, err := namespace.NewSet(namespace.Default())
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Of("anything"); n.Join != namespace.JoinOpen || n.Push != namespace.PushRelay || n.Presence.Enabled() || n.AsksHandler() {
		t.Errorf("got %+v", n)
	}
	if n := s.Of("presence:x"); n.Presence.Key != "params.user_id" || !n.Presence.Enabled() {
		t.Errorf("got %+v", n)
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(n *namespace.Namespace)
		want   string // part of the error; empty for none
	}{
		"defaults":         {func(*namespace.Namespace) {}, ""},
		"handler for join": {func(n *namespace.Namespace) { n.Join, n.Handler = namespace.JoinHandler, "dns:///x:1" }, ""},
		"handler for push": {func(n *namespace.Namespace) { n.Push, n.Handler = namespace.PushHandler, "dns:///x:1" }, ""},
		"supabase":         {func(n *namespace.Namespace) { n.Dialect = namespace.DialectSupabase }, ""},
		"key of a claim":   {func(n *namespace.Namespace) { n.Presence.Key = "claims.sub" }, ""},
		"no topics":        {func(n *namespace.Namespace) { n.Topics = "" }, "topics: an exact name"},
		"star within":      {func(n *namespace.Namespace) { n.Topics = "a*b" }, "topics: * may only"},
		"two stars":        {func(n *namespace.Namespace) { n.Topics = "a**" }, "topics: * may only"},
		"join":             {func(n *namespace.Namespace) { n.Join = "some" }, `join: "some"`},
		"push":             {func(n *namespace.Namespace) { n.Push = "some" }, `push: "some"`},
		"dialect":          {func(n *namespace.Namespace) { n.Dialect = "pusher" }, `dialect: "pusher"`},
		"handler missing":  {func(n *namespace.Namespace) { n.Join = namespace.JoinHandler }, "handler: a gRPC target"},
		"handler idle":     {func(n *namespace.Namespace) { n.Handler = "x" }, "handler: nothing asks it"},
		"timeout":          {func(n *namespace.Namespace) { n.Timeout = -1 }, "timeout: must be positive"},
		"key":              {func(n *namespace.Namespace) { n.Presence.Key = "user" }, `presence.key: "user"`},
		"key of nothing":   {func(n *namespace.Namespace) { n.Presence.Key = "claims." }, `presence.key: "claims."`},
		"max listed":       {func(n *namespace.Namespace) { n.Presence.MaxListed = -1 }, "presence.max_listed"},
	} {
		t.Run(name, func(t *testing.T) {
			n := namespace.Namespace{Topics: "room:*"}
			n.SetDefaults()
			c.change(&n)
			err := n.Validate()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
