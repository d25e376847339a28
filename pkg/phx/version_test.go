package phx_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
)

func TestDecodeV1(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want phx.Message
	}{
		"W190 join":            {`{"topic":"room:hello","event":"phx_join","payload":{"a":1},"ref":"1"}`, message(`null`, `"1"`, `"room:hello"`, `"phx_join"`, `{"a":1}`)},
		"join_ref":             {`{"join_ref":"7","ref":null,"event":"e","topic":"t","payload":[]}`, message(`"7"`, `null`, `"t"`, `"e"`, `[]`)},
		"white space":          {" {\t\"topic\" : 5 ,\n\"event\":\"e\",\"payload\" :\r\"p\", \"ref\":[1] } ", message(`null`, `[1]`, `5`, `"e"`, `"p"`)},
		"escaped keys":         {`{"\u0074opic":"\u0074","event":"e","p\u0061yload":{},"ref":"\/"}`, message(`null`, `"/"`, `"t"`, `"e"`, `{}`)},
		"other keys":           {`{"a":{"topic":"x"},"topic":"t","event":"e","payload":{},"ref":"1","":0}`, message(`null`, `"1"`, `"t"`, `"e"`, `{}`)},
		"the first key counts": {`{"topic":"t","topic":"u","event":"e","event":"f","payload":1,"payload":2,"ref":"1","ref":"2"}`, message(`null`, `"1"`, `"t"`, `"e"`, `1`)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := phx.V1.Decode([]byte(c.in), false)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, c.want)
		})
	}
}

func TestDecodeV1Refuses(t *testing.T) {
	for name, in := range map[string]string{
		"W191 no payload": `{"topic":"room:lobby","event":"phx_join","ref":"1"}`,
		"no topic":        `{"event":"phx_join","payload":{},"ref":"1"}`,
		"no event":        `{"topic":"t","payload":{},"ref":"1"}`,
		"no ref":          `{"topic":"t","event":"phx_join","payload":{}}`,
		"a list":          `["1","1","t","e",{}]`,
		"empty":           `{}`,
		"nothing":         ``,
		"trailing comma":  `{"topic":"t","event":"e","payload":{},"ref":"1",}`,
		"no colon":        `{"topic" "t","event":"e","payload":{},"ref":"1"}`,
		"key of a number": `{1:"t","topic":"t","event":"e","payload":{},"ref":"1"}`,
		"unclosed key":    `{"topic`,
		"unclosed":        `{"topic":"t","event":"e","payload":{},"ref":"1"`,
		"more behind":     `{"topic":"t","event":"e","payload":{},"ref":"1"}{}`,
		"lone surrogate":  `{"topic":"t","event":"e","payload":"\ud83d","ref":"1"}`,
		"ref too long":    `{"topic":"t","event":"e","payload":{},"ref":"` + strings.Repeat("r", phx.MaxRefLen) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if m, err := phx.V1.Decode([]byte(in), false); !errors.Is(err, phx.ErrMalformed) {
				t.Errorf("got %+v, %v", m, err)
			}
		})
	}
	if _, err := phx.V1.Decode([]byte("\x00\x00\x00\x00\x00"), true); !errors.Is(err, phx.ErrMalformed) {
		t.Errorf("W193 binary: got %v", err)
	}
}

func TestEncodeV1(t *testing.T) {
	one, two, topic := phx.Text("1"), phx.Text("2"), phx.Text("room:lobby")
	reply, _ := phx.V1.Reply(phx.Reply{JoinRef: one, Ref: two, Topic: topic, Status: "weird", Response: []byte(`[1]`)})
	push, _ := phx.V1.Push(phx.Push{JoinRef: one, Topic: topic, Event: "pushed", Payload: []byte(`{"p":1}`)})
	broadcast, _ := phx.V1.Broadcast(channel.Broadcast{Topic: "room:lobby", Event: "shout", Payload: []byte(`{"m":1}`)})
	for name, c := range map[string]struct {
		frame wsframe.Frame
		want  string
	}{
		"ok":        {phx.V1.OK(one, two, topic), `{"topic":"room:lobby","event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":"2"}`},
		"refusal":   {phx.V1.Refusal(one, two, topic, "no"), `{"topic":"room:lobby","event":"phx_reply","payload":{"response":{"reason":"no"},"status":"error"},"ref":"2"}`},
		"close":     {phx.V1.Close(phx.Null, topic), `{"topic":"room:lobby","event":"phx_close","payload":{},"ref":null}`},
		"error":     {phx.V1.Error(phx.Null, topic, "channel_crash"), `{"topic":"room:lobby","event":"phx_error","payload":{"reason":"channel_crash"},"ref":null}`},
		"reply":     {reply, `{"topic":"room:lobby","event":"phx_reply","payload":{"response":[1],"status":"weird"},"ref":"2"}`},
		"push":      {push, `{"topic":"room:lobby","event":"pushed","payload":{"p":1},"ref":null}`},
		"broadcast": {broadcast, `{"topic":"room:lobby","event":"shout","payload":{"m":1},"ref":null}`},
	} {
		if string(c.frame.Payload()) != c.want || c.frame.Op() != wsframe.Text {
			t.Errorf("%s: got %s, want %s", name, c.frame.Payload(), c.want)
		}
	}
}

