package phx_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
)

func TestEncode(t *testing.T) {
	var (
		one, two, topic = phx.Text("1"), phx.Text("2"), phx.Text("room:lobby")
		long            = strings.Repeat("x", 256)
	)
	reply := func(r phx.Reply) func() (wsframe.Frame, error) {
		return func() (wsframe.Frame, error) { return phx.V2.Reply(r) }
	}
	push := func(p phx.Push) func() (wsframe.Frame, error) {
		return func() (wsframe.Frame, error) { return phx.V2.Push(p) }
	}
	broadcast := func(b channel.Broadcast) func() (wsframe.Frame, error) {
		return func() (wsframe.Frame, error) { return phx.V2.Broadcast(b) }
	}
	sure := func(f wsframe.Frame) func() (wsframe.Frame, error) {
		return func() (wsframe.Frame, error) { return f, nil }
	}
	for _, c := range []struct {
		name  string
		frame func() (wsframe.Frame, error)
		op    wsframe.Opcode
		want  string // empty: no frame
	}{
		{"ok", sure(phx.V2.OK(one, two, topic)), wsframe.Text, `["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]`},
		{"refs as they came", sure(phx.V2.OK(phx.Null, "42", "5")), wsframe.Text, `[null,42,5,"phx_reply",{"response":{},"status":"ok"}]`},
		{
			"refusal", sure(phx.V2.Refusal(phx.Null, two, topic, `the "reason"`)), wsframe.Text,
			`[null,"2","room:lobby","phx_reply",{"response":{"reason":"the \"reason\""},"status":"error"}]`,
		},
		{"close", sure(phx.V2.Close(one, topic)), wsframe.Text, `["1","1","room:lobby","phx_close",{}]`},
		{"error", sure(phx.V2.Error(phx.Null, topic, "channel_crash")), wsframe.Text, `[null,null,"room:lobby","phx_error",{"reason":"channel_crash"}]`},
		{
			"reply", reply(phx.Reply{JoinRef: one, Ref: two, Topic: topic, Status: "weird_status", Response: []byte(`[1]`)}), wsframe.Text,
			`["1","2","room:lobby","phx_reply",{"response":[1],"status":"weird_status"}]`,
		},
		{
			"binary reply", reply(phx.Reply{JoinRef: one, Ref: two, Topic: topic, Status: "ok", Response: []byte("\x00\xfe"), Binary: true}), wsframe.Binary,
			"\x01\x01\x01\x0a\x0212room:lobbyok\x00\xfe",
		},
		{
			"binary reply to null and number", reply(phx.Reply{JoinRef: phx.Null, Ref: "42", Topic: topic, Status: "ok", Binary: true}), wsframe.Binary,
			"\x01\x00\x02\x0a\x0242room:lobbyok",
		},
		{"binary reply to a list", reply(phx.Reply{JoinRef: one, Ref: `["2"]`, Topic: topic, Status: "ok", Binary: true}), wsframe.Binary, ""},
		{"binary reply, ref too long", reply(phx.Reply{JoinRef: one, Ref: phx.Text(long), Topic: topic, Status: "ok", Binary: true}), wsframe.Binary, ""},
		{
			"push", push(phx.Push{JoinRef: one, Topic: topic, Event: "pushed", Payload: []byte(`{"p":1}`)}), wsframe.Text,
			`["1",null,"room:lobby","pushed",{"p":1}]`,
		},
		{
			"binary push", push(phx.Push{JoinRef: one, Topic: topic, Event: "bin_pushed", Payload: []byte("\x09\x08\x07"), Binary: true}), wsframe.Binary,
			"\x00\x01\x0a\x0a1room:lobbybin_pushed\x09\x08\x07",
		},
		{"binary push, topic too long", push(phx.Push{JoinRef: one, Topic: phx.Text(long), Event: "e", Binary: true}), wsframe.Binary, ""},
		{"binary push to an object", push(phx.Push{JoinRef: "{}", Topic: topic, Event: "e", Binary: true}), wsframe.Binary, ""},
		{
			"broadcast", broadcast(channel.Broadcast{Topic: "room:lobby", Event: "shout", Payload: []byte(`{"m":"hi"}`)}), wsframe.Text,
			`[null,null,"room:lobby","shout",{"m":"hi"}]`,
		},
		{
			"broadcast of names to escape", broadcast(channel.Broadcast{Topic: "a\"b\n", Event: `\`, Payload: []byte(`{}`)}), wsframe.Text,
			`[null,null,"a\"b\u000a","\\",{}]`,
		},
		{
			"binary broadcast", broadcast(channel.Broadcast{Topic: "topic", Event: "event", Payload: []byte("efg"), Binary: true}), wsframe.Binary,
			"\x02\x05\x05topiceventefg",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := c.frame()
			switch {
			case c.want == "" && !errors.Is(err, phx.ErrHeader):
				t.Errorf("got %v, want %v", err, phx.ErrHeader)
			case c.want != "" && (err != nil || f.Op() != c.op || string(f.Payload()) != c.want):
				t.Errorf("got %d %q, %v\nwant %d %q", f.Op(), f.Payload(), err, c.op, c.want)
			}
		})
	}
}

// Whatever is broadcast, a JSON decoder reads back; so does ours, which takes
// the frames of both directions.
func TestBroadcastReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := channel.Broadcast{
			Topic:   rapid.String().Draw(t, "topic"),
			Event:   rapid.String().Draw(t, "event"),
			Payload: []byte(rapid.SampledFrom([]string{`{}`, `{"a":[1,"\u0000",{"b":null}]}`, `[]`, `"x"`}).Draw(t, "payload")),
		}
		f, err := phx.V2.Broadcast(b)
		if err != nil {
			t.Fatal(err)
		}
		var std []any
		if err := json.Unmarshal(f.Payload(), &std); err != nil {
			t.Fatalf("%s: %v", f.Payload(), err)
		}
		if std[2] != b.Topic || std[3] != b.Event {
			t.Fatalf("encoding/json reads %q", std)
		}
		m, err := phx.V2.Decode(f.Payload(), false)
		if err != nil {
			t.Fatal(err)
		}
		topic, _ := m.Topic.Text()
		event, _ := m.Event.Text()
		if topic != b.Topic || event != b.Event || string(m.Payload) != string(b.Payload) || m.JoinRef != phx.Null || m.Ref != phx.Null {
			t.Fatalf("got %+v", m)
		}
	})
}

// A binary frame of a client says the same as a text frame with the same parts.
func TestBinaryIsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var parts [4]string
		frame := []byte{0}
		for i := range parts {
			parts[i] = rapid.StringN(0, 60, 255).Draw(t, "part")
			frame = append(frame, byte(len(parts[i])))
		}
		frame = append(frame, strings.Join(parts[:], "")...)
		payload := rapid.SliceOf(rapid.Byte()).Draw(t, "payload")
		got, err := phx.V2.Decode(append(frame, payload...), true)
		if err != nil {
			t.Fatal(err)
		}
		std, err := json.Marshal(append(toAny(parts[:]), map[string]any{}))
		if err != nil {
			t.Fatal(err)
		}
		want, err := phx.V2.Decode(std, false)
		if err != nil {
			t.Fatal(err)
		}
		want.Payload, want.Binary, want.Object = payload, true, false
		if len(got.Payload) == 0 && len(payload) == 0 {
			got.Payload, want.Payload = nil, nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}

func toAny(parts []string) []any {
	out := make([]any, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return out
}

func BenchmarkBroadcast(b *testing.B) {
	m := channel.Broadcast{Topic: "room:lobby", Event: "new_msg", Payload: []byte(`{"body":"` + strings.Repeat("x", 180) + `"}`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := phx.V2.Broadcast(m); err != nil {
			b.Fatal(err)
		}
	}
}
