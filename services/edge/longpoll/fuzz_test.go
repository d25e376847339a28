package longpoll

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

func TestTokens(t *testing.T) {
	for _, edge := range []string{"e", "edge-1", "Straße", strings.Repeat("x", maxEdgeID)} {
		want := token{edge, newSecret()}
		if got, err := parseToken(want.String()); err != nil || got != want {
			t.Errorf("%q: %v, %v", edge, got, err)
		}
	}
	if one, two := newSecret(), newSecret(); one == two {
		t.Error("two secrets are the same")
	}
	for _, text := range []string{"", "undefined", "null", token{"", newSecret()}.String(), token{"\xff", newSecret()}.String(), token{strings.Repeat("x", maxEdgeID+1), newSecret()}.String()} {
		if _, err := parseToken(text); err == nil {
			t.Errorf("%q is a token", text)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(token{"edge-1", secret{1, 2, 3}}.String())
	f.Add("")
	f.Add("undefined")
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseToken(text)
		if err != nil {
			return
		}
		if parsed.String() != text {
			t.Errorf("%q is also %q", text, parsed)
		}
		if parsed.edge == "" || len(parsed.edge) > maxEdgeID || !utf8.ValidString(parsed.edge) {
			t.Errorf("edge %q", parsed.edge)
		}
	})
}

func FuzzParseBody(f *testing.F) {
	f.Add(true, []byte("[1]\r\n\n{\"a\":1}\nAAEC\nnull!\n"))
	f.Add(false, []byte("[1,\n2]"))
	f.Add(false, []byte(""))
	f.Fuzz(func(t *testing.T, lines bool, body []byte) {
		kind := ""
		if lines {
			kind = ndjson
		}
		messages, err := parseBody(kind, body)
		if err != nil {
			return
		}
		if !lines && len(messages) != 1 || len(messages) > maxBatch {
			t.Fatalf("%d messages", len(messages))
		}
		rest := body
		for _, m := range messages {
			text := m.GetData()
			if m.GetBinary() {
				text = []byte(base64.StdEncoding.EncodeToString(text))
				if bytes.HasPrefix(text, []byte("[")) {
					t.Errorf("%q is no text", text)
				}
				continue // the same bytes have other spellings: line ends within
			}
			at := bytes.Index(rest, text)
			if at < 0 {
				t.Fatalf("%q is not next in %q", text, rest)
			}
			rest = rest[at+len(text):]
		}
	})
}

func FuzzText(f *testing.F) {
	for _, frame := range binaryFrames(f) {
		f.Add(frame.Payload())
	}
	f.Add([]byte{1, 255, 0, 0, 0})
	f.Fuzz(func(t *testing.T, frame []byte) {
		encoded, err := text(&meshv1.PollMessage{Data: frame, Binary: true})
		if err != nil {
			return
		}
		var message []any
		if err := json.Unmarshal([]byte(encoded), &message); err != nil || len(message) != 5 {
			t.Errorf("%q: %v", encoded, err)
		}
	})
}

func binaryFrames(tb testing.TB) []wsframe.Frame {
	tb.Helper()
	reply, err1 := phx.V2.Reply(phx.Reply{JoinRef: phx.Text("1"), Ref: phx.Text("2"), Topic: phx.Text("r"), Status: "ok", Response: []byte{0, 255}, Binary: true})
	push, err2 := phx.V2.Push(phx.Push{JoinRef: phx.Text("1"), Topic: phx.Text("r"), Event: "e", Payload: []byte("<"), Binary: true})
	broadcast, err3 := phx.V2.Broadcast(channel.Broadcast{Topic: "r", Event: "\u2028", Payload: nil, Binary: true})
	if err := errors.Join(err1, err2, err3); err != nil {
		tb.Fatal(err)
	}
	return []wsframe.Frame{reply, push, broadcast}
}

// phoenix.js decodes no bytes from long-poll: binary payloads come as base64.
func TestBinaryInText(t *testing.T) {
	for i, want := range []string{
		`["1","2","r","phx_reply",{"response":{"_skein_b64":"AP8="},"status":"ok"}]`,
		`["1",null,"r","e",{"_skein_b64":"PA=="}]`,
		`[null,null,"r","\u2028",{"_skein_b64":""}]`,
	} {
		frame := binaryFrames(t)[i]
		got, err := text(&meshv1.PollMessage{Data: frame.Payload(), Binary: true})
		if err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	for _, frame := range [][]byte{nil, {3}, {0}, {1, 1, 0, 0, 0}, {2, 0}} {
		if got, err := text(&meshv1.PollMessage{Data: frame, Binary: true}); err == nil {
			t.Errorf("%v became %s", frame, got)
		}
	}
}
