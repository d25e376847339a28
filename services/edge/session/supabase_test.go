package session_test

import (
	"regexp"
	"testing"

	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/session"
)

func supabase(tb testing.TB, p session.People) *mesh {
	tb.Helper()
	return newMeshOf(tb, session.DefaultLimits(), session.Deps{People: p},
		namespace.Namespace{Topics: "realtime:*", Dialect: namespace.DialectSupabase}, namespace.Namespace{Topics: "*"})
}

const (
	joinRealtime = `→ ["1","1","realtime:r","phx_join",{"config":{"broadcast":{"ack":false,"self":false},"presence":{"key":"","enabled":false},"postgres_changes":[],"private":false}}]
		← ["1","1","realtime:r","phx_reply",{"status":"ok","response":{"postgres_changes":[]}}]
		`
	joinRealtimeB = `B→ ["7","7","realtime:r","phx_join",{"config":{"broadcast":{"self":true},"presence":{"enabled":false}}}]
		B← ["7","7","realtime:r","phx_reply",{"status":"ok","response":{"postgres_changes":[]}}]
		`
)

// What realtime-js 2.119 sends and has to get.
func TestSupabase(t *testing.T) {
	for name, script := range map[string]string{
		"broadcast": joinRealtime + joinRealtimeB + `→ ["1","2","realtime:r","broadcast",{"type":"broadcast","event":"cursor","payload":{"x":1}}]
			← ["1","2","realtime:r","phx_reply",{"status":"ok","response":{}}]
			B← [null,null,"realtime:r","broadcast",{"type":"broadcast","event":"cursor","payload":{"x":1}}]`,
		"broadcast in its binary frame": joinRealtime + joinRealtimeB + `→ BIN \x03\x01\x01\x0a\x06\x00\x0112realtime:rcursor{\"x\":1}
			← ["1","2","realtime:r","phx_reply",{"status":"ok","response":{}}]
			B← [null,null,"realtime:r","broadcast",{"type":"broadcast","event":"cursor","payload":{"x":1}}]`,
		"broadcast to itself": joinRealtimeB + `B→ ["7","8","realtime:r","broadcast",{"type":"broadcast","event":"e","payload":{}}]
			B← [null,null,"realtime:r","broadcast",{"type":"broadcast","event":"e","payload":{}}]
			B← ["7","8","realtime:r","phx_reply",{"status":"ok","response":{}}]`,
		"broadcast of bytes": joinRealtime + joinRealtimeB + `→ BIN \x03\x01\x01\x0a\x06\x00\x0012realtime:rcursor\x00\xff
			← ["1","2","realtime:r","phx_reply",{"status":"ok","response":{}}]
			B← BIN \x04\x0a\x06\x00\x00realtime:rcursor\x00\xff`,
		"broadcast of bytes under a name of the protocol": joinRealtime + `→ BIN \x03\x01\x01\x0a\x09\x00\x0012realtime:rphx_error\x00\xff
			← ["1","1","realtime:r","phx_error",{"reason":"channel_crash"}]`,
		"broadcast outside of the dialect": joinLobby + `→ BIN \x03\x01\x01\x0a\x06\x00\x0112room:lobbycursor{\"x\":1}
			← [null,null,"room:lobby","broadcast",{"type":"broadcast","event":"cursor","payload":{"x":1}}]
			← ["1","2","room:lobby","phx_reply",{"status":"ok","response":{}}]`,
		"access token": joinRealtime + `→ ["1","2","realtime:r","access_token",{"access_token":"secret"}]
			← ["1","2","realtime:r","phx_reply",{"status":"ok","response":{}}]`,
		"presence that is neither": joinRealtime + `→ ["1","2","realtime:r","presence",{"type":"presence","event":"dance"}]
			← ["1","2","realtime:r","phx_reply",{"status":"error","response":{"reason":"neither track nor untrack"}}]`,
		"no config": `→ ["1","1","realtime:r","phx_join",null]
			← ["1","1","realtime:r","phx_reply",{"status":"ok","response":{"postgres_changes":[]}}]`,
	} {
		t.Run(name, func(t *testing.T) {
			newStageOf(t, supabase(t, &people{}), session.Client{}).play(script)
		})
	}
}

