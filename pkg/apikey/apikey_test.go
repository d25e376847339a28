package apikey

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestListsAreChecked(t *testing.T) {
	_, sha := Make()
	good := Key{Name: "chat", SHA256: sha, Scopes: []string{"publish", "admin"}, Topics: []string{"room:*", "lobby"}}
	for name, test := range map[string]struct {
		change func(*List)
		want   string // "" if it is valid
	}{
		"good":          {func(*List) {}, ""},
		"none":          {func(l *List) { l.APIKeys = nil }, ""},
		"no name":       {func(l *List) { l.APIKeys[0].Name = "" }, "name"},
		"name in lines": {func(l *List) { l.APIKeys[0].Name = "a\nb" }, "name"},
		"long name":     {func(l *List) { l.APIKeys[0].Name = strings.Repeat("x", 65) }, "name"},
		"twice":         {func(l *List) { l.APIKeys = append(l.APIKeys, good) }, "twice"},
		"neither":       {func(l *List) { l.APIKeys[0].SHA256 = "" }, "either sha256 or file"},
		"both":          {func(l *List) { l.APIKeys[0].File = "x" }, "either sha256 or file"},
		"short hash":    {func(l *List) { l.APIKeys[0].SHA256 = "ab" }, "64 hexadecimal"},
		"no hash":       {func(l *List) { l.APIKeys[0].SHA256 = strings.Repeat("z", 64) }, "64 hexadecimal"},
		"no scope":      {func(l *List) { l.APIKeys[0].Scopes = nil }, "at least one"},
		"mesh":          {func(l *List) { l.APIKeys[0].Scopes = []string{"mesh"} }, `"mesh"`},
		"empty topic":   {func(l *List) { l.APIKeys[0].Topics = []string{""} }, "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			l := List{APIKeys: []Key{good}}
			test.change(&l)
			err := l.Validate()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestKeysAreFoundByThemselves(t *testing.T) {
	first, sha := Make()
	second, _ := Make()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(second+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := List{APIKeys: []Key{
		{Name: "first", SHA256: strings.ToUpper(sha), Scopes: []string{"publish"}},
		{Name: "second", File: path, Scopes: []string{"inspect"}},
	}}
	keys, err := Load(l)
	if err != nil {
		t.Fatal(err)
	}
	for sent, want := range map[string]string{
		first: "first", second: "second", sha: "", "": "", first + " ": "", strings.Repeat("x", 1<<20): "",
	} {
		if got, ok := keys.find(sent); got.Name != want || ok != (want != "") {
			t.Errorf("%.20q found %q, want %q", sent, got.Name, want)
		}
	}
	l.APIKeys[0].SHA256, l.APIKeys[0].File = "", path
	if _, err := Load(l); err == nil || !strings.Contains(err.Error(), "the same key") {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"", "short", "two keys of which none is short", strings.Repeat("x", 513)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(List{APIKeys: l.APIKeys[1:]}); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%.20q: got %v", bad, err)
		}
	}
}

func TestScopes(t *testing.T) {
	for _, test := range []struct {
		has    []string
		needs  Scope
		passes bool
	}{
		{[]string{"publish"}, Publish, true},
		{[]string{"publish"}, Subscribe, false},
		{[]string{"publish"}, Anyone, true},
		{[]string{"publish"}, AnyKey, true},
		{[]string{"admin"}, Disconnect, true},
		{[]string{"disconnect"}, Admin, false},
		{[]string{"admin"}, Mesh, false},
	} {
		if got := (Key{Scopes: test.has}).may(test.needs); got != test.passes {
			t.Errorf("%v may %s: %v", test.has, test.needs, got)
		}
	}
}

// What a key covers is closed: whatever it may name, and all that a prefix it may
// name stands for, begins with one of its own prefixes or is one of its topics.
func TestTopicsProperty(t *testing.T) {
	word := rapid.StringMatching(`[ab:]{0,4}`)
	rapid.Check(t, func(t *rapid.T) {
		k := Key{Topics: rapid.SliceOfN(rapid.Map(rapid.StringMatching(`[ab:]{0,3}\*?`), func(s string) string {
			if s == "" {
				return "a"
			}
			return s
		}), 1, 3).Draw(t, "topics")}
		allowed := func(topic string) bool {
			for _, own := range k.Topics {
				if prefix, many := strings.CutSuffix(own, "*"); own == topic || many && strings.HasPrefix(topic, prefix) {
					return true
				}
			}
			return false
		}
		prefix, rest := word.Draw(t, "prefix"), word.Draw(t, "rest")
		if got := k.covers(prefix); got != allowed(prefix) {
			t.Errorf("%v covers %q: %v", k.Topics, prefix, got)
		}
		if k.covers(Prefix(prefix)) && !allowed(prefix+rest) {
			t.Errorf("%v covers every %q*, but not %q", k.Topics, prefix, prefix+rest)
		}
	})
}

func TestMadeKeysDiffer(t *testing.T) {
	a, hashA := Make()
	b, hashB := Make()
	if a == b || hashA == hashB || len(a) < 40 || len(hashA) != 64 || hashA != fmt.Sprintf("%x", hashOf(a)) {
		t.Errorf("%q and %q", a, b)
	}
}
