package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/skein-mesh/skein/services/edge/handshake"
)

// upgrade is a request that becomes a socket.
type upgrade struct {
	request *handshake.Request
	mount   *mount
	open    func(*Conn) Handler
	deflate bool // compression was negotiated
}

// conn begins the connection of an upgrade.
func (u *upgrade) conn(d driver) Conn {
	r := u.request
	return Conn{
		id: r.Connection, mount: u.mount, driver: d, addr: r.Remote.Addr(), deflate: u.deflate, handler: nobody{},
	}
}

// refusal is an answer in place of an upgrade.
type refusal struct {
	handshake.Refusal

	why refused
}

func badRequest(reason string) *refusal {
	return &refusal{handshake.Refusal{Status: http.StatusBadRequest, Body: reason}, refusedMalformed}
}

func refuse(status int, why refused) *refusal {
	return &refusal{handshake.Refusal{Status: status}, why}
}

// screen decides whether a request becomes a socket, and answers the others as
// Phoenix does. The package's own answers differ: 426 for everything.
func (s *Server) screen(m *mount) fiber.Handler {
	return func(c *fiber.Ctx) error {
		up, protocol, no := s.judge(c, m)
		if no != nil {
			s.count.refused[no.why].Add(1)
			s.delay(no.After)
			return c.Status(no.Status).SendString(no.Body)
		}
		up.normalise(c, protocol)
		return c.Next()
	}
}

// maxDelayed is how many refusals may wait at once for their answer; each holds
// a goroutine and the buffers of its request. More are answered at once, so that
// a flood of refused requests is bounded.
const maxDelayed = 1024

// delay waits before a refusal is answered.
func (s *Server) delay(after time.Duration) {
	if after <= 0 {
		return
	}
	defer s.delayed.Add(-1)
	if s.delayed.Add(1) > maxDelayed {
		return
	}
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.life.Done():
	}
}

// judge returns the upgrade of a request and the subprotocol to answer with, or
// a refusal.
func (s *Server) judge(c *fiber.Ctx, m *mount) (*upgrade, string, *refusal) {
	if c.Method() != http.MethodGet {
		return nil, "", badRequest("")
	}
	if s.leaving() {
		return nil, "", refuse(http.StatusServiceUnavailable, refusedDraining)
	}
	if reason := upgradeProblem(c); reason != "" {
		return nil, "", badRequest(reason)
	}
	r, err := s.request(c)
	if err != nil {
		return nil, "", badRequest(err.Error())
	}
	protocols, err := handshake.ParseSubprotocols(lines(c, fiber.HeaderSecWebSocketProtocol))
	if err != nil {
		return nil, "", badRequest(err.Error())
	}
	r.AuthToken = protocols.Token
	var ok bool
	if r.Version, ok = handshake.ParamsVersion(r.Params); !ok {
		return nil, "", refuse(http.StatusForbidden, refusedVersion)
	}
	protocol, ok := protocols.Choose(m.Subprotocols)
	if !ok {
		return nil, "", refuse(http.StatusForbidden, refusedSubprotocol)
	}
	if !s.opts.Addresses.below(r.Remote.Addr()) {
		return nil, "", refuse(http.StatusTooManyRequests, refusedAddress)
	}
	up := &upgrade{
		request: r, mount: m,
		deflate: m.Compress && handshake.OffersDeflate(lines(c, fiber.HeaderSecWebSocketExtensions)),
	}
	if no := s.admit(up); no != nil {
		return nil, "", no
	}
	guestOf(c).upgrade = up
	return up, protocol, nil
}

// admit asks whoever has the mount.
func (s *Server) admit(up *upgrade) *refusal {
	ctx, cancel := context.WithTimeout(s.life, s.opts.Limits.Handshake)
	defer cancel()
	open, no := up.mount.Admit(ctx, up.request)
	switch {
	case no.Status != 0:
		return &refusal{no, refusedAdmission}
	case open == nil:
		return refuse(http.StatusInternalServerError, refusedAdmission)
	}
	up.open = open
	return nil
}

