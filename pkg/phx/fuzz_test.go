package phx_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"testing"
	"unicode/utf8"

	"github.com/skein-mesh/skein/pkg/phx"
)

// FuzzDecodeText compares with encoding/json: what decodes is valid JSON, its
// terms are equal and survive a second trip; what does not decode is invalid
// for encoding/json too, or breaks one of the rules that only we have.
func FuzzDecodeText(f *testing.F) {
	for _, seed := range []string{
		`["1","2","room:lobby","phx_join",{"a":[1,2.5e3,"x",null,true]}]`,
		`[null,42,"phoenix","heartbeat",{}]`,
		`["\u0031","\ud83d\ude00",5,null,"str","extra"]`,
		`["1","1","t","e",{"a":1,"a":2}]`, `["1","1","t","e",1e309]`, `["1","1","t","e","\ud83d"]`,
		`["1","1","t","e"]`, `{"topic":"t"}`, `hello`, ``, "[[[[[[", "[\"\xff\",1,2,3,4]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := phx.V2.Decode(data, false)
		var std []json.RawMessage
		stdErr := json.Unmarshal(data, &std)
		switch {
		case err != nil && !errors.Is(err, phx.ErrMalformed):
			t.Fatalf("unexpected error %v", err)
		case err != nil:
			if stdErr == nil && len(std) >= 5 && !refused(data, std) {
				t.Fatalf("%v, but it is a message", err)
			}
		case stdErr != nil || len(std) < 5:
			t.Fatalf("decoded what encoding/json does not: %v", stdErr)
		default:
			checkTerms(t, m, std)
		}
	})
}

func checkTerms(t *testing.T, m phx.Message, std []json.RawMessage) {
	t.Helper()
	terms := []phx.Term{m.JoinRef, m.Ref, m.Topic, m.Event}
	again := []byte("[")
	for i, term := range terms {
		var want string
		got, isText := term.Text()
		if wantText := json.Unmarshal(std[i], &want) == nil && std[i][0] == '"'; isText != wantText || isText && got != want {
			t.Fatalf("element %d: %s reads %q, encoding/json reads %q", i, std[i], got, want)
		}
		if !isText && string(term) != string(std[i]) {
			t.Fatalf("element %d: %s became %s", i, std[i], term)
		}
		again = append(append(again, term...), ',')
	}
	if string(m.Payload) != string(std[4]) || m.Object != (std[4][0] == '{') {
		t.Fatalf("payload %s, want %s", m.Payload, std[4])
	}
	second, err := phx.V2.Decode(append(append(again, m.Payload...), ']'), false)
	if err != nil {
		t.Fatal(err)
	}
	same(t, second, m)
	if f := phx.V2.OK(m.JoinRef, m.Ref, m.Topic); !json.Valid(f.Payload()) {
		t.Fatalf("the reply is not JSON: %s", f.Payload())
	}
}

var (
	surrogate = regexp.MustCompile(`(?i)\\ud[89a-f]`)
	number    = regexp.MustCompile(`-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?`)
)

// refused reports whether valid JSON may break a rule that encoding/json does
// not have.
func refused(data []byte, std []json.RawMessage) bool {
	if !utf8.Valid(data) || surrogate.Match(data) || len(std[0]) > phx.MaxRefLen || len(std[1]) > phx.MaxRefLen ||
		bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > phx.MaxDepth {
		return true
	}
	for _, n := range number.FindAll(data, -1) {
		if _, err := strconv.ParseFloat(string(n), 64); err != nil {
			return true
		}
	}
	return false
}

// FuzzDecodeBinary puts what was decoded together again.
func FuzzDecodeBinary(f *testing.F) {
	for _, seed := range []string{
		"\x00\x01\x01\x0a\x0812room:lobbybin_echo\x00\x01\x02\xfe\xff", "\x00\x00\x00\x00\x00",
		"\x00\x01\x01\x02\x02\"\\a\ncdx", "\x01\x01\x01\x01\x011234", "\x02\x01\x01abc", "", "\x00\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := phx.V2.Decode(data, true)
		if err != nil {
			if !errors.Is(err, phx.ErrMalformed) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		again, names := []byte{0}, ""
		for _, term := range []phx.Term{m.JoinRef, m.Ref, m.Topic, m.Event} {
			name, ok := term.Text()
			if !ok || !json.Valid([]byte(term)) {
				t.Fatalf("%s is not a JSON string", term)
			}
			again, names = append(again, byte(len(name))), names+name
		}
		if again = append(append(again, names...), m.Payload...); !bytes.Equal(again, data) {
			t.Fatalf("got %q, want %q", again, data)
		}
	})
}
