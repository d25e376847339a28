package session

import (
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
)

// The events of Supabase's realtime-js. What it broadcasts is the payload of one
// event, {"type","event","payload"}, and so is what it says of itself.
const (
	eventBroadcast = "broadcast"
	eventPresence  = "presence"
)

// realtime is how a client of Supabase configured its channel in its join.
type realtime struct {
	self     bool   // it gets its own broadcasts
	presence bool   // it hears of people
	key      string // who it is to them
}

// newRealtime reads the params of a join. What is missing or of a wrong type is
// as Supabase has it by default.
func newRealtime(params []byte) realtime {
	config, _ := find(params, "config")
	flag := func(path string, otherwise bool) bool {
		value, _ := find(config, path)
		on := otherwise
		if json.Unmarshal(value, &on) != nil {
			return otherwise
		}
		return on
	}
	key, _ := find(config, "presence.key")
	r := realtime{
		self:     flag("broadcast.self", false),
		presence: flag("presence.enabled", true),
		key:      keyText(key),
	}
	if r.key == "" {
		r.key = newUUID()
	}
	return r
}

// newUUID is a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// realtimeReply is the reply to a join: realtime-js wants to see which changes
// of tables it will get, and there are none.
func (c *Channel) realtimeReply() wsframe.Frame {
	f, _ := c.version().Reply(phx.Reply{ // it is text
		JoinRef: c.joinRef(), Ref: c.request.ref, Topic: c.request.topic,
		Status: phx.StatusOK, Response: []byte(`{"postgres_changes":[]}`),
	})
	return f
}

// presence makes the client one of the people of its topic, or nobody again.
func (s *Session) presence(c *Channel, m phx.Message) {
	var p struct {
		Event   string          `json:"event"`
		Payload json.RawMessage `json:"payload"`
	}
	if m.Binary || json.Unmarshal(m.Payload, &p) != nil || p.Event != "track" && p.Event != "untrack" {
		s.deny(c, m, "neither track nor untrack")
		return
	}
	people := s.shared.People
	if people == nil {
		s.deny(c, m, "presence is off")
		return
	}
	s.shared.counts.add(pushed)
	s.shared.Hub.IfSeated(c.topic, c, func() {
		if p.Event == "track" {
			c.track(p.Payload)
		} else if c.extra.entered.Load() {
			people.Untrack(c.topic, c)
		}
		s.conn.Send(c.version().OK(c.ref, m.Ref, m.Topic))
	})
}

// track makes the channel a person. One that did not want to hear of people does
// from now on. The hub holds it meanwhile.
func (c *Channel) track(meta json.RawMessage) {
	if len(meta) == 0 || meta[0] != '{' {
		meta = json.RawMessage(`{}`)
	}
	p := Person{Key: c.extra.realtime.key, Meta: meta}
	people := c.session.shared.People
	if c.extra.entered.Load() {
		people.Track(c.topic, c, p)
		return
	}
	c.extra.entered.Store(true)
	people.Enter(c.topic, c, c.ns.Presence.MaxListed, &p)
}
