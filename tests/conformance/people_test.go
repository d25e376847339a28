package conformance

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// people is the list that phoenix.js keeps of one topic: presence_state fills
// it, presence_diff changes it, and a diff that comes first waits.
type people struct {
	known   bool
	metas   map[string][]map[string]any // by key
	pending []presenceDiff
}

type presenceDiff struct {
	Joins  map[string]entry `json:"joins"`
	Leaves map[string]entry `json:"leaves"`
}

type entry struct {
	Metas []map[string]any `json:"metas"`
}

// hear takes in a frame about people and reports whether it was one, of a topic
// whose people the case looks at on that socket.
func (p *player) hear(who string, f frame) bool {
	var topic, event string
	var payload json.RawMessage
	if f.kind != "TEXT" || json.Unmarshal(f.data, &[]any{new(any), new(any), &topic, &event, &payload}) != nil {
		return false
	}
	if event != "presence_state" && event != "presence_diff" {
		return false
	}
	looked := func(s step) bool { return s.verb == "people" && s.who == who && strings.HasPrefix(s.text, topic+" ") }
	return slices.ContainsFunc(p.c.steps, looked) && p.list(who, topic).take(event, payload)
}

func (p *player) list(who, topic string) *people {
	key := who + " " + topic
	if p.lists[key] == nil {
		p.lists[key] = &people{}
	}
	return p.lists[key]
}

func (l *people) take(event string, payload []byte) bool {
	if event == "presence_diff" {
		var diff presenceDiff
		if json.Unmarshal(payload, &diff) != nil {
			return false
		}
		l.pending = append(l.pending, diff)
	} else {
		var state map[string]entry
		if json.Unmarshal(payload, &state) != nil {
			return false
		}
		l.known, l.metas = true, map[string][]map[string]any{}
		for key, e := range state {
			l.metas[key] = e.Metas
		}
	}
	if l.known {
		for _, diff := range l.pending {
			l.apply(diff)
		}
		l.pending = nil
	}
	return true
}

// apply is syncDiff of phoenix.js: a phx_ref says which meta is which.
func (l *people) apply(diff presenceDiff) {
	same := func(ref any) func(map[string]any) bool {
		return func(meta map[string]any) bool { return meta["phx_ref"] == ref }
	}
	for key, e := range diff.Joins {
		for _, meta := range e.Metas {
			l.metas[key] = append(slices.DeleteFunc(l.metas[key], same(meta["phx_ref"])), meta)
		}
	}
	for key, e := range diff.Leaves {
		for _, meta := range e.Metas {
			l.metas[key] = slices.DeleteFunc(l.metas[key], same(meta["phx_ref"]))
		}
		if len(l.metas[key]) == 0 {
			delete(l.metas, key)
		}
	}
}

// seen is the list without what names a meta: key to metas as sorted JSON texts.
func (l *people) seen() map[string][]string {
	seen := map[string][]string{}
	for key, metas := range l.metas {
		for _, meta := range metas {
			told := maps.Clone(meta)
			delete(told, "phx_ref")
			delete(told, "phx_ref_prev")
			seen[key] = append(seen[key], string(encode(told)))
		}
		slices.Sort(seen[key])
	}
	return seen
}

// expectPeople reads frames about people until the list of a topic is the one
// the step has.
func (p *player) expectPeople(s *step) {
	p.t.Helper()
	topic, text, _ := strings.Cut(s.text, " ")
	var metas map[string][]map[string]any
	p.must(s, json.Unmarshal([]byte(text), &metas))
	want := (&people{metas: metas}).seen()
	conn, list := p.socket(s.who), p.list(s.who, topic)
	for !list.known || !maps.EqualFunc(want, list.seen(), slices.Equal) {
		got := p.receive(conn)
		if !p.hear(s.who, got) {
			p.t.Fatalf("line %d: got %s while the list is %v, want %v", s.line, got, list.seen(), want)
		}
	}
}
