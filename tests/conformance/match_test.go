package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Placeholders of wanted JSON: strings that stand for any value of a kind.
const (
	anyValue  = "<any>"
	anyString = "<string>"
	anyNumber = "<number>"
	anyRef    = "<ref>"   // a string that is not empty
	anyToken  = "<token>" // the same, kept for later requests
)

// decode reads one JSON text, numbers as they stand there.
func decode(text []byte) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one JSON text: %q", text)
	}
	return value, nil
}

// matches reports whether got is what is wanted: equal as JSON, placeholders
// apart.
func matches(want, got any) bool {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok || len(got) != len(want) {
			return false
		}
		for key, value := range want {
			if other, ok := got[key]; !ok || !matches(value, other) {
				return false
			}
		}
		return true
	case []any:
		got, ok := got.([]any)
		if !ok || len(got) != len(want) {
			return false
		}
		for i, value := range want {
			if !matches(value, got[i]) {
				return false
			}
		}
		return true
	case json.Number:
		got, ok := got.(json.Number)
		return ok && equalNumbers(want, got)
	case string:
		return matchesString(want, got)
	default:
		return want == got
	}
}

func matchesString(want string, got any) bool {
	text, isText := got.(string)
	switch want {
	case anyValue:
		return true
	case anyString:
		return isText
	case anyNumber:
		_, ok := got.(json.Number)
		return ok
	case anyRef, anyToken:
		return text != ""
	default:
		return isText && want == text
	}
}

// equalNumbers compares values: 1e3 is 1.0e3, and no digit of a big one counts
// for nothing.
func equalNumbers(a, b json.Number) bool {
	left, okLeft := new(big.Rat).SetString(a.String())
	right, okRight := new(big.Rat).SetString(b.String())
	return okLeft && okRight && left.Cmp(right) == 0
}

var (
	repeated = regexp.MustCompile(`<(.)\*(\d+)>`)
	padded   = regexp.MustCompile(`<(.)=(\d+)>`)
	escaped  = regexp.MustCompile(`\\x[0-9a-f]{2}`)
)

// expand fills in <x*N>, N times x, and <x=N>, as many as make the whole text N
// bytes long.
func expand(text string) string {
	text = repeated.ReplaceAllStringFunc(text, func(found string) string {
		part := repeated.FindStringSubmatch(found)
		n, _ := strconv.Atoi(part[2]) // the pattern has digits only
		return strings.Repeat(part[1], n)
	})
	if part := padded.FindStringSubmatch(text); part != nil {
		n, _ := strconv.Atoi(part[2])
		text = strings.Replace(text, part[0], strings.Repeat(part[1], max(0, n-len(text)+len(part[0]))), 1)
	}
	return text
}

// unescape reads the \xNN of binary data.
func unescape(text string) []byte {
	return []byte(escaped.ReplaceAllStringFunc(text, func(found string) string {
		b, _ := strconv.ParseUint(found[2:], 16, 8) // the pattern has two hexadecimal digits
		return string([]byte{byte(b)})
	}))
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		want, got string
		ok        bool
	}{
		{`["1",null,{"a":1,"b":[true]}]`, `["1",null,{"b":[true],"a":1}]`, true},
		{`{"a":1}`, `{"a":1,"b":2}`, false},
		{`[1]`, `[1,2]`, false},
		{`1.0e3`, `1000`, true},
		{`123456789012345678901234567890`, `123456789012345678901234567891`, false},
		{`"1"`, `1`, false},
		{`null`, `false`, false},
		{`["<any>","<string>","<number>","<ref>"]`, `[null,"",2,"x"]`, true},
		{`"<ref>"`, `""`, false},
	} {
		want, errWant := decode([]byte(c.want))
		got, errGot := decode([]byte(c.got))
		if errWant != nil || errGot != nil || matches(want, got) != c.ok {
			t.Errorf("%s against %s is not %t (%v, %v)", c.got, c.want, c.ok, errWant, errGot)
		}
	}
	if got := expand("a<x*3>b"); got != "axxxb" {
		t.Errorf("expanded %q", got)
	}
	if got := expand("[<x=10>]"); got != "[xxxxxxxx]" {
		t.Errorf("padded %q", got)
	}
	if got := string(unescape(`a\x00\xff`)); got != "a\x00\xff" {
		t.Errorf("unescaped %q", got)
	}
}
