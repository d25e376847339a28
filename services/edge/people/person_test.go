package people

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/services/edge/session"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		key, meta string
		want      string
		why       refused
	}{
		"nothing":          {"k", "", "{}", ""},
		"white space":      {"k", " { \"a\" : [1, 2] } ", `{"a":[1,2]}`, ""},
		"a ref":            {"k", `{"phx_ref":"x","a":1,"phx_ref_prev":2}`, `{"a":1}`, ""},
		"an escaped ref":   {"k", `{"\u0070hx_ref":"x","a":1}`, `{"a":1}`, ""},
		"a ref further in": {"k", `{"a":{"phx_ref":"x"}}`, `{"a":{"phx_ref":"x"}}`, ""},
		"an escape":        {"k", `{"a":"\n"}`, `{"a":"\n"}`, ""},
		"long key":         {strings.Repeat("k", 255), "{}", "{}", ""},
		"longer key":       {strings.Repeat("k", 256), "{}", "", refusedKey},
		"no key":           {"", "{}", "", refusedKey},
		"odd key":          {"\xff", "{}", "", refusedKey},
		"list":             {"k", "[]", "", refusedMeta},
		"number":           {"k", "1", "", refusedMeta},
		"null":             {"k", "null", "", refusedMeta},
		"two objects":      {"k", "{}{}", "", refusedMeta},
		"half an object":   {"k", `{"a":`, "", refusedMeta},
		"odd text":         {"k", "{\"a\":\"\xff\"}", "", refusedMeta},
		"large":            {"k", `{"a":"` + strings.Repeat("x", MaxMetaLen) + `"}`, "", refusedMeta},
	} {
		p, why := parse(session.Person{Key: c.key, Meta: []byte(c.meta)})
		if why != c.why || (p == nil) != (why != "") || p != nil && p.meta != c.want {
			t.Errorf("%s: got %v, %q, want %q, %q", name, p, why, c.want, c.why)
		}
	}
}

// FuzzParse looks for a person that makes what clients get no JSON, or lets a
// client choose a ref.
func FuzzParse(f *testing.F) {
	for _, seed := range []struct{ key, meta string }{
		{"user-1", `{"name":"Ann"}`}, {`"`, `{"phx_ref":"x"}`}, {"ä\u2028", ` {"\u0070hx_ref" : 1, "phx_ref":2}`}, {"__proto__", `{}`},
	} {
		f.Add(seed.key, seed.meta)
	}
	f.Fuzz(func(t *testing.T, key, meta string) {
		p, why := parse(session.Person{Key: key, Meta: []byte(meta)})
		if why != "" {
			return
		}
		r := testRow(p.key, "REF", "", p.meta)
		var d diff
		if err := json.Unmarshal(diffJSON([]*row{r}, nil), &d); err != nil {
			t.Fatalf("%v of %q, %q", err, key, meta)
		}
		if e, there := d.Joins[key]; !there || len(e.Metas) != 1 || e.Metas[0]["phx_ref"] != "REF" || e.Metas[0]["phx_ref_prev"] != nil {
			t.Errorf("%q, %q became %v", key, meta, d)
		}
	})
}

func TestRefs(t *testing.T) {
	a, b, later := newRefs("a", 1), newRefs("b", 1), newRefs("a", 2)
	seen := map[string]bool{}
	for range 1000 {
		for _, r := range []*refs{&a, &b, &later} {
			ref := r.next()
			if seen[ref] || len(ref) != 16 {
				t.Fatalf("ref %q, seen %t", ref, seen[ref])
			}
			seen[ref] = true
		}
	}
}
