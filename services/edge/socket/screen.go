package socket

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// Prefix of the subprotocol in which phoenix.js sends its authToken.
const tokenPrefix = "base64url.bearer.phx." //nolint:gosec // not a secret

// refusal is an HTTP answer in place of an upgrade; status 0 is none.
type refusal struct {
	status int
	body   string
}

// screen decides whether a request may become a socket, and answers the others
// as Phoenix does. The package's own answers differ: 426 for everything.
func (s *Server) screen(c *fiber.Ctx) error {
	r := s.judge(c)
	if r.status == 0 {
		return c.Next()
	}
	s.count.refused.Add(1)
	return c.Status(r.status).SendString(r.body)
}

func (s *Server) judge(c *fiber.Ctx) refusal {
	if c.Method() != http.MethodGet {
		return refusal{status: http.StatusBadRequest}
	}
	if s.draining.Load() {
		return refusal{status: http.StatusServiceUnavailable}
	}
	guest, ok := c.Context().Conn().(*guest)
	if !ok {
		return refusal{status: http.StatusInternalServerError}
	}
	r := s.request(c)
	switch {
	case s.opts.Origin != nil && c.Request().Header.Peek(fiber.HeaderOrigin) != nil && !s.opts.Origin(r):
		return refusal{status: http.StatusForbidden}
	case !versionServed(r.Query.Get("vsn")):
		return refusal{status: http.StatusForbidden}
	}
	if reason := upgradeProblem(c); reason != "" {
		return refusal{http.StatusBadRequest, reason}
	}
	if !s.addresses.below(r.Remote.Addr()) {
		return refusal{status: http.StatusTooManyRequests}
	}
	if s.opts.Accept != nil {
		if d := s.opts.Accept(r); d != Allow {
			return refusal{status: int(d)}
		}
	}
	guest.request = r
	s.normalise(c, r)
	return refusal{}
}

// request copies what outlives the HTTP exchange.
func (s *Server) request(c *fiber.Ctx) *Request {
	r := &Request{
		ID:        s.lastID.Add(1),
		Path:      strings.Clone(c.Path()),
		Query:     url.Values{},
		Remote:    addrPort(c.Context().RemoteAddr()),
		Host:      strings.Clone(c.Hostname()),
		Origin:    strings.Clone(c.Get(fiber.HeaderOrigin)),
		UserAgent: strings.Clone(c.Get(fiber.HeaderUserAgent)),
	}
	for k, v := range c.Context().QueryArgs().All() {
		r.Query.Add(string(k), string(v))
	}
	for p := range tokens(c, fiber.HeaderSecWebSocketProtocol) {
		if encoded, ok := strings.CutPrefix(p, tokenPrefix); ok {
			token, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(encoded, "="))
			if err == nil {
				r.AuthToken = string(token)
			}
		}
	}
	return r
}

// normalise leaves of the request only what the package needs: it copies every
// header into maps, accepts any extension that looks like compression, and
// looks at one line of a header only.
func (s *Server) normalise(c *fiber.Ctx, r *Request) {
	key := strings.Clone(c.Get(fiber.HeaderSecWebSocketKey))
	phoenix := false
	for p := range tokens(c, fiber.HeaderSecWebSocketProtocol) {
		phoenix = phoenix || p == "phoenix"
	}
	h := &c.Request().Header
	h.Reset()
	h.Set(fiber.HeaderConnection, "Upgrade")
	h.Set(fiber.HeaderUpgrade, "websocket")
	h.Set(fiber.HeaderSecWebSocketVersion, "13")
	h.Set(fiber.HeaderSecWebSocketKey, key)
	if phoenix && r.AuthToken != "" {
		c.Set(fiber.HeaderSecWebSocketProtocol, "phoenix")
	}
}

// versionServed reports whether the serializer version is one of "~> 2.0.0".
func versionServed(vsn string) bool {
	patch, ok := strings.CutPrefix(vsn, "2.0.")
	if !ok || patch == "" || len(patch) > 1 && patch[0] == '0' {
		return false
	}
	return strings.Trim(patch, "0123456789") == ""
}

// upgradeProblem says what a request lacks to be a WebSocket handshake.
func upgradeProblem(c *fiber.Ctx) string {
	for _, must := range []struct{ header, token string }{
		{"connection", "upgrade"},
		{"upgrade", "websocket"},
	} {
		found := false
		for t := range tokens(c, must.header) {
			found = found || strings.EqualFold(t, must.token)
		}
		if !found {
			return fmt.Sprintf("'%s' header must contain '%s', got %s", must.header, must.token, values(c, must.header))
		}
	}
	if c.Get(fiber.HeaderSecWebSocketKey) == "" {
		return "'sec-websocket-key' header is absent"
	}
	if c.Get(fiber.HeaderSecWebSocketVersion) != "13" {
		return "'sec-websocket-version' header must equal '13', got " + values(c, fiber.HeaderSecWebSocketVersion)
	}
	return ""
}

// tokens are the comma-separated parts of a header, over all of its lines.
func tokens(c *fiber.Ctx, header string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, line := range c.Request().Header.PeekAll(header) {
			for t := range strings.SplitSeq(string(line), ",") {
				if !yield(strings.TrimSpace(t)) {
					return
				}
			}
		}
	}
}

func values(c *fiber.Ctx, header string) string {
	var quoted []string
	for _, line := range c.Request().Header.PeekAll(header) {
		quoted = append(quoted, fmt.Sprintf("%q", line))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// addrPort is the zero value for what is not an IP address.
func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
