package handshake

import (
	"strconv"
	"strings"
)

// deflateName is the extension of RFC 7692.
const deflateName = "permessage-deflate"

// OffersDeflate reports whether the lines of a Sec-WebSocket-Extensions header
// hold an offer of permessage-deflate that is accepted by the answer
//
//	permessage-deflate; server_no_context_takeover; client_no_context_takeover
//
// An offer is declined if the server would have to keep to a window that is
// smaller than deflate's own, or if it has an unknown, a repeated or a malformed
// parameter (RFC 7692, section 7). A header that is not well formed offers
// nothing.
func OffersDeflate(lines []string) bool {
	offers, ok := parseExtensions(lines)
	if !ok {
		return false
	}
	for _, o := range offers {
		if o.name == deflateName && o.acceptable() {
			return true
		}
	}
	return false
}

// extension is one element of Sec-WebSocket-Extensions.
type extension struct {
	name   string
	params []param
}

type param struct {
	name, value string
	given       bool // there is a value
}

// acceptable reports whether the answer of [OffersDeflate] fits an offer.
func (e extension) acceptable() bool {
	seen := map[string]bool{}
	for _, p := range e.params {
		if seen[p.name] {
			return false
		}
		seen[p.name] = true
		switch p.name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if p.given {
				return false
			}
		case "server_max_window_bits": // we always use all of 15
			if p.value != "15" {
				return false
			}
		case "client_max_window_bits": // any will do; without a value it is a hint
			if p.given && !windowBits(p.value) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// windowBits reports whether a value is 8 to 15, without leading zeros.
func windowBits(value string) bool {
	bits, err := strconv.ParseUint(value, 10, 8)
	return err == nil && value[0] != '0' && bits >= 8 && bits <= 15
}

// parseExtensions reads the lines of a header by the grammar of RFC 6455,
// section 9.1.
func parseExtensions(lines []string) (all []extension, ok bool) {
	for _, line := range lines {
		p := scanner{rest: line}
		for more := true; more; more = p.skip(',') {
			if p.space(); p.rest == "" || p.rest[0] == ',' {
				continue // an empty element
			}
			e, ok := p.extension()
			if !ok {
				return nil, false
			}
			all = append(all, e)
		}
		if p.rest != "" {
			return nil, false
		}
	}
	return all, true
}

// scanner reads a line of a header from its front.
type scanner struct{ rest string }

func (s *scanner) space() { s.rest = strings.TrimLeft(s.rest, " \t") }

// skip skips a separator and the space before it, if it is there.
func (s *scanner) skip(separator byte) bool {
	s.space()
	if s.rest == "" || s.rest[0] != separator {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *scanner) extension() (e extension, ok bool) {
	if e.name, ok = s.token(); !ok {
		return e, false
	}
	for s.skip(';') {
		var p param
		if p.name, ok = s.token(); !ok {
			return e, false
		}
		if p.given = s.skip('='); p.given {
			if p.value, ok = s.value(); !ok {
				return e, false
			}
		}
		e.params = append(e.params, p)
	}
	return e, true
}

// token reads a token of RFC 7230.
func (s *scanner) token() (string, bool) {
	s.space()
	end := 0
	for end < len(s.rest) && isTokenByte(s.rest[end]) {
		end++
	}
	t := s.rest[:end]
	s.rest = s.rest[end:]
	return t, end > 0
}

// value reads a token or a quoted string, of which what it says must be a token.
func (s *scanner) value() (string, bool) {
	s.space()
	quoted, ok := strings.CutPrefix(s.rest, `"`)
	if !ok {
		return s.token()
	}
	var unquoted strings.Builder
	for i := 0; i < len(quoted); i++ {
		switch c := quoted[i]; {
		case c == '"':
			s.rest = quoted[i+1:]
			return unquoted.String(), unquoted.Len() > 0
		case c == '\\' && i+1 < len(quoted) && isTokenByte(quoted[i+1]):
			i++
			unquoted.WriteByte(quoted[i])
		case isTokenByte(c):
			unquoted.WriteByte(c)
		default:
			return "", false
		}
	}
	return "", false
}

func isTokenByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	default:
		return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
	}
}
