package session_test

import (
	"fmt"
	"testing"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/services/edge/session"
)

func appJoin(c call) (a session.JoinAnswer, err error) {
	switch c.caller.Topic {
	case "room:hello":
		a.Reply.Payload = text(fmt.Sprintf(`{"params":%s,"welcome":true}`, c.payload.Data))
	case "room:forbidden":
		a.Refused, a.Reply.Payload = true, text(`{"reason":"unauthorized"}`)
	case "room:no":
		a.Refused = true
	case "room:crash":
		err = channel.ErrCrashed
	case "room:rubbish":
		a.Reply.Payload = text(`{"welcome"`)
	case "room:binjoin":
		a.Reply.Payload = opaque("\x01\x02\x03")
	case "room:greet":
		a.Pushes = []session.Event{{Name: "greeting", Payload: text(`{"hello":"there"}`)}}
	}
	return a, err
}

func appPush(c call) (a session.PushAnswer, err error) {
	ok := replyWith("ok", session.Payload{})
	switch c.event {
	case "echo":
		a.Reply = replyWith("ok", c.payload)
	case "echo_error":
		a.Reply = replyWith("error", c.payload)
	case "echo_custom":
		a.Reply = replyWith("weird_status", c.payload)
	case "ref":
		a.Reply = replyWith("", text(fmt.Sprintf(`[%q,%q]`, c.caller.JoinRef, c.ref)))
	case "no_reply":
	case "push_me":
		a.Pushes = []session.Event{{Name: "pushed", Payload: c.payload}}
	case "push_me_reply":
		a.Pushes, a.Reply = []session.Event{{Name: "pushed", Payload: c.payload}}, ok
	case "shout":
		a.Broadcasts, a.Reply = []session.Broadcast{{Event: session.Event{Name: "shout", Payload: c.payload}}}, ok
	case "shout_from":
		a.Broadcasts = []session.Broadcast{{Event: session.Event{Name: "shout", Payload: c.payload}, NotSender: true}}
		a.Reply = ok
	case "elsewhere":
		a.Broadcasts = []session.Broadcast{{Topic: "room:other", Event: session.Event{Name: "from_afar"}}}
	case "exit_shutdown":
		a.Stop = true
	case "exit_reply":
		a.Stop, a.Reply = true, replyWith("ok", c.payload)
	case "bin_reply":
		a.Reply = replyWith("ok", opaque("\x01\x02"))
	case "bad_reply":
		a.Reply = replyWith("ok", text(`{`))
	case "bad_push":
		a.Pushes = []session.Event{{Name: "phx_close"}}
	case "bad_broadcast":
		a.Broadcasts = []session.Broadcast{{Event: session.Event{Name: "phx_error"}}}
	case "slow":
		err = channel.ErrTimeout
	case "down":
		err = channel.ErrUnavailable
	case "full":
		err = channel.ErrOverloaded
	default:
		err = channel.ErrCrashed
	}
	return a, err
}

// handled returns a mesh whose topics room:* are decided by app, and its
// backend.
func handled(tb testing.TB, limits session.Limits) (*mesh, *backend) {
	tb.Helper()
	b := &backend{}
	m := newMeshOf(tb, limits, session.Deps{Backend: b},
		namespace.Namespace{Topics: "room:*", Join: namespace.JoinHandler, Push: namespace.PushHandler, Handler: "passthrough:///app"})
	m.world = b.serve
	return m, b
}

