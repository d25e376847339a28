package session_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/services/edge/session"
)

const (
	joinLobby = `→ ["1","1","room:lobby","phx_join",{}]
		← ["1","1","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		`
	heartbeat = `→ [null,"99","phoenix","heartbeat",{}]
		← [null,"99","phoenix","phx_reply",{"response":{},"status":"ok"}]
		`
	crashed = `← ["1","1","room:lobby","phx_error",{"reason":"channel_crash"}]
		`
)

// wireCases are recordings of a real Phoenix server (1.8.12), on a channel that
// broadcasts what it is pushed and answers ok. A line is what client A sends
// (→) or gets (←); with a B in front, client B. BIN is a binary frame. "hold"
// stops the mesh from answering, "go" lets it.
var wireCases = []struct{ name, script string }{
	{"W001 join", joinLobby},
	{"W004 join_ref is not ref", `→ ["7","9","room:lobby","phx_join",{}]
		← ["7","9","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ ["7","10","room:lobby","echo",{"a":1}]
		← [null,null,"room:lobby","echo",{"a":1}]
		← ["7","10","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W005 join_ref null", `→ [null,"9","room:lobby","phx_join",{}]
		← [null,"9","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ [null,"10","room:lobby","echo",{"a":1}]
		← [null,null,"room:lobby","echo",{"a":1}]
		← ["9","10","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ ["9","11","room:lobby","echo",{"a":2}]
		→ [null,"13","room:lobby","phx_leave",{}]
		← ["9","13","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← [null,null,"room:lobby","phx_close",{}]`},
	{"W014 empty topic", `→ ["4","4","","phx_join",{}]
		← [null,"4","","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`},
	{"R3 join of the protocol's topic", `→ ["4","4","phoenix","phx_join",{}]
		← [null,"4","phoenix","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`},
	{"R3 other event on the protocol's topic", `→ ["4","4","phoenix","hello",{}]
		← [null,"4","phoenix","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`},
	{"W016 join with a string", `→ ["1","1","room:lobby","phx_join","str"]
		← ["1","1","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W017 join with null", `→ ["1","1","room:lobby","phx_join",null]
		← ["1","1","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W020 duplicate join", joinLobby + `→ ["5","5","room:lobby","phx_join",{}]
		← ["5","5","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["1","1","room:lobby","phx_close",{}]
		→ ["5","6","room:lobby","echo",{"n":1}]
		← [null,null,"room:lobby","echo",{"n":1}]
		← ["5","6","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ ["1","7","room:lobby","echo",{"n":2}]`},
	{"W021 duplicate join, same join_ref", joinLobby + `→ ["1","2","room:lobby","phx_join",{}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["1","1","room:lobby","phx_close",{}]
		→ ["1","3","room:lobby","echo",{}]
		← [null,null,"room:lobby","echo",{}]
		← ["1","3","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"R8 duplicate join behind a push", joinLobby + `hold
		→ ["1","2","room:lobby","echo",{}]
		→ ["5","5","room:lobby","phx_join",{}]
		→ [null,"6","phoenix","heartbeat",{}]
		go
		← [null,null,"room:lobby","echo",{}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["5","5","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["1","1","room:lobby","phx_close",{}]
		← [null,"6","phoenix","phx_reply",{"response":{},"status":"ok"}]`},
	{"W023 a join blocks everything behind it", `hold
		→ ["1","1","room:slow","phx_join",{}]
		→ [null,"2","phoenix","heartbeat",{}]
		→ ["3","3","room:lobby","phx_join",{}]
		go
		← ["1","1","room:slow","phx_reply",{"response":{},"status":"ok"}]
		← [null,"2","phoenix","phx_reply",{"response":{},"status":"ok"}]
		← ["3","3","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W025 leave", joinLobby + `→ ["1","2","room:lobby","phx_leave",{}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["1","1","room:lobby","phx_close",{}]
		→ ["1","3","room:lobby","echo",{}]
		← [null,"3","room:lobby","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`},
	{"W026 leave when not joined", `→ ["1","2","room:lobby","phx_leave",{}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W027 leave of what is no topic", `→ ["1","2",5,"phx_leave",{}]
		← ["1","2",5,"phx_reply",{"response":{},"status":"ok"}]`},
	{"W028 leave with a stale join_ref", `→ ["5","5","room:lobby","phx_join",{}]
		← ["5","5","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ ["1","6","room:lobby","phx_leave",{}]
		→ ["5","7","room:lobby","echo",{"still":"in"}]
		← [null,null,"room:lobby","echo",{"still":"in"}]
		← ["5","7","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W029 leave with join_ref null", `→ ["5","5","room:lobby","phx_join",{}]
		← ["5","5","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ [null,"6","room:lobby","phx_leave",{}]
		← ["5","6","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["5","5","room:lobby","phx_close",{}]`},
	{"W030 two leaves", joinLobby + `→ ["1","2","room:lobby","phx_leave",{}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["1","1","room:lobby","phx_close",{}]
		→ ["1","3","room:lobby","phx_leave",{}]
		← ["1","3","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W031 leave, then join", joinLobby + `→ ["1","2","room:lobby","phx_leave",{}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["1","1","room:lobby","phx_close",{}]
		→ ["3","3","room:lobby","phx_join",{}]
		← ["3","3","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"leave behind a push", joinLobby + `hold
		→ ["1","2","room:lobby","bye",{}]
		→ ["1","3","room:lobby","phx_leave",{}]
		go
		← [null,null,"room:lobby","bye",{}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["1","3","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← ["1","1","room:lobby","phx_close",{}]`},
	{"W032 heartbeat", heartbeat},
	{"W033 heartbeat with a join_ref", `→ ["7","10","phoenix","heartbeat",{}]
		← [null,"10","phoenix","phx_reply",{"response":{},"status":"ok"}]`},
	{"W034 heartbeat, ref null", `→ [null,null,"phoenix","heartbeat",{}]
		← [null,null,"phoenix","phx_reply",{"response":{},"status":"ok"}]`},
	{"W035 heartbeat, ref a number", `→ [null,42,"phoenix","heartbeat",{}]
		← [null,42,"phoenix","phx_reply",{"response":{},"status":"ok"}]`},
	{"W036 heartbeat, ref an object", `→ [null,{"a":["\u00e9"]},"phoenix","heartbeat",{}]
		← [null,{"a":["é"]},"phoenix","phx_reply",{"response":{},"status":"ok"}]`},
	{"W037 heartbeat on another topic", `→ [null,"10","room:lobby","heartbeat",{}]
		← [null,"10","room:lobby","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]
		` + joinLobby + `→ ["1","12","room:lobby","heartbeat",{}]
		← [null,null,"room:lobby","heartbeat",{}]
		← ["1","12","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W046 push, ref null", joinLobby + `→ ["1",null,"room:lobby","echo",{"a":1}]
		← [null,null,"room:lobby","echo",{"a":1}]
		← ["1",null,"room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W047 refs are numbers, and strictly so", `→ [1,1,"room:lobby","phx_join",{}]
		← [1,1,"room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ [1,2,"room:lobby","echo",{"a":1}]
		← [null,null,"room:lobby","echo",{"a":1}]
		← [1,2,"room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ ["1","3","room:lobby","echo",{"a":2}]`},
	{"R10 equal however escaped", joinLobby + `→ ["\u0031","2","room:\u006cobby","echo",{}]
		← [null,null,"room:lobby","echo",{}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W048 push to a topic not joined", `→ ["1","2","room:lobby","echo",{"a":1}]
		← [null,"2","room:lobby","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`},
	{"W050 stale join_ref", `→ ["5","5","room:lobby","phx_join",{}]
		← ["5","5","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ ["4","6","room:lobby","echo",{"a":1}]
		→ ["5","7","room:lobby","echo",{"a":2}]
		← [null,null,"room:lobby","echo",{"a":2}]
		← ["5","7","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W053 a string cannot be broadcast", joinLobby + `→ ["1","2","room:lobby","shout","str"]
		` + crashed + joinLobby},
	{"W053 nor a list", joinLobby + `→ ["1","2","room:lobby","shout",[1]]
		` + crashed},
	{"W053 nor null", joinLobby + `→ ["1","2","room:lobby","shout",null]
		` + crashed + heartbeat},
	{"W054 crash of a channel with join_ref null", `→ [null,"9","room:lobby","phx_join",{}]
		← [null,"9","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ [null,"10","room:lobby","shout",7]
		← [null,null,"room:lobby","phx_error",{"reason":"channel_crash"}]
		→ [null,"11","room:lobby","echo",{}]
		← [null,"11","room:lobby","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`},
	{"W061 the protocol's own events", joinLobby + `→ ["1","2","room:lobby","phx_reply",{}]
		` + crashed + joinLobby + `→ ["1","4","room:lobby","phx_close",{}]
		` + crashed + joinLobby + `→ ["1","5","room:lobby","phx_error",{}]
		` + crashed},
	{"empty event", joinLobby + `→ ["1","2","room:lobby","",{}]
		` + crashed},
	{"crash behind a push", joinLobby + `hold
		→ ["1","2","room:lobby","echo",{}]
		→ ["1","3","room:lobby","echo",7]
		go
		← [null,null,"room:lobby","echo",{}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		` + crashed},
	{"W062 pipelined pushes keep their order", `hold
		→ ["1","1","room:lobby","phx_join",{}]
		→ ["1","2","room:lobby","echo",{"i":2}]
		→ ["1","3","room:lobby","echo",{"i":3}]
		→ ["1","4","room:lobby","echo",{"i":4}]
		go
		← ["1","1","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← [null,null,"room:lobby","echo",{"i":2}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← [null,null,"room:lobby","echo",{"i":3}]
		← ["1","3","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		← [null,null,"room:lobby","echo",{"i":4}]
		← ["1","4","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W064 broadcast to both", joinLobby + `B→ ["7","7","room:lobby","phx_join",{}]
		B← ["7","7","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ ["1","2","room:lobby","shout",{"m":"hi"}]
		← [null,null,"room:lobby","shout",{"m":"hi"}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		B← [null,null,"room:lobby","shout",{"m":"hi"}]`},
	{"W068 publish from outside", joinLobby + `publish room:lobby ext {"n":1}
		← [null,null,"room:lobby","ext",{"n":1}]
		publish room:other ext {"n":2}`},
	{"W072 binary push is broadcast as binary", joinLobby + `B→ ["7","7","room:lobby","phx_join",{}]
		B← ["7","7","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		→ BIN \x00\x01\x01\x0a\x0912room:lobbybin_shout\x00\x01\xfe\xff
		← BIN \x02\x0a\x09room:lobbybin_shout\x00\x01\xfe\xff
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]
		B← BIN \x02\x0a\x09room:lobbybin_shout\x00\x01\xfe\xff`},
	{"W073 an empty binary join_ref is stale", joinLobby + `→ BIN \x00\x00\x00\x0a\x08room:lobbybin_echo\x01`},
	{"W074 binary push without join", `→ BIN \x00\x01\x01\x0a\x0812room:lobbybin_echo\x01
		← [null,"2","room:lobby","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`},
	{"W077 binary join", `→ BIN \x00\x01\x01\x0a\x0811room:lobbyphx_join\x01\x02
		← ["1","1","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W078 binary heartbeat", `→ BIN \x00\x00\x01\x07\x091phoenixheartbeat
		← [null,"1","phoenix","phx_reply",{"response":{},"status":"ok"}]`},
	{"R17 a binary broadcast has no room for a long topic", `→ ["1","1","` + strings.Repeat("x", 256) + `","phx_join",{}]
		← ["1","1","` + strings.Repeat("x", 256) + `","phx_reply",{"response":{},"status":"ok"}]
		→ ["1","2","` + strings.Repeat("x", 256) + `","e",{}]
		← [null,null,"` + strings.Repeat("x", 256) + `","e",{}]
		← ["1","2","` + strings.Repeat("x", 256) + `","phx_reply",{"response":{},"status":"ok"}]`},
	{"W079 kind of a reply", `→ BIN \x01\x01\x01\x01\x011234
		← CLOSE 1011`},
	{"W080 kind of a broadcast", `→ BIN \x02\x01\x01abc
		← CLOSE 1011`},
	{"W082 empty binary", `→ BIN` + " " + `
		← CLOSE 1011`},
	{"W085 not JSON", `→ hello
		← CLOSE 1011
		→ [null,"99","phoenix","heartbeat",{}]`},
	{"W088 an object", `→ {"topic":"room:lobby","event":"phx_join","payload":{},"ref":"1"}
		← CLOSE 1011`},
	{"W089 a list of four", `→ ["1","1","room:lobby","phx_join"]
		← CLOSE 1011`},
	{"W095 duplicate keys", joinLobby + `→ ["1","2","room:lobby","e",{"a":1,"a":2}]
		← RAW [null,null,"room:lobby","e",{"a":1,"a":2}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W096 lone surrogate", `→ ["1","1","room:lobby","phx_join",{"a":"\ud83d"}]
		← CLOSE 1011`},
	{"W097 numbers stay as they are", joinLobby + `→ ["1","2","room:lobby","e",{"a":123456789012345678901234567890,"c":1e3,"d":-0.0}]
		← RAW [null,null,"room:lobby","e",{"a":123456789012345678901234567890,"c":1e3,"d":-0.0}]
		← ["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W099 float overflow", `→ ["1","1","room:lobby","phx_join",{"a":1e999}]
		← CLOSE 1011`},
	{"W100 a list of six", `→ ["1","1","room:lobby","phx_join",{},"extra"]
		← ["1","1","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
	{"W101 topic is a number", `→ ["1","1",5,"phx_join",{}]
		← [null,"1",5,"phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]
		` + heartbeat},
	{"W102 topic is null", `→ ["1","1",null,"echo",{}]
		← [null,"1",null,"phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`},
	{"W103 event is a number", joinLobby + `→ ["1","2","room:lobby",5,{}]
		` + crashed + heartbeat},
	{"W104 event is null, not joined", `→ ["1","2","room:lobby",null,{}]
		← [null,"2","room:lobby","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`},
	{"W105 ref is a list", `→ ["1",["x",1],"room:lobby","phx_join",{}]
		← ["1",["x",1],"room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
}

func TestWire(t *testing.T) {
	for _, c := range wireCases {
		t.Run(c.name, func(t *testing.T) { newStage(t).play(c.script) })
	}
}

// What is said in lists of version 2 holds in objects of version 1 too, also
// for clients that send a join_ref.
func TestWireOfVersion1(t *testing.T) {
	played := 0
	for _, c := range wireCases {
		if script, ok := inVersion1(c.script); ok {
			t.Run(c.name, func(t *testing.T) {
				newStageOf(t, newMesh(t, session.DefaultLimits()), session.Client{Version: phx.V1}).play(script)
			})
			played++
		}
	}
	for _, c := range handlerCases {
		if script, ok := inVersion1(c.script); ok {
			t.Run(c.name, func(t *testing.T) {
				m, _ := handled(t, session.DefaultLimits())
				newStageOf(t, m, session.Client{Version: phx.V1}).play(script)
			})
			played++
		}
	}
	if all := len(wireCases) + len(handlerCases); played < all*3/4 {
		t.Errorf("%d of %d cases are the same in version 1", played, all)
	}
}

// inVersion1 translates a script; false if it is about frames that version 1
// does not have.
func inVersion1(script string) (string, bool) {
	var out strings.Builder
	for line := range strings.Lines(script) {
		verb, what, _ := strings.Cut(strings.Trim(line, "\t\n "), " ")
		if !strings.HasSuffix(verb, "→") && !strings.HasSuffix(verb, "←") {
			out.WriteString(line + "\n")
			continue
		}
		var parts []json.RawMessage
		if json.Unmarshal([]byte(what), &parts) != nil || len(parts) != 5 {
			return "", false
		}
		joinRef := ""
		if strings.HasSuffix(verb, "→") {
			joinRef = fmt.Sprintf(`,"join_ref":%s`, parts[0])
		}
		fmt.Fprintf(&out, `%s {"topic":%s,"event":%s,"payload":%s,"ref":%s%s}`+"\n", verb, parts[2], parts[3], parts[4], parts[1], joinRef)
	}
	return out.String(), true
}
