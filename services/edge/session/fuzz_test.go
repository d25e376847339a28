package session_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/session"
)

// FuzzMessage lets a hostile client of any version say anything, one message a
// line, beside one that only listens. Every answer is JSON, the listener hears
// broadcasts only, and nothing is left when both are gone.
func FuzzMessage(f *testing.F) {
	const join = `["1","1","t","phx_join",{}]`
	for _, seed := range []string{
		join + "\n" + `["1","2","t","e",{}]` + "\n" + `["1","3","t","phx_leave",{}]`,
		join + "\n" + `["\u0031",2,"\u0074","e",[]]` + "\n" + join,
		`[null,{},"t","phx_join",null]` + "\n" + `[null,[],"t","phx_join",null]`,
		join + "\n\x00\x01\x01\x01\x0112te\x00\xff\n" + `["1","2","t","e",{}]`,
		`["1","1",["t"],"phx_leave",{}]` + "\nnonsense",
		`["1","1","room:1","phx_join",{}]` + "\n" + `["1","2","room:1","echo",7]` + "\n" + `["1","3","room:1","exit_reply","x"]`,
		`["1","1","gate","phx_join",{"token":"{'topics':['gate']}"}]` + "\n" + `["1","2","gate","skein:token",{"token":"{'exp':7}"}]`,
		`["1","1","realtime:r","phx_join",{"config":{"presence":{"key":1}}}]` + "\n" + `["1","2","realtime:r","presence",{"event":"track","payload":{"a":1}}]`,
		`["1","1","realtime:r","phx_join",null]` + "\n\x03\x01\x01\x0a\x01\x00\x0112realtime:re{}",
	} {
		f.Add([]byte(seed), uint8(phx.V2))
	}
	f.Add([]byte(`{"topic":"t","event":"phx_join","payload":{},"ref":"1"}`+"\n"+`{"topic":"t","event":"e","payload":{},"ref":2}`), uint8(phx.V1))
	f.Fuzz(func(t *testing.T, script []byte, version uint8) {
		b, p := &backend{}, &people{}
		m := newMeshOf(t, session.Limits{Channels: 3, Unanswered: 2}, session.Deps{Backend: b, People: p, Tokens: tokens{}},
			namespace.Namespace{Topics: "*"}, namespace.Namespace{Topics: "gate", Join: namespace.JoinToken},
			namespace.Namespace{Topics: "realtime:*", Dialect: namespace.DialectSupabase},
			namespace.Namespace{Topics: "room:*", Join: namespace.JoinHandler, Push: namespace.PushHandler, Handler: "app"})
		m.world = b.serve
		hostile := m.clientOf(1, session.Client{Version: phx.Version(version) % phx.Supabase})
		listener := m.client(2)
		m.joined(t, listener, "t")
		for line := range bytes.SplitSeq(script, []byte("\n")) {
			op := wsframe.Text
			if len(line) > 0 && line[0] < ' ' {
				op = wsframe.Binary
			}
			hostile.say(op, string(line))
		}
		m.settle(hostile, listener)
		for _, f := range hostile.take() {
			if f.Op() == wsframe.Text && !json.Valid(f.Payload()) {
				t.Fatalf("not JSON: %q", f.Payload())
			}
		}
		for _, f := range listener.take() {
			if f.Op() == wsframe.Text && !bytes.HasPrefix(f.Payload(), []byte(`[null,null,"t",`)) {
				t.Fatalf("no broadcast: %q", f.Payload())
			}
		}
		if listener.closed != 0 || hostile.paused {
			t.Fatalf("listener closed with %d, hostile client paused: %v", listener.closed, hostile.paused)
		}
		hostile.hangUp()
		listener.hangUp()
		if n := m.hub.Stats().Subscribers; n != 0 {
			t.Fatalf("%d subscribers left", n)
		}
		p.balanced(t)
	})
}