// Opaque payloads that a client's serializer has no frame for are refused.
func TestBinaryByVersion(t *testing.T) {
	topic := phx.Text("t")
	kinds := map[string]func(phx.Version) (wsframe.Frame, error){
		"reply": func(v phx.Version) (wsframe.Frame, error) {
			return v.Reply(phx.Reply{JoinRef: phx.Null, Ref: phx.Null, Topic: topic, Status: "ok", Binary: true})
		},
		"push": func(v phx.Version) (wsframe.Frame, error) {
			return v.Push(phx.Push{JoinRef: phx.Null, Topic: topic, Event: "e", Payload: []byte("\xff"), Binary: true})
		},
		"broadcast": func(v phx.Version) (wsframe.Frame, error) {
			return v.Broadcast(channel.Broadcast{Topic: "t", Event: "e", Payload: []byte("\xff"), Binary: true})
		},
	}
	for name, want := range map[string]map[phx.Version]string{
		"reply":     {phx.V2: "\x01\x00\x00\x01\x02tok"},
		"push":      {phx.V2: "\x00\x00\x01\x01te\xff", phx.Supabase: "\x04\x01\x01\x00\x00te\xff"},
		"broadcast": {phx.V2: "\x02\x01\x01te\xff", phx.Supabase: "\x04\x01\x01\x00\x00te\xff"},
	} {
		for v := range phx.Versions {
			f, err := kinds[name](v)
			switch w := want[v]; {
			case w == "" && !errors.Is(err, phx.ErrBinary):
				t.Errorf("%s of version %d: %v", name, v, err)
			case w != "" && (err != nil || f.Op() != wsframe.Binary || string(f.Payload()) != w):
				t.Errorf("%s of version %d: got %q, %v", name, v, f.Payload(), err)
			}
		}
	}
}

func TestDecodeSupabase(t *testing.T) {
	const head = "\x03\x01\x01\x02\x03"
	m, err := phx.Supabase.Decode([]byte(head+"\x00\x01"+"12rtcur"+`{"x":[1]}`), true)
	if err != nil {
		t.Fatal(err)
	}
	same(t, m, message(`"1"`, `"2"`, `"rt"`, `"broadcast"`, `{"type":"broadcast","event":"cur","payload":{"x":[1]}}`))

	m, err = phx.Supabase.Decode([]byte(head+"\x02\x00"+"12rtcur"+`{}`+"\xff\x00"), true)
	if err != nil || m.UserEvent != `"cur"` || !m.Binary || string(m.Payload) != "\xff\x00" || m.Event != `"broadcast"` {
		t.Errorf("opaque broadcast: got %+v, %v", m, err)
	}
	if m, err = phx.Supabase.Decode([]byte("\x00\x01\x01\x01\x0112te\xff"), true); err != nil || m.Event != `"e"` || m.UserEvent != "" {
		t.Errorf("a binary push of Phoenix: got %+v, %v", m, err)
	}
	for name, in := range map[string]string{
		"unknown encoding": head + "\x00\x02" + "12rtcur{}",
		"not JSON":         head + "\x00\x01" + "12rtcur{",
		"truncated":        head + "\x00\x01" + "12rtc",
		"no lengths":       "\x03\x00\x00\x00\x00\x00",
		"not UTF-8":        head + "\x00\x00" + "12r\xffcur",
	} {
		if m, err := phx.Supabase.Decode([]byte(in), true); !errors.Is(err, phx.ErrMalformed) {
			t.Errorf("%s: got %+v, %v", name, m, err)
		}
	}
	if _, err := phx.V2.Decode([]byte(head+"\x00\x01"+"12rtcur{}"), true); !errors.Is(err, phx.ErrMalformed) {
		t.Errorf("V2 does not know the frames of Supabase: %v", err)
	}
}

