package phx_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/pkg/phx"
)

func TestDecodeText(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     phx.Message
	}{
		{"a join", `["1","2","room:lobby","phx_join",{"a":1}]`, message(`"1"`, `"2"`, `"room:lobby"`, `"phx_join"`, `{"a":1}`)},
		{"white space", " [ \"1\"\t,\r\n\"2\" , \"t\",\"e\" , { \"a\" : [ ] } ] \n", message(`"1"`, `"2"`, `"t"`, `"e"`, `{ "a" : [ ] }`)},
		{"null refs", `[null,null,"t","e",{}]`, message(`null`, `null`, `"t"`, `"e"`, `{}`)},
		{"terms of any kind", `[1,-0.5e2,[5],{"a":"b"},true]`, message(`1`, `-0.5e2`, `[5]`, `{"a":"b"}`, `true`)},
		{"extra elements", `["1","1","t","e",{},"extra",[7]]`, message(`"1"`, `"1"`, `"t"`, `"e"`, `{}`)},
		{"duplicate keys", `["1","1","t","e",{"a":1,"a":2}]`, message(`"1"`, `"1"`, `"t"`, `"e"`, `{"a":1,"a":2}`)},
		{"big numbers", `["1","1","t","e",{"a":123456789012345678901234567890,"c":1e308,"d":-0.0,"e":1e-999}]`,
			message(`"1"`, `"1"`, `"t"`, `"e"`, `{"a":123456789012345678901234567890,"c":1e308,"d":-0.0,"e":1e-999}`)},
		{"escapes become canonical", `["\u0031","\/","\ud83d\ude00\u00E9","\n\"\\\u0000\b",{}]`,
			message(`"1"`, `"/"`, `"😀é"`, `"\u000a\"\\\u0000\u0008"`, `{}`)},
		{"escapes in the payload stay", `["1","1","t","e","\ud83d\ude00\u0000"]`, message(`"1"`, `"1"`, `"t"`, `"e"`, `"\ud83d\ude00\u0000"`)},
		{"deepest", `["1","1","t","e",` + nested(phx.MaxDepth) + `]`, message(`"1"`, `"1"`, `"t"`, `"e"`, nested(phx.MaxDepth))},
		{"longest ref", `["` + strings.Repeat("r", phx.MaxRefLen-2) + `","1","t","e",{}]`,
			message(phx.Text(strings.Repeat("r", phx.MaxRefLen-2)), `"1"`, `"t"`, `"e"`, `{}`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := phx.V2.Decode([]byte(c.in), false)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, c.want)
		})
	}
}

func message(joinRef, ref, topic, event phx.Term, payload string) phx.Message {
	return phx.Message{
		JoinRef: joinRef, Ref: ref, Topic: topic, Event: event,
		Payload: []byte(payload), Object: strings.HasPrefix(payload, "{"),
	}
}

