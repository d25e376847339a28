package session

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/phx"
)

// identify notes who the channel will be in its topic. said is what the handler
// says, nil for nothing.
func (c *Channel) identify(said *Person) {
	key := c.ns.Presence.Key
	if key == "" || key == namespace.KeyHandler {
		c.request.person = said
		return
	}
	params := c.request.json()
	var source []byte
	name, ok := strings.CutPrefix(key, namespace.KeyClaims)
	if ok {
		if g := c.extra.grant.Load(); g != nil {
			source = g.Claims
		}
	} else {
		name, _ = strings.CutPrefix(key, namespace.KeyParams)
		source = params
	}
	if value, ok := find(source, name); ok {
		if who := keyText(value); who != "" {
			c.request.person = &Person{Key: who, Meta: meta(c.ns.Presence.Meta, params, time.Now())}
		}
	}
}

// enter makes the channel hear of people, and be one of them if it is known who.
// The hub holds its topic meanwhile.
func (c *Channel) enter(p *Person) {
	if !c.watches() {
		return
	}
	c.extra.entered.Store(true)
	c.session.shared.People.Enter(c.topic, c, c.ns.Presence.MaxListed, p)
}

// watches reports whether the channel hears of people.
func (c *Channel) watches() bool {
	if c.ns.Presence.Enabled() {
		return true
	}
	return c.ns.Dialect == namespace.DialectSupabase && c.session.shared.People != nil && c.extra.realtime.presence
}

// keyText is what a key of a person reads: a string, or a number as its text.
func keyText(value json.RawMessage) string {
	if len(value) > 0 && (value[0] == '-' || value[0] >= '0' && value[0] <= '9') {
		return string(value)
	}
	return textOf(value)
}

// find returns the member of a JSON object that has the name, or that dots in
// the name descend to.
func find(object []byte, name string) (json.RawMessage, bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return nil, false
	}
	if value, ok := members[name]; ok {
		return value, true
	}
	head, rest, ok := strings.Cut(name, ".")
	if !ok {
		return nil, false
	}
	return find(members[head], rest)
}

// onlineAt is the meta that is the time.
const onlineAt = "online_at"

// meta is what is told of a person, as a JSON object: the listed join params,
// NAME.* for the members of one, and online_at for the time in seconds.
func meta(names []string, params []byte, now time.Time) []byte {
	b := []byte{'{'}
	seen := map[string]bool{}
	add := func(name string, value []byte) {
		if seen[name] {
			return
		}
		seen[name] = true
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, phx.Text(name)...), ':'), value...)
	}
	for _, name := range names {
		if all, ok := strings.CutSuffix(name, ".*"); ok {
			value, _ := find(params, all)
			var members map[string]json.RawMessage
			_ = json.Unmarshal(value, &members) // what is no object has none
			for _, member := range sortedKeys(members) {
				add(member, members[member])
			}
		} else if name == onlineAt {
			add(name, strconv.AppendInt(nil, now.Unix(), 10))
		} else if value, ok := find(params, name); ok {
			add(name[strings.LastIndexByte(name, '.')+1:], value)
		}
	}
	return append(b, '}')
}

func sortedKeys(members map[string]json.RawMessage) []string {
	keys := make([]string, 0, len(members))
	for k := range members {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