// guestOf is the connection of a request; there are no others, since
// [Server.receive] makes them all.
func guestOf(c *fiber.Ctx) *guest {
	g, _ := c.Context().Conn().(*guest)
	return g
}

var errPath = errors.New("the path is malformed")

// request copies what outlives the HTTP exchange, but for what the subprotocols
// say.
func (s *Server) request(c *fiber.Ctx) (*handshake.Request, error) {
	head := &c.Request().Header
	u, err := url.ParseRequestURI(string(head.RequestURI()))
	if err != nil {
		return nil, errPath
	}
	u.Scheme, u.Host, u.User = "http", strings.ToValidUTF8(string(c.Request().Host()), ""), nil
	if _, ok := guestOf(c).Conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		u.Scheme = "https"
	}
	params, err := handshake.ParseParams(u.RawQuery)
	if err != nil {
		return nil, err
	}
	for _, name := range c.Route().Params {
		value, err := url.PathUnescape(c.Params(name))
		if err != nil || !utf8.ValidString(value) {
			return nil, errPath
		}
		params.Set(strings.Clone(name), strings.Clone(value))
	}
	all := http.Header{}
	for name, value := range head.All() {
		if handshake.Visible(string(name)) {
			all.Add(string(name), string(value))
		}
	}
	header := handshake.VisibleHeader(all)
	_, hasOrigin := header["Origin"]
	return &handshake.Request{
		Connection: s.opts.NextID(),
		Transport:  handshake.WebSocket,
		URL:        u,
		Params:     params,
		Remote:     addrPort(c.Context().RemoteAddr()),
		Origin:     header.Get("Origin"),
		HasOrigin:  hasOrigin,
		Header:     header,
	}, nil
}

// normalise leaves of the request only what the package needs: it copies every
// header into maps, accepts any extension that looks like compression, and
// looks at one line of a header only.
func (u *upgrade) normalise(c *fiber.Ctx, protocol string) {
	h := &c.Request().Header
	key := strings.Clone(c.Get(fiber.HeaderSecWebSocketKey))
	h.Reset()
	h.Set(fiber.HeaderConnection, "Upgrade")
	h.Set(fiber.HeaderUpgrade, "websocket")
	h.Set(fiber.HeaderSecWebSocketVersion, "13")
	h.Set(fiber.HeaderSecWebSocketKey, key)
	if u.deflate {
		h.Set(fiber.HeaderSecWebSocketExtensions, "permessage-deflate") // answered without context takeover, always
	}
	if protocol != "" {
		c.Set(fiber.HeaderSecWebSocketProtocol, protocol)
	}
}

// upgradeProblem says what a request lacks to be a WebSocket handshake.
func upgradeProblem(c *fiber.Ctx) string {
	for _, must := range []struct{ header, token string }{
		{"connection", "upgrade"},
		{"upgrade", "websocket"},
	} {
		found := false
		for t := range handshake.List(lines(c, must.header)) {
			found = found || strings.EqualFold(t, must.token)
		}
		if !found {
			return fmt.Sprintf("'%s' header must contain '%s', got %s", must.header, must.token, quoted(c, must.header))
		}
	}
	if c.Get(fiber.HeaderSecWebSocketKey) == "" {
		return "'sec-websocket-key' header is absent"
	}
	if c.Get(fiber.HeaderSecWebSocketVersion) != "13" {
		return "'sec-websocket-version' header must equal '13', got " + quoted(c, fiber.HeaderSecWebSocketVersion)
	}
	return ""
}

// lines are the values of a header, one of each of its lines.
func lines(c *fiber.Ctx, header string) (all []string) {
	for _, line := range c.Request().Header.PeekAll(header) {
		all = append(all, string(line))
	}
	return all
}

func quoted(c *fiber.Ctx, header string) string {
	all := lines(c, header)
	for i, line := range all {
		all[i] = fmt.Sprintf("%q", line)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// addrPort is the zero value for what is not an IP address.
func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
