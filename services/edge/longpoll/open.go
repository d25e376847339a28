package longpoll

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/handshake"
	"github.com/skein-mesh/skein/services/edge/session"
)

// open begins a session and answers with its token, or with a refusal.
func (q request) open() {
	s := q.server
	if s.leaving() {
		q.refuse(http.StatusServiceUnavailable)
		return
	}
	hello, ok := q.handshake()
	if !ok {
		q.forbid()
		return
	}
	open, refusal := s.opts.Admit(q.r.Context(), hello)
	if refusal.Status != 0 {
		s.delay(q.r.Context(), refusal.After)
		if refusal.Status >= http.StatusInternalServerError {
			q.refuse(refusal.Status)
		} else {
			q.forbid()
		}
		return
	}
	c := newConn(s, q.mount, hello.Connection, hello.Remote.Addr())
	if !s.opts.Addresses.Enter(c.addr) {
		s.opts.Addresses.Leave(c.addr)
		q.forbid()
		return
	}
	if !s.begin(c, open) {
		s.opts.Addresses.Leave(c.addr)
		q.refuse(http.StatusServiceUnavailable)
		return
	}
	q.count(outcomeOpened)
	q.writePoll(pollBody{Messages: []string{}, Status: http.StatusGone, Token: token{s.opts.Edge, c.secret}.String()})
}

// begin makes the handler of a session that can be found, and ended, meanwhile.
func (s *Server) begin(c *Conn, open func(session.Conn) Handler) bool {
	c.turn <- struct{}{}
	c.setHandler(nobody{})
	if !s.add(c) {
		return false
	}
	defer c.yield()
	c.guard(func() {
		if h := open(c); h != nil {
			c.setHandler(h)
		} else {
			c.close(causeInternal)
		}
	})
	return true
}

// forbid is the only refusal in a body that phoenix.js understands: it throws at
// any other.
func (q request) forbid() {
	q.count(outcomeRefused)
	q.writeStatus(http.StatusForbidden)
}

// delay waits before a refusal.
func (s *Server) delay(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-s.draining:
	}
}

// handshake copies what the client asked: the server may reuse what the request
// points to. It reports false for a query or serializer that is not served.
func (q request) handshake() (*handshake.Request, bool) {
	r := q.r
	query, err := handshake.ParseParams(strings.Clone(r.URL.RawQuery))
	version, ok := handshake.ParamsVersion(query)
	if err != nil || !ok {
		return nil, false
	}
	u := &url.URL{
		Scheme: "http", Host: strings.Clone(r.Host), Path: strings.Clone(r.URL.Path),
		RawPath: strings.Clone(r.URL.RawPath), RawQuery: strings.Clone(r.URL.RawQuery),
	}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	header := handshake.VisibleHeader(cloneHeader(r.Header))
	remote, _ := netip.ParseAddrPort(r.RemoteAddr) // zero if the peer has no IP address
	return &handshake.Request{
		Connection: q.server.opts.NextID(),
		Transport:  handshake.LongPoll,
		Version:    version,
		URL:        u,
		Params:     q.params(query),
		Remote:     netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()),
		Origin:     header.Get("Origin"),
		HasOrigin:  len(header.Values("Origin")) > 0,
		AuthToken:  strings.Clone(r.Header.Get(authHeader)),
		Header:     header,
	}, true
}

func cloneHeader(h http.Header) http.Header {
	own := make(http.Header, len(h))
	for name, values := range h {
		name = strings.Clone(name)
		for _, v := range values {
			own[name] = append(own[name], strings.Clone(v))
		}
	}
	return own
}

// params are the client's own: without the token of a session that is gone, and
// with what stands in the place of parameters of the mount's path.
func (q request) params(query url.Values) url.Values {
	tokens := query[tokenParam]
	if n := len(tokens); n > 0 {
		if _, err := parseToken(tokens[n-1]); err == nil {
			query[tokenParam] = tokens[:n-1]
		}
	}
	if len(query[tokenParam]) == 0 {
		delete(query, tokenParam)
	}
	for segment := range strings.SplitSeq(q.mount, "/") {
		if name, ok := strings.CutPrefix(segment, ":"); ok {
			query.Set(name, strings.Clone(q.r.PathValue(name)))
		}
	}
	return query
}

// nobody handles a session that has no handler yet.
type nobody struct{}

// Message implements [Handler].
func (nobody) Message(wsframe.Opcode, []byte) {}

// Closed implements [Handler].
func (nobody) Closed() {}
