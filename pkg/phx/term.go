package phx

import (
	"strings"
	"unicode/utf8"
)

// Term is one JSON term as JSON text, to be echoed as it came: Phoenix lets a
// client use any term as a ref. Strings are in one canonical form however the
// client escaped them, so equal strings are equal Terms, and the string "1" is
// not the number 1. Other terms are compared by their text.
type Term string

// Null is JSON's null.
const Null Term = "null"

// Text returns the term of a string, which must be UTF-8.
func Text(s string) Term { return Term(appendQuoted(make([]byte, 0, len(s)+2), s)) }

// Text returns the string that t is, and whether it is one.
func (t Term) Text() (string, bool) {
	if len(t) < 2 || t[0] != '"' {
		return "", false
	}
	s := string(t[1 : len(t)-1])
	if strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	return string(unquote(make([]byte, 0, len(s)), s)), true
}

// header is t in the header of a binary frame, as Elixir's to_string has it:
// null is the empty string, numbers and booleans are their text. Arrays and
// objects have no such form.
func (t Term) header() (string, bool) {
	switch {
	case t == Null || t == "":
		return "", true
	case t[0] == '[' || t[0] == '{':
		return "", false
	case t[0] != '"':
		return string(t), true
	}
	return t.Text()
}

// token is a term where it stands in a frame.
type token struct {
	raw  []byte
	form form
}

type form uint8

const (
	verbatim form = iota // canonical JSON text
	escaped              // a JSON string with escapes
	plain                // a string without quotes
)

func (t token) appendTo(b []byte) []byte {
	switch t.form {
	case verbatim:
		return append(b, t.raw...)
	case escaped:
		return appendQuoted(b, unquote(make([]byte, 0, len(t.raw)), t.raw[1:len(t.raw)-1]))
	default:
		return appendQuoted(b, t.raw)
	}
}

// appendQuoted appends s as a JSON string, escaping only what must be.
func appendQuoted[S ~string | ~[]byte](b []byte, s S) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	done := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[done:i]...)
		done = i + 1
		if c < ' ' {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		} else {
			b = append(b, '\\', c)
		}
	}
	return append(append(b, s[done:]...), '"')
}

// unquote appends what the inside of a valid JSON string stands for.
func unquote[S ~string | ~[]byte](b []byte, s S) []byte {
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			b = append(b, s[i])
			i++
			continue
		}
		r, n := unescape(s[i:])
		b = utf8.AppendRune(b, r)
		i += n
	}
	return b
}

// unescape reads the escape at the start of s: the character it stands for and
// its length, 0 if it is not valid. A surrogate counts only as half of a pair.
func unescape[S ~string | ~[]byte](s S) (rune, int) {
	if len(s) < 2 {
		return 0, 0
	}
	switch c := s[1]; c {
	case '"', '\\', '/':
		return rune(c), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	}
	const one, two = len(`\u0000`), len(`\u0000\u0000`)
	high, ok := codeUnit(s)
	switch {
	case !ok || high >= 0xDC00 && high < 0xE000:
		return 0, 0
	case high < 0xD800 || high >= 0xE000:
		return high, one
	}
	low, ok := codeUnit(s[one:])
	if !ok || low < 0xDC00 || low >= 0xE000 {
		return 0, 0
	}
	return 0x10000 + (high-0xD800)<<10 + (low - 0xDC00), two
}

// codeUnit reads \uXXXX at the start of s.
func codeUnit[S ~string | ~[]byte](s S) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var r rune
	for i := 2; i < 6; i++ {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