// handlerCases are recordings of Phoenix 1.8.12 with app.
var handlerCases = []struct{ name, script string }{
	{"W001 join", joinLobby},
	{"W002 join with a reply", `→ ["3","3","room:hello","phx_join",{"token":"x"}]
		← ["3","3","room:hello","phx_reply",{"response":{"params":{"token":"x"},"welcome":true},"status":"ok"}]`},
	{"W007 join refused", `→ ["1","1","room:forbidden","phx_join",{}]
		← ["1","1","room:forbidden","phx_reply",{"response":{"reason":"unauthorized"},"status":"error"}]
		→ ["1","2","room:forbidden","echo",{}]
		← [null,"2","room:forbidden","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`},
	{"join refused without a reply", `→ ["1","1","room:no","phx_join",{}]
		← ["1","1","room:no","phx_reply",{"response":{},"status":"error"}]`},
	{"W008 join crashed", `→ ["1","1","room:crash","phx_join",{}]
		← ["1","1","room:crash","phx_reply",{"response":{"reason":"join crashed"},"status":"error"}]`},
	{"W009 join answered rubbish", `→ ["1","1","room:rubbish","phx_join",{}]
		← ["1","1","room:rubbish","phx_reply",{"response":{"reason":"join crashed"},"status":"error"}]`},
	{"W010 no namespace", `→ ["4","4","nope:1","phx_join",{}]
		← [null,"4","nope:1","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`},
	{"W016 join with a string", `→ ["1","1","room:hello","phx_join","str"]
		← ["1","1","room:hello","phx_reply",{"response":{"params":"str","welcome":true},"status":"ok"}]`},
	{"W019 join with a binary reply", `→ ["1","1","room:binjoin","phx_join",{}]
		← BIN \x01\x01\x01\x0c\x0211room:binjoinok\x01\x02\x03`},
	{"W022 duplicate join with a push behind it", `→ ["1","1","room:greet","phx_join",{}]
		← ["1","1","room:greet","phx_reply",{"response":{},"status":"ok"}]
		← ["1",null,"room:greet","greeting",{"hello":"there"}]
		→ ["5","5","room:greet","phx_join",{}]
		← ["5","5","room:greet","phx_reply",{"response":{},"status":"ok"}]
		← ["1","1","room:greet","phx_close",{}]
		← ["5",null,"room:greet","greeting",{"hello":"there"}]`},
	{"W025 leave", joinLobby + `→ ["1","2","room:lobby","phx_leave",{}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["1","1","room:lobby","phx_close",{}]`},
	{"W029 leave with join_ref null", `→ ["5","5","room:lobby","phx_join",{}]
		← ["5","5","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ [null,"6","room:lobby","phx_leave",{}]
		← ["5","6","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["5","5","room:lobby","phx_close",{}]`},
	{"W005 join_ref null", `→ [null,"9","room:lobby","phx_join",{}]
		← [null,"9","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ [null,"10","room:lobby","echo",{"a":1}]
		← ["9","10","room:lobby","phx_reply",{"response":{"a":1},"status":"ok"}]
		→ ["9","11","room:lobby","echo",{"a":2}]
		→ [null,"12","room:lobby","push_me",{"a":3}]
		← ["9",null,"room:lobby","pushed",{"a":3}]
		→ [null,"13","room:lobby","phx_leave",{}]
		← ["9","13","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← [null,null,"room:lobby","phx_close",{}]`},
	{"W040 reply with an error", joinLobby + `→ ["1","2","room:lobby","echo_error",{"why":1}]
		← ["1","2","room:lobby","phx_reply",{"response":{"why":1},"status":"error"}]`},
	{"W041 reply with a status of its own", joinLobby + `→ ["1","2","room:lobby","echo_custom",{"a":1}]
		← ["1","2","room:lobby","phx_reply",{"response":{"a":1},"status":"weird_status"}]`},
	{"W043 push without reply", joinLobby + `→ ["1","2","room:lobby","push_me",{"p":1}]
		← ["1",null,"room:lobby","pushed",{"p":1}]`},
	{"W044 push, then reply", joinLobby + `→ ["1","2","room:lobby","push_me_reply",{"p":1}]
		← ["1",null,"room:lobby","pushed",{"p":1}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W052 payloads of any kind", joinLobby + `→ ["1","2","room:lobby","echo","str"]
		← ["1","2","room:lobby","phx_reply",{"response":"str","status":"ok"}]
		→ ["1","3","room:lobby","echo",[1]]
		← ["1","3","room:lobby","phx_reply",{"response":[1],"status":"ok"}]
		→ ["1","4","room:lobby","echo",null]
		← ["1","4","room:lobby","phx_reply",{"response":null,"status":"ok"}]`},
	{"W055 crash", joinLobby + `→ ["1","2","room:lobby","crash",{}]
		` + crashed + `→ ["1","3","room:lobby","echo",{}]
		← [null,"3","room:lobby","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]
		` + joinLobby},
	{"W056 rubbish", joinLobby + `→ ["1","2","room:lobby","bad_reply",{}]
		` + crashed + joinLobby + `→ ["1","2","room:lobby","bad_push",{}]
		` + crashed + joinLobby + `→ ["1","2","room:lobby","bad_broadcast",{}]
		` + crashed},
	{"W058 stop", joinLobby + `→ ["1","2","room:lobby","exit_shutdown",{}]
		← ["1","1","room:lobby","phx_close",{}]`},
	{"W059 stop with a reply", joinLobby + `→ ["1","2","room:lobby","exit_reply",{"bye":1}]
		← ["1","2","room:lobby","phx_reply",{"response":{"bye":1},"status":"ok"}]
		← ["1","1","room:lobby","phx_close",{}]`},
	{"W061 the protocol's own events", joinLobby + `→ ["1","2","room:lobby","phx_reply",{}]
		` + crashed},
	{"W103 event is a number", joinLobby + `→ ["1","2","room:lobby",5,{}]
		` + crashed},
	{"W064 broadcast", joinLobby + `B→ ["7","7","room:lobby","phx_join",{}]
		B← ["7","7","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ ["1","2","room:lobby","shout",{"m":"hi"}]
		← [null,null,"room:lobby","shout",{"m":"hi"}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		B← [null,null,"room:lobby","shout",{"m":"hi"}]`},
	{"W065 broadcast without the sender", joinLobby + `B→ ["7","7","room:lobby","phx_join",{}]
		B← ["7","7","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ ["1","2","room:lobby","shout_from",{"m":"hi"}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		B← [null,null,"room:lobby","shout",{"m":"hi"}]`},
	{"broadcast to another topic", joinLobby + `B→ ["7","7","room:other","phx_join",{}]
		B← ["7","7","room:other","phx_reply",{"response":{},"status":"ok"}]
		→ ["1","2","room:lobby","elsewhere",{}]
		B← [null,null,"room:other","from_afar",{}]`},
	{"W066 binary", joinLobby + `→ BIN \x00\x01\x01\x0a\x0412room:lobbyecho\x00\xfe
		← BIN \x01\x01\x01\x0a\x0212room:lobbyok\x00\xfe`},
	{"refs for the handler", `→ [{"a":1},7,"room:lobby","phx_join",{}]
		← [{"a":1},7,"room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ [{"a":1},null,"room:lobby","ref",{}]
		← [{"a":1},null,"room:lobby","phx_reply",{"response":["{\"a\":1}",""],"status":"ok"}]`},
	{"a handler that cannot answer now", joinLobby + `→ ["1","2","room:lobby","slow",{}]
		← ["1","2","room:lobby","phx_reply",{"response":{"reason":"timeout"},"status":"error"}]
		→ ["1","3","room:lobby","down",{}]
		← ["1","3","room:lobby","phx_reply",{"response":{"reason":"unavailable"},"status":"error"}]
		→ ["1","4","room:lobby","full",{}]
		← ["1","4","room:lobby","phx_reply",{"response":{"reason":"overloaded"},"status":"error"}]
		→ ["1","5","room:lobby","echo",{}]
		← ["1","5","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W063 a slow push holds up its channel alone", joinLobby + `→ ["2","2","room:hello","phx_join",{}]
		← ["2","2","room:hello","phx_reply",{"response":{"params":{},"welcome":true},"status":"ok"}]
		hold
		→ ["1","3","room:lobby","echo",{"n":1}]
		→ ["1","4","room:lobby","echo",{"n":2}]
		` + heartbeat + `go
		← ["1","3","room:lobby","phx_reply",{"response":{"n":1},"status":"ok"}]
		← ["1","4","room:lobby","phx_reply",{"response":{"n":2},"status":"ok"}]`},
	{"R7 leave behind pushes, and again", joinLobby + `hold
		→ ["1","2","room:lobby","echo",{"n":1}]
		→ ["1","3","room:lobby","shout",{"n":2}]
		→ ["1","4","room:lobby","phx_leave",{}]
		→ ["1","5","room:lobby","phx_leave",{}]
		→ ["1","6","room:lobby","echo",{}]
		` + heartbeat + `go
		← ["1","2","room:lobby","phx_reply",{"response":{"n":1},"status":"ok"}]
		← [null,null,"room:lobby","shout",{"n":2}]
		← ["1","3","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["1","4","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["1","1","room:lobby","phx_close",{}]
		` + joinLobby},
	{"R9 leave and join behind a push", joinLobby + `hold
		→ ["1","2","room:lobby","echo",{"n":1}]
		→ ["1","3","room:lobby","phx_leave",{}]
		→ ["4","4","room:lobby","phx_join",{}]
		→ [null,"99","phoenix","heartbeat",{}]
		go
		← ["1","2","room:lobby","phx_reply",{"response":{"n":1},"status":"ok"}]
		← ["1","3","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["1","1","room:lobby","phx_close",{}]
		← ["4","4","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← [null,"99","phoenix","phx_reply",{"response":{},"status":"ok"}]`},
	{"pushes behind a crash are lost", joinLobby + `hold
		→ ["1","2","room:lobby","crash",{}]
		→ ["1","3","room:lobby","echo",{}]
		go
		` + crashed + joinLobby},
}

func TestHandler(t *testing.T) {
	for _, c := range handlerCases {
		t.Run(c.name, func(t *testing.T) {
			m, _ := handled(t, session.DefaultLimits())
			newStageOf(t, m, session.Client{}).play(c.script)
		})
	}
}

// W190, and what else is different for clients of version 1.
func TestVersion1(t *testing.T) {
	const join = `→ {"topic":"room:hello","event":"phx_join","payload":{"a":1},"ref":"1"}
		← {"event":"phx_reply","payload":{"response":{"params":{"a":1},"welcome":true},"status":"ok"},"ref":"1","topic":"room:hello"}
		`
	const crashed = `← {"event":"phx_error","payload":{"reason":"channel_crash"},"ref":null,"topic":"room:hello"}
		`
	for name, script := range map[string]string{
		"W190": join + `→ {"topic":"room:hello","event":"echo","payload":{"a":1},"ref":"2"}
			← {"event":"phx_reply","payload":{"response":{"a":1},"status":"ok"},"ref":"2","topic":"room:hello"}
			→ {"topic":"room:hello","event":"shout","payload":{"m":1},"ref":"3"}
			← {"event":"shout","payload":{"m":1},"ref":null,"topic":"room:hello"}
			← {"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":"3","topic":"room:hello"}
			→ {"topic":"phoenix","event":"heartbeat","payload":{},"ref":"4"}
			← {"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":"4","topic":"phoenix"}
			→ {"topic":"room:hello","event":"nosuch","payload":{},"ref":"5"}
			` + crashed + `→ {"topic":"room:hello","event":"echo","payload":{},"ref":"6"}
			← {"event":"phx_reply","payload":{"response":{"reason":"unmatched topic"},"status":"error"},"ref":"6","topic":"room:hello"}
			→ {"topic":"room:hello","event":"phx_join","payload":{},"ref":"7"}
			← {"event":"phx_reply","payload":{"response":{"params":{},"welcome":true},"status":"ok"},"ref":"7","topic":"room:hello"}
			→ {"topic":"room:hello","event":"phx_leave","payload":{},"ref":"8"}
			← {"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":"8","topic":"room:hello"}
			← {"event":"phx_close","payload":{},"ref":null,"topic":"room:hello"}`,
		"W191 missing key": `→ {"topic":"room:lobby","event":"phx_join","ref":"1"}
			← CLOSE 1011`,
		"W193 binary frame": `→ BIN \x00\x01\x02
			← CLOSE 1011`,
		"duplicate join": join + `→ {"topic":"room:hello","event":"phx_join","payload":{"a":1},"ref":"2"}
			← {"event":"phx_reply","payload":{"response":{"params":{"a":1},"welcome":true},"status":"ok"},"ref":"2","topic":"room:hello"}
			← {"event":"phx_close","payload":{},"ref":null,"topic":"room:hello"}`,
		"push": join + `→ {"topic":"room:hello","event":"push_me","payload":{"a":1},"ref":"2"}
			← {"event":"pushed","payload":{"a":1},"ref":null,"topic":"room:hello"}`,
		"binary reply": join + `→ {"topic":"room:hello","event":"bin_reply","payload":{},"ref":"2"}
			` + crashed,
		"binary reply to a join": `→ {"topic":"room:binjoin","event":"phx_join","payload":{},"ref":"1"}
			← {"event":"phx_reply","payload":{"response":{"reason":"join crashed"},"status":"error"},"ref":"1","topic":"room:binjoin"}`,
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := handled(t, session.DefaultLimits())
			newStageOf(t, m, session.Client{Version: phx.V1}).play(script)
		})
	}
}