// A client of version 1 cannot be given bytes: it is left out, and counted.
func TestSupabaseVersion1(t *testing.T) {
	m := supabase(t, &people{})
	a, b := m.client(1), m.clientOf(2, session.Client{Version: phx.V1})
	m.joined(t, a, "other")
	a.text(`["1","1","realtime:r","phx_join",{}]`)
	b.text(`{"topic":"realtime:r","event":"phx_join","payload":{},"ref":"1","join_ref":"1"}`)
	m.settle(a, b)
	a.take()
	b.got(t, `{"topic":"realtime:r","event":"phx_reply","payload":{"response":{"postgres_changes":[]},"status":"ok"},"ref":"1"}`)
	a.say(wsframe.Binary, "\x03\x01\x01\x0a\x06\x00\x0012realtime:rcursor\xff")
	a.say(wsframe.Binary, "\x03\x01\x01\x0a\x06\x00\x0113realtime:rcursor[1]")
	m.settle(a, b)
	b.got(t, `{"topic":"realtime:r","event":"broadcast","payload":{"type":"broadcast","event":"cursor","payload":[1]},"ref":null}`)
}

func TestSupabasePresence(t *testing.T) {
	const track = `["1","2","realtime:r","presence",{"type":"presence","event":"track","payload":{"at":1}}]`
	const untrack = `["1","3","realtime:r","presence",{"type":"presence","event":"untrack"}]`
	for name, c := range map[string]struct {
		config string
		want   []string
	}{
		"with a key":      {`{"presence":{"key":"ann","enabled":true}}`, []string{"enter realtime:r", `track realtime:r ann {"at":1}`, "untrack realtime:r", "leave realtime:r"}},
		"by default":      {`{"presence":{"key":"ann"}}`, []string{"enter realtime:r", `track realtime:r ann {"at":1}`, "untrack realtime:r", "leave realtime:r"}},
		"without hearing": {`{"presence":{"key":"ann","enabled":false}}`, []string{`enter realtime:r 1000 ann {"at":1}`, "untrack realtime:r", "leave realtime:r"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &people{}
			m := supabase(t, p)
			a := m.client(1)
			a.text(`["1","1","realtime:r","phx_join",{"config":` + c.config + `}]`)
			a.text(track)
			a.text(untrack)
			m.settle(a)
			if got := a.texts(); len(got) != 3 || got[1] != ok("1", "2", "realtime:r") || got[2] != ok("1", "3", "realtime:r") {
				t.Errorf("got %q", got)
			}
			a.hangUp()
			p.told(t, c.want...)
		})
	}
}

// Without a key, each channel has one of its own.
func TestSupabaseKey(t *testing.T) {
	p := &people{}
	m := supabase(t, p)
	a := m.client(1)
	a.text(`["1","1","realtime:r","phx_join",{"config":{"presence":{"enabled":false}}}]`)
	a.text(`["1","2","realtime:r","presence",{"type":"presence","event":"track","payload":7}]`)
	m.settle(a)
	uuid := regexp.MustCompile(`^enter realtime:r 1000 [0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12} \{\}$`)
	if len(p.log) != 1 || !uuid.MatchString(p.log[0]) {
		t.Errorf("people were told %q", p.log)
	}
}

func TestSupabaseWithoutPeople(t *testing.T) {
	m := supabase(t, nil)
	a := m.client(1)
	a.text(`["1","1","realtime:r","phx_join",{}]`)
	a.text(`["1","2","realtime:r","presence",{"type":"presence","event":"track","payload":{}}]`)
	m.settle(a)
	if got := a.texts(); len(got) != 2 || got[1] != refusal("1", "2", "realtime:r", "presence is off") {
		t.Errorf("got %q", got)
	}
}