func same(t *testing.T, got, want phx.Message) {
	t.Helper()
	if got.JoinRef != want.JoinRef || got.Ref != want.Ref || got.Topic != want.Topic || got.Event != want.Event ||
		string(got.Payload) != string(want.Payload) || got.Binary != want.Binary || got.Object != want.Object {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestDecodeTextRefuses(t *testing.T) {
	frame := func(payload string) string { return `["1","1","t","e",` + payload + `]` }
	for name, in := range map[string]string{
		"not JSON":                    `hello`,
		"empty":                       ``,
		"white space":                 ` `,
		"null":                        `null`,
		"an object":                   `{"topic":"t","event":"phx_join","payload":{},"ref":"1"}`,
		"an empty list":               `[]`,
		"four elements":               `["1","1","t","phx_join"]`,
		"truncated":                   `["1","1","t","phx_join",{`,
		"unclosed":                    `["1","1","t","phx_join",{}`,
		"trailing comma":              `["1","1","t","e",{},]`,
		"two messages":                frame(`{}`) + frame(`{}`),
		"trailing NUL":                frame(`{}`) + "\x00",
		"byte order mark":             "\ufeff" + frame(`{}`),
		"open nesting":                strings.Repeat("[", 2000),
		"too deep":                    frame(nested(phx.MaxDepth + 1)),
		"brackets crossed":            frame(`[{]}`),
		"object closed as array":      frame(`{"a":1]`),
		"array closed as object":      frame(`[1}`),
		"lone high surrogate":         frame(`"\ud83d"`),
		"high surrogate and a letter": frame(`"\ud83dx"`),
		"two high surrogates":         frame(`"\ud83d\ud83d"`),
		"lone low surrogate":          frame(`"\ude00"`),
		"float overflow":              frame(`1e309`),
		"negative float overflow":     frame(`-1.5E+400`),
		"overflow without exponent":   frame(strings.Repeat("9", 400) + ".0"),
		"leading zero":                frame(`01`),
		"plus sign":                   frame(`+1`),
		"only a minus":                frame(`-`),
		"no digits after the point":   frame(`1.`),
		"no digits before the point":  frame(`.5`),
		"no digits in the exponent":   frame(`1e`),
		"signed empty exponent":       frame(`1e-`),
		"NaN":                         frame(`NaN`),
		"half a literal":              frame(`tru`),
		"literal with a tail":         frame(`nullx`),
		"single quotes":               frame(`'a'`),
		"control character":           frame("\"a\x01\""),
		"raw line feed":               frame("\"a\nb\""),
		"unknown escape":              frame(`"\x41"`),
		"short unicode escape":        frame(`"\u12"`),
		"unicode escape, not hex":     frame(`"\u12g4"`),
		"backslash at the end":        `["1","1","t","e","\`,
		"invalid UTF-8":               frame("\"\xff\""),
		"overlong UTF-8":              frame("\"\xc0\xaf\""),
		"encoded surrogate":           frame("\"\xed\xa0\x80\""),
		"key without a value":         frame(`{"a"}`),
		"key not a string":            frame(`{1:2}`),
		"comma in an empty object":    frame(`{,}`),
		"trailing comma in an object": frame(`{"a":1,}`),
		"trailing comma in an array":  frame(`[1,]`),
		"comment":                     frame(`/**/{}`),
		"broken extra element":        `["1","1","t","e",{},nope]`,
		"join_ref too long":           `["` + strings.Repeat("r", phx.MaxRefLen) + `","1","t","e",{}]`,
		"ref too long":                `["1",` + strings.Repeat("1", phx.MaxRefLen+1) + `,"t","e",{}]`,
	} {
		t.Run(name, func(t *testing.T) {
			if m, err := phx.V2.Decode([]byte(in), false); !errors.Is(err, phx.ErrMalformed) {
				t.Errorf("got %.200q, %v", m.Payload, err)
			}
		})
	}
}

func TestDecodeBinary(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     phx.Message
	}{
		{"a push", "\x00\x02\x03\x05\x0512123topicevent\x65\x66\x67", message(`"12"`, `"123"`, `"topic"`, `"event"`, "efg")},
		{"empty refs are not null", "\x00\x00\x00\x01\x01te{", message(`""`, `""`, `"t"`, `"e"`, "{")},
		{"no payload", "\x00\x01\x01\x01\x0112te", message(`"1"`, `"2"`, `"t"`, `"e"`, "")},
		{"all empty", "\x00\x00\x00\x00\x00", message(`""`, `""`, `""`, `""`, "")},
		{"names to escape", "\x00\x01\x01\x02\x02\"\\a\ncdx", message(`"\""`, `"\\"`, `"a\u000a"`, `"cd"`, "x")},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := phx.V2.Decode([]byte(c.in), true)
			if err != nil {
				t.Fatal(err)
			}
			c.want.Binary, c.want.Object = true, false
			same(t, got, c.want)
		})
	}
}

func TestDecodeBinaryRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"empty":              "",
		"kind reply":         "\x01\x01\x01\x01\x011234",
		"kind broadcast":     "\x02\x01\x01abc",
		"JSON":               `["1","1","room:lobby","phx_join",{}]`,
		"only the kind":      "\x00",
		"short header":       "\x00\x01\x01\x01",
		"truncated join_ref": "\x00\x05\x00\x00\x00abcd",
		"truncated event":    "\x00\x01\x01\x01\x0212te",
		"topic not UTF-8":    "\x00\x01\x01\x01\x0112\xffe",
	} {
		t.Run(name, func(t *testing.T) {
			if m, err := phx.V2.Decode([]byte(in), true); !errors.Is(err, phx.ErrMalformed) {
				t.Errorf("got %.200q, %v", m.Payload, err)
			}
		})
	}
}

func TestTermText(t *testing.T) {
	for _, s := range []string{"", "1", "room:größe 😀", `"\/`, "\x00\x1f\x7f\n", "\u2028"} {
		term := phx.Text(s)
		if got, ok := term.Text(); !ok || got != s {
			t.Errorf("Text(%q) = %s, which reads %q, %v", s, term, got, ok)
		}
		var std string
		if err := json.Unmarshal([]byte(term), &std); err != nil || std != s {
			t.Errorf("Text(%q) = %s, which encoding/json reads as %q, %v", s, term, std, err)
		}
	}
	for _, term := range []phx.Term{phx.Null, "1", "true", `["a"]`, `{"a":"b"}`, ""} {
		if got, ok := term.Text(); ok {
			t.Errorf("%s reads as the string %q", term, got)
		}
	}
}

func TestDecodeAllocatesOnce(t *testing.T) {
	text := []byte(`["1","23","room:lobby","new_msg",{"body":"hello, world"}]`)
	binary := []byte("\x00\x01\x02\x0a\x07123room:lobbynew_msg\x01\x02\x03")
	for name, decode := range map[string]func() error{
		"text":   func() error { _, err := phx.V2.Decode(text, false); return err },
		"binary": func() error { _, err := phx.V2.Decode(binary, true); return err },
	} {
		var err error
		if n := testing.AllocsPerRun(100, func() { err = errors.Join(err, decode()) }); n > 1 || err != nil {
			t.Errorf("%s: %v allocations, %v", name, n, err)
		}
	}
}

func BenchmarkDecodeText(b *testing.B) {
	in := []byte(`["1","23","room:lobby","new_msg",{"body":"` + strings.Repeat("hello, world ", 15) + `"}]`)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := phx.V2.Decode(in, false); err != nil {
			b.Fatal(err)
		}
	}
}
