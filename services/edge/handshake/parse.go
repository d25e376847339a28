package handshake

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/skein-mesh/skein/pkg/phx"
)

// ParseVersion returns the serializer for the vsn a client gave, and whether
// there is one: "~> 1.0.0" or "~> 2.0.0", in the words of Phoenix. A client that
// gave none speaks the first.
func ParseVersion(vsn string, given bool) (phx.Version, bool) {
	if !given {
		return phx.V1, true
	}
	version := phx.V2
	patch, ok := strings.CutPrefix(vsn, "2.0.")
	if !ok {
		version = phx.V1
		patch, ok = strings.CutPrefix(vsn, "1.0.")
	}
	if !ok || patch == "" || len(patch) > 1 && patch[0] == '0' || strings.Trim(patch, "0123456789") != "" {
		return 0, false
	}
	return version, true
}

// ParamsVersion is [ParseVersion] of the parameter vsn. Of several the last one
// counts, as for Phoenix; a list or a map, such as vsn[]=2.0.0, is none that is
// served.
func ParamsVersion(params url.Values) (phx.Version, bool) {
	for name := range params {
		if strings.HasPrefix(name, "vsn[") {
			return 0, false
		}
	}
	given := params["vsn"]
	if len(given) == 0 {
		return ParseVersion("", false)
	}
	return ParseVersion(given[len(given)-1], true)
}

var errParams = errors.New("the query is not percent-encoded UTF-8")

// ParseParams reads a raw query. What is not well formed is an error, as for
// Phoenix, which answers it with 400.
func ParseParams(query string) (url.Values, error) {
	params := url.Values{}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		encodedName, encodedValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(encodedName)
		if err != nil || !utf8.ValidString(name) {
			return nil, errParams
		}
		value, err := url.QueryUnescape(encodedValue)
		if err != nil || !utf8.ValidString(value) {
			return nil, errParams
		}
		params.Add(name, value)
	}
	return params, nil
}

// tokenPrefix is that of the subprotocol in which phoenix.js sends its
// authToken.
const tokenPrefix = "base64url.bearer.phx." //nolint:gosec // not a secret

// BearerToken returns the token in a subprotocol of the form
// base64url.bearer.phx.TOKEN, and whether it has that form. phoenix.js encodes
// by btoa, so both alphabets of base64 are read, with padding or without.
func BearerToken(subprotocol string) (token string, ok bool, err error) {
	encoded, ok := strings.CutPrefix(subprotocol, tokenPrefix)
	if !ok {
		return "", false, nil
	}
	encoded = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(encoded, "="))
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || !utf8.Valid(decoded) {
		return "", true, fmt.Errorf("the token behind %q is not base64url of UTF-8", tokenPrefix)
	}
	return string(decoded), true, nil
}

// Subprotocols are what a client says in Sec-WebSocket-Protocol.
type Subprotocols struct {
	Offered []string // without the one that carries the token
	Token   string   // phoenix.js's authToken; empty if there is none
}

// ParseSubprotocols reads the lines of a Sec-WebSocket-Protocol header.
func ParseSubprotocols(lines []string) (Subprotocols, error) {
	var s Subprotocols
	for p := range List(lines) {
		token, ok, err := BearerToken(p)
		switch {
		case err != nil:
			return Subprotocols{}, err
		case !ok:
			s.Offered = append(s.Offered, p)
		case s.Token == "":
			s.Token = token
		}
	}
	return s, nil
}

// Choose returns the subprotocol to answer with: the first of the configured
// ones that the client offers, else "phoenix" if it came with a token, else
// none. It is not ok if some are configured, some are offered, and none is both.
func (s Subprotocols) Choose(configured []string) (chosen string, ok bool) {
	for _, c := range configured {
		if slices.Contains(s.Offered, c) {
			return c, true
		}
	}
	if s.Token != "" && slices.Contains(s.Offered, "phoenix") {
		return "phoenix", true
	}
	return "", len(configured) == 0 || len(s.Offered) == 0
}

// List yields the elements of a comma-separated header, over all of its lines,
// but for empty ones.
func List(lines []string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for element := range strings.SplitSeq(line, ",") {
				if element = strings.Trim(element, " \t"); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// Visible reports whether a handler may see a header: Phoenix's connect_info
// shows no other, above all no cookies. Headers of long-poll that are secrets
// are not shown either: the token is [Request.AuthToken].
func Visible(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "origin", "user-agent", "traceparent", "tracestate":
		return true
	case "x-phoenix-authtoken", "x-phoenix-longpoll-token":
		return false
	}
	return strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "sec-websocket-")
}

// VisibleHeader returns a copy of what of h a handler may see. Values are made
// UTF-8, and Sec-WebSocket-Protocol loses the token.
func VisibleHeader(h http.Header) http.Header {
	visible := http.Header{}
	for name, values := range h {
		if !Visible(name) {
			continue
		}
		name = http.CanonicalHeaderKey(strings.ToValidUTF8(name, ""))
		for _, v := range values {
			visible.Add(name, strings.ToValidUTF8(v, "\ufffd"))
		}
	}
	offered := visible.Values("Sec-WebSocket-Protocol")
	visible.Del("Sec-WebSocket-Protocol")
	var rest []string
	for p := range List(offered) {
		if !strings.HasPrefix(p, tokenPrefix) {
			rest = append(rest, p)
		}
	}
	if len(rest) > 0 {
		visible.Set("Sec-WebSocket-Protocol", strings.Join(rest, ", "))
	}
	return visible
}
