package bench

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// metas are what the protocol says of one key.
type metas struct {
	Metas []struct {
		Ref string `json:"phx_ref"`
	} `json:"metas"`
}

func (m metas) refs() []string {
	var refs []string
	for _, meta := range m.Metas {
		refs = append(refs, meta.Ref)
	}
	return refs
}

// peopleDiff is the payload of presence_diff.
type peopleDiff struct {
	Joins  map[string]metas `json:"joins"`
	Leaves map[string]metas `json:"leaves"`
}

// roster is a topic's list as the class Presence of phoenix.js keeps it. It
// counts calls of onJoin and onLeave that no change of a topic accounts for:
// everybody enters once, and nobody leaves before all are told to. As in Phoenix,
// a client that enters with others may get a state with somebody, and then the
// difference in which the same meta enters: that is no news.
type roster struct {
	prefix  string // of the keys of this run; others are not its business
	want    int    // people of the topic
	refs    map[string][]string
	synced  bool // a state has come
	pending []peopleDiff
	met     map[string]struct{} // keys that were in the list at any time
	leaving bool                // people are told to leave

	calls          int // of onJoin and onLeave
	spuriousJoins  int
	spuriousLeaves int
}

func newRoster(prefix string, want int) *roster {
	return &roster{prefix: prefix, want: want, refs: map[string][]string{}, met: map[string]struct{}{}}
}

// take follows one event.
func (r *roster) take(event string, payload []byte) error {
	if event == "presence_state" {
		var state map[string]metas
		if err := json.Unmarshal(payload, &state); err != nil {
			return fmt.Errorf("presence_state: %w", err)
		}
		r.state(state)
		return nil
	}
	var d peopleDiff
	if err := json.Unmarshal(payload, &d); err != nil {
		return fmt.Errorf("presence_diff: %w", err)
	}
	if !r.synced {
		r.pending = append(r.pending, d)
		return nil
	}
	for key, m := range d.Joins {
		r.join(key, m.refs())
	}
	for key, m := range d.Leaves {
		r.leave(key, m.refs())
	}
	return nil
}

// state makes the list what a presence_state says, then takes the differences
// that came before it.
func (r *roster) state(state map[string]metas) {
	for key, m := range state {
		if joined := without(m.refs(), r.refs[key]); len(joined) > 0 {
			r.join(key, joined)
		}
	}
	for key, old := range r.refs {
		if left := without(old, state[key].refs()); len(left) > 0 {
			r.leave(key, left)
		}
	}
	r.synced = true
	for _, d := range r.pending {
		for key, m := range d.Joins {
			r.join(key, m.refs())
		}
		for key, m := range d.Leaves {
			r.leave(key, m.refs())
		}
	}
	r.pending = nil
}

// join is a call of onJoin.
func (r *roster) join(key string, refs []string) {
	if !strings.HasPrefix(key, r.prefix) {
		return
	}
	r.calls++
	if _, before := r.met[key]; before && len(without(refs, r.refs[key])) > 0 {
		r.spuriousJoins++
	}
	r.met[key] = struct{}{}
	r.refs[key] = append(without(r.refs[key], refs), refs...)
}

// leave is a call of onLeave, which phoenix.js makes for those it knows.
func (r *roster) leave(key string, refs []string) {
	old, there := r.refs[key]
	if !there {
		return
	}
	r.calls++
	if !r.leaving {
		r.spuriousLeaves++
	}
	if r.refs[key] = without(old, refs); len(r.refs[key]) == 0 {
		delete(r.refs, key)
	}
}

// without returns the refs of a that b does not have.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(ref string) bool { return slices.Contains(b, ref) })
}
