package people

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/skein-mesh/skein/services/edge/session"
)

// client is phoenix.js in one channel.
type client struct {
	fleet    *fleet
	presence presence
	topic    string
	count    int
	events   []string
}

var _ session.Watcher = (*client)(nil)

// Push implements [session.Watcher].
func (c *client) Push(event string, payload []byte) { c.take(event, payload) }

// take fails if somebody who is still there is said to have left.
func (c *client) take(event string, payload []byte) {
	before := c.refs()
	c.events = append(c.events, event+" "+string(payload))
	var err error
	switch event {
	case EventState:
		var s map[string]entry
		err = json.Unmarshal(payload, &s)
		c.presence.state(s)
	case EventDiff:
		var d diff
		err = json.Unmarshal(payload, &d)
		c.presence.diff(d)
	case EventCount:
		var n struct{ Count int }
		err = json.Unmarshal(payload, &n)
		c.count = n.Count
	}
	if err != nil {
		c.fleet.fail("%s: %v in %s", event, err, payload)
	}
	after := c.refs()
	for _, ref := range before {
		if !slices.Contains(after, ref) && slices.Contains(c.fleet.live(c.topic), ref) {
			c.fleet.fail("a client saw %s leave %s, who is still there; it got\n%s", ref, c.topic, strings.Join(c.events, "\n"))
		}
	}
}

// refs are the refs of everybody in the list.
func (c *client) refs() []string {
	var refs []string
	for _, e := range c.presence.list {
		for _, m := range e.Metas {
			refs = append(refs, m["phx_ref"].(string))
		}
	}
	slices.Sort(refs)
	return refs
}

// presence is what the class Presence of phoenix.js does with a list.
type presence struct {
	list    map[string]entry
	synced  bool
	pending []diff
}

type entry struct {
	Metas []map[string]any `json:"metas"`
}

type diff struct {
	Joins  map[string]entry `json:"joins"`
	Leaves map[string]entry `json:"leaves"`
}

func (p *presence) state(s map[string]entry) {
	d := diff{Joins: map[string]entry{}, Leaves: map[string]entry{}}
	for key, old := range p.list {
		if now, there := s[key]; !there {
			d.Leaves[key] = old
		} else if gone := without(old, now); len(gone.Metas) > 0 {
			d.Leaves[key] = gone
		}
	}
	for key, now := range s {
		if joined := without(now, p.list[key]); len(joined.Metas) > 0 {
			d.Joins[key] = joined
		}
	}
	p.apply(d)
	p.synced = true
	for _, d := range p.pending {
		p.apply(d)
	}
	p.pending = nil
}

func (p *presence) diff(d diff) {
	if !p.synced {
		p.pending = append(p.pending, d)
		return
	}
	p.apply(d)
}

func (p *presence) apply(d diff) {
	for key, joined := range d.Joins {
		p.list[key] = entry{append(without(p.list[key], joined).Metas, joined.Metas...)}
	}
	for key, left := range d.Leaves {
		old, there := p.list[key]
		if !there {
			continue
		}
		if rest := without(old, left); len(rest.Metas) > 0 {
			p.list[key] = rest
		} else {
			delete(p.list, key)
		}
	}
}

// without returns the metas of a that b does not have.
func without(a, b entry) entry {
	var rest entry
	for _, m := range a.Metas {
		if !slices.ContainsFunc(b.Metas, func(o map[string]any) bool { return o["phx_ref"] == m["phx_ref"] }) {
			rest.Metas = append(rest.Metas, m)
		}
	}
	return rest
}
