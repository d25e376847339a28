package admit

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/skein-mesh/skein/services/edge/handshake"
)

// Words of the check-origin option.
const (
	originOwn     = "own"
	originConn    = "conn"
	originOff     = "off"
	originHandler = "handler"
)

// origins says pages of which origin may connect.
type origins struct {
	all      bool // do not look
	ask      bool // the handler decides
	own      bool // the host that the request is for
	conn     bool // its scheme, host and port
	exact    []string
	patterns []pattern
}

// site is an origin taken apart as Phoenix does it: the scheme in lower case, the
// port implied by the scheme if there is none, the host as it was written.
type site struct {
	scheme, host, port string
}

// pattern matches sites; empty parts match everything.
type pattern struct {
	site

	wild bool // the host and all below it
}

// parseOrigins reads the words of the check-origin option. It reports every
// mistake.
func parseOrigins(words []string) (*origins, error) {
	o := &origins{}
	var errs []error
	for _, word := range words {
		switch word {
		case originOff:
			o.all = true
		case originHandler:
			o.ask = true
		case originOwn:
			o.own = true
		case originConn:
			o.conn = true
		default:
			errs = append(errs, o.add(word))
		}
	}
	if len(words) == 0 {
		errs = append(errs, errors.New("check-origin: is empty: own, conn, off, handler or a list of origins is needed"))
	}
	if (o.all || o.ask) && len(words) > 1 {
		errs = append(errs, fmt.Errorf("check-origin: %q: off and handler must stand alone", strings.Join(words, ",")))
	}
	return o, errors.Join(errs...)
}

func (o *origins) add(word string) error {
	at, ok := parseSite(word)
	scheme, hostless := strings.CutSuffix(word, "://")
	switch {
	case !ok && hostless && validScheme(scheme):
		o.exact = append(o.exact, word)
		return nil
	case !ok:
		return fmt.Errorf("check-origin: %q is none of own, conn, off, handler and origins such as https://example.com, //*.example.com and file://", word)
	case !strings.HasSuffix(strings.TrimSuffix(word, ":"+at.port), "//"+bracketed(at.host)):
		return fmt.Errorf("check-origin: %q: an origin ends with its host and port", word)
	}
	host, wild := strings.CutPrefix(at.host, "*.")
	if host == "" || strings.Contains(host, "*") {
		return fmt.Errorf("check-origin: %q: * may only stand for what is before a host, as in //*.example.com", word)
	}
	at.host = host
	o.patterns = append(o.patterns, pattern{at, wild})
	return nil
}

func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// allow reports whether a page of the origin may connect with a request for the
// URL. Empty origins and "null", of pages that have none to speak of, may only
// if nobody looks.
func (o *origins) allow(origin string, asked *url.URL) bool {
	if o.all || slices.Contains(o.exact, origin) {
		return true
	}
	from, ok := parseSite(origin)
	if !ok {
		return false
	}
	if asked != nil && (o.own || o.conn) {
		to := site{strings.ToLower(asked.Scheme), asked.Hostname(), asked.Port()}
		if to.port == "" {
			to.port = impliedPort(to.scheme)
		}
		same := strings.EqualFold(from.host, to.host)
		if same && (o.own || from.scheme == to.scheme && from.port == to.port) {
			return true
		}
	}
	return slices.ContainsFunc(o.patterns, func(p pattern) bool { return p.match(from) })
}

// match compares as Phoenix does: hosts by the letter, as browsers send them in
// lower case.
func (p pattern) match(s site) bool {
	return (p.scheme == "" || p.scheme == s.scheme) && (p.port == "" || p.port == s.port) &&
		(p.host == s.host || p.wild && strings.HasSuffix(s.host, "."+p.host))
}

// parseSite reads "scheme://host:port"; scheme and port may be missing, and what
// follows is ignored, as Phoenix does. It is false without a host. What no
// browser sends is refused: user names, blanks, control characters, backslashes.
func parseSite(text string) (site, bool) {
	scheme, rest, ok := strings.Cut(text, "//")
	if !ok || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == '\\' || r == '@' || r >= 0x7f }) {
		return site{}, false
	}
	name, colon := strings.CutSuffix(scheme, ":")
	if scheme != "" && (!colon || !validScheme(name)) {
		return site{}, false
	}
	s := site{scheme: strings.ToLower(name)}
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	if s.host, s.port, ok = splitPort(authority); !ok || s.host == "" {
		return site{}, false
	}
	if s.port == "" {
		s.port = impliedPort(s.scheme)
	}
	return s, true
}

// splitPort separates host and port; the host of "[::1]" is "::1".
func splitPort(authority string) (host, port string, ok bool) {
	if inner, after, found := strings.Cut(authority, "]"); found {
		if !strings.HasPrefix(inner, "[") || after != "" && after[0] != ':' {
			return "", "", false
		}
		host, port = inner[1:], strings.TrimPrefix(after, ":")
	} else {
		host, port, _ = strings.Cut(authority, ":")
	}
	return host, port, strings.Trim(port, "0123456789") == "" && !strings.Contains(host, "[")
}

func validScheme(s string) bool {
	for i, c := range []byte(strings.ToLower(s)) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(c))) {
			return false
		}
	}
	return s != ""
}

// impliedPort is empty for schemes that imply none.
func impliedPort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	}
	return ""
}

// expected says in words whom allow lets in, for logs.
func (o *origins) expected(r *handshake.Request) string {
	var words []string
	if o.ask {
		words = append(words, "what the handler allows")
	}
	if r.URL != nil && o.own {
		words = append(words, fmt.Sprintf("//%.100s with any scheme and port", r.URL.Hostname()))
	}
	if r.URL != nil && o.conn {
		words = append(words, fmt.Sprintf("%s://%.100s", r.URL.Scheme, r.URL.Host))
	}
	words = append(words, o.exact...)
	for _, p := range o.patterns {
		words = append(words, p.String())
	}
	return strings.Join(words, ", ")
}

// String is the pattern in the form of the option.
func (p pattern) String() string {
	text := "//"
	if p.scheme != "" {
		text = p.scheme + "://"
	}
	if p.wild {
		text += "*."
	}
	text += bracketed(p.host)
	if p.port != "" && p.port != impliedPort(p.scheme) {
		text += ":" + p.port
	}
	return text
}
