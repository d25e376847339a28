package phx

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// scanner validates JSON in one pass. When a method returns false the data is
// not JSON, and pos is about where it stops being so.
type scanner struct {
	data    []byte
	pos     int
	escapes bool // the last string has escapes
}

// start skips white space and returns where it ends.
func (s *scanner) start() int {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return s.pos
		}
	}
	return s.pos
}

// next skips white space and returns the byte behind it, which it does not
// consume; 0, which is no JSON either, at the end.
func (s *scanner) next() byte { return s.at(s.start()) }

func (s *scanner) at(i int) byte {
	if i < len(s.data) {
		return s.data[i]
	}
	return 0
}

// value consumes one value of any kind. It does not recurse.
func (s *scanner) value() bool {
	var open nesting
	for {
		switch c := s.next(); c {
		case '{', '[':
			s.pos++
			if !open.push(c == '{') {
				return false
			}
			if s.next() != c+2 { // its closing bracket, in ASCII
				if c == '{' && !s.key() {
					return false
				}
				continue
			}
			s.pos++
			open.depth--
		default:
			if !s.scalar(c) {
				return false
			}
		}
		if more, ok := s.behind(&open); !more {
			return ok
		}
	}
}

// behind consumes what follows a value, up to the start of the next one if
// there is more.
func (s *scanner) behind(open *nesting) (more, ok bool) {
	for open.depth > 0 {
		c := s.next()
		switch {
		case c == ',':
			s.pos++
			ok := !open.object() || s.key()
			return ok, ok
		case c == '}' && open.object(), c == ']' && !open.object():
			s.pos++
			open.depth--
		default:
			return false, false
		}
	}
	return false, true
}

func (s *scanner) key() bool {
	if s.next() != '"' || !s.str() || s.next() != ':' {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) scalar(first byte) bool {
	switch first {
	case '"':
		return s.str()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	return s.number()
}

func (s *scanner) literal(word string) bool {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return false
	}
	s.pos += len(word)
	return true
}

func (s *scanner) str() bool {
	s.escapes = false
	s.pos++
	for s.pos < len(s.data) {
		n := 1
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return true
		case c == '\\':
			if _, n = unescape(s.data[s.pos:]); n == 0 {
				return false
			}
			s.escapes = true
		case c < ' ':
			return false
		case c >= utf8.RuneSelf:
			var r rune
			if r, n = utf8.DecodeRune(s.data[s.pos:]); r == utf8.RuneError && n == 1 {
				return false
			}
		}
		s.pos += n
	}
	return false
}

func (s *scanner) number() bool {
	start := s.pos
	if s.at(s.pos) == '-' {
		s.pos++
	}
	if s.at(s.pos) == '0' {
		s.pos++
	} else if !s.digits() {
		return false
	}
	float := false
	if s.at(s.pos) == '.' {
		s.pos++
		if float = s.digits(); !float {
			return false
		}
	}
	if c := s.at(s.pos); c == 'e' || c == 'E' {
		s.pos++
		if c := s.at(s.pos); c == '+' || c == '-' {
			s.pos++
		}
		if float = s.digits(); !float {
			return false
		}
	}
	return !float || finite(s.data[start:s.pos])
}

// digits consumes at least one digit.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// finite reports whether a number fits a float64. Phoenix turns whatever has a
// fraction or an exponent into one; integers it keeps at any size.
func finite(number []byte) bool {
	const safe = 300 // digits: less than 1e308 without an exponent
	if len(number) < safe && bytes.IndexByte(number, 'e') < 0 && bytes.IndexByte(number, 'E') < 0 {
		return true
	}
	_, err := strconv.ParseFloat(string(number), 64)
	return err == nil
}

// nesting is a stack of open arrays and objects, one bit each.
type nesting struct {
	objects [MaxDepth / 64]uint64
	depth   int
}

func (n *nesting) push(object bool) bool {
	if n.depth == MaxDepth {
		return false
	}
	word, bit := n.depth/64, uint64(1)<<(n.depth%64)
	n.objects[word] &^= bit
	if object {
		n.objects[word] |= bit
	}
	n.depth++
	return true
}

// object reports whether the innermost open one is an object.
func (n *nesting) object() bool {
	top := n.depth - 1
	return n.objects[top/64]>>(top%64)&1 == 1
}