// An object says the same as a list of the same parts, in any order of keys.
func TestV1IsV2(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := []string{"join_ref", "ref", "topic", "event", "payload"}
		values := make([]string, len(keys))
		for i := range keys {
			values[i] = rapid.SampledFrom([]string{`null`, `"1"`, `"\u0031"`, `1e3`, `{"topic":[]}`, `[{},"x"]`, `"é\n"`}).Draw(t, keys[i])
		}
		var members []string
		for _, i := range rapid.Permutation([]int{0, 1, 2, 3, 4}).Draw(t, "order") {
			members = append(members, fmt.Sprintf("%q:%s", keys[i], values[i]))
		}
		got, err1 := phx.V1.Decode([]byte("{"+strings.Join(members, ",")+"}"), false)
		want, err2 := phx.V2.Decode([]byte("["+strings.Join(values, ",")+"]"), false)
		if err1 != nil || err2 != nil || got.JoinRef != want.JoinRef || got.Ref != want.Ref || got.Topic != want.Topic ||
			got.Event != want.Event || string(got.Payload) != string(want.Payload) || got.Object != want.Object {
			t.Fatalf("got %+v, %v\nwant %+v, %v", got, err1, want, err2)
		}
	})
}

// What V1 sends, V1 reads.
func TestV1ReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := channel.Broadcast{Topic: rapid.String().Draw(t, "topic"), Event: rapid.String().Draw(t, "event"), Payload: []byte(`{"a":1}`)}
		f, err := phx.V1.Broadcast(b)
		if err != nil {
			t.Fatal(err)
		}
		m, err := phx.V1.Decode(f.Payload(), false)
		topic, _ := m.Topic.Text()
		event, _ := m.Event.Text()
		if err != nil || topic != b.Topic || event != b.Event || string(m.Payload) != `{"a":1}` || m.Ref != phx.Null {
			t.Fatalf("got %+v, %v", m, err)
		}
	})
}

// FuzzDecodeV1 compares with encoding/json, which reads the last of equal keys
// and any case of them: so only what it refuses is looked at, and what decodes
// must say the same as a list of its parts.
func FuzzDecodeV1(f *testing.F) {
	for _, seed := range []string{
		`{"topic":"room:hello","event":"phx_join","payload":{"a":1},"ref":"1"}`,
		`{"\u0074opic":5,"event":null,"payload":"\ud83d\ude00","ref":[],"join_ref":"\/"}`,
		`{"topic":"t"}`, `{}`, `{"`, `["1","1","t","e",{}]`, "{\"\xff\":1}", `{"a":1,"a":{"a":[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := phx.V1.Decode(data, false)
		if err != nil {
			if !errors.Is(err, phx.ErrMalformed) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatalf("decoded what is not JSON: %q", data)
		}
		again := fmt.Appendf(nil, "[%s,%s,%s,%s,%s]", m.JoinRef, m.Ref, m.Topic, m.Event, m.Payload)
		second, err := phx.V2.Decode(again, false)
		if err != nil {
			t.Fatal(err)
		}
		same(t, second, m)
		if f := phx.V1.OK(m.JoinRef, m.Ref, m.Topic); !json.Valid(f.Payload()) {
			t.Fatalf("the reply is not JSON: %s", f.Payload())
		}
	})
}

// FuzzDecodeSupabase checks that no frame harms, and that what is told to be
// JSON is.
func FuzzDecodeSupabase(f *testing.F) {
	for _, seed := range []string{
		"\x03\x01\x01\x02\x03\x00\x0112rtcur{\"x\":[1]}", "\x03\x01\x01\x02\x03\x02\x0012rtcur{}\xff\x00",
		"\x03", "\x03\x00\x00\x00\x00\x00\x00", "\x00\x01\x01\x01\x0112te\xff", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := phx.Supabase.Decode(data, true)
		if err != nil {
			if !errors.Is(err, phx.ErrMalformed) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		for _, term := range []phx.Term{m.JoinRef, m.Ref, m.Topic, m.Event} {
			if !json.Valid([]byte(term)) {
				t.Fatalf("%s is not JSON", term)
			}
		}
		if !m.Binary && !json.Valid(m.Payload) {
			t.Fatalf("%s is not JSON", m.Payload)
		}
	})
}
