// Package admit decides who may open a socket, whatever its transport: pages of
// which origin, with which token, and whom the backend lets in. Phoenix does the
// same with check_origin and connect/3.
//
// A [Gate] stands at each mount. It does nothing by itself; who it refuses again
// and again is told to wait by [Refusals], which all gates of an edge share.
package admit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/skein-mesh/skein/pkg/grant"
	"github.com/skein-mesh/skein/services/edge/handshake"
	"github.com/skein-mesh/skein/services/edge/session"
)

// Backend is the handler that decides about sockets. Both calls end with ctx, or
// before, with an error if the handler gave no answer.
type Backend interface {
	// Connect decides about a socket; claims are those of a good token, nil
	// without one.
	Connect(ctx context.Context, r *handshake.Request, claims []byte) (Answer, error)
	// CheckOrigin decides about a page.
	CheckOrigin(ctx context.Context, r *handshake.Request) (bool, error)
}

// Answer of a handler to a new socket.
type Answer struct {
	User    string // empty leaves it to the token
	Assigns []byte // JSON object; nil for none
	Refused bool
	Status  int    // of HTTP, for who is refused; what is no error counts as 403
	Reason  string // likewise; becomes the body
}

// Deps are what a gate works with.
type Deps struct {
	Mount    string         // path, for logs and metrics
	Tokens   session.Tokens // nil if no token is ever good
	Backend  Backend        // required if [Config.AsksHandler]
	Refusals *Refusals
	Log      *slog.Logger
	Meter    metric.Meter
}

// Gate decides about the sockets of one mount. It may be used by any goroutine.
type Gate struct {
	// Static after construction.
	config  Config
	deps    Deps
	origins *origins

	counts  counts
	refusal throttle // of log lines
}

// New returns a gate, or an error that tells what is wrong with c.
func New(c Config, d Deps) (*Gate, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.AsksHandler() && d.Backend == nil {
		return nil, fmt.Errorf("mount %s: a handler is asked, but none is configured", d.Mount)
	}
	parsed, err := parseOrigins(c.CheckOrigin)
	if err != nil {
		return nil, err
	}
	g := &Gate{config: c, deps: d, origins: parsed}
	if err := g.counts.observe(d.Mount, d.Meter); err != nil {
		return nil, fmt.Errorf("register the metrics of admissions: %w", err)
	}
	return g, nil
}

// Admit decides about a request: it returns who the client is, without
// [session.Client.Deflate], or a refusal. It waits for keys and handlers as long
// as ctx allows.
func (g *Gate) Admit(ctx context.Context, r *handshake.Request) (session.Client, handshake.Refusal) {
	client, v := g.decide(ctx, r)
	g.counts.add(v.outcome)
	switch {
	case v.outcome == admitted:
		g.deps.Refusals.admitted(r.Remote.Addr())
		g.deps.Log.DebugContext(ctx, "socket admitted", "request", g.logged(r), "user", fmt.Sprintf("%.100q", client.User))
		return client, handshake.Refusal{}
	case ctx.Err() == nil:
		v.refusal.After = g.deps.Refusals.refused(r.Remote.Addr(), time.Now())
		if v.refusal.After > 0 {
			g.counts.slowed.Add(1)
		}
	}
	g.logRefusal(ctx, r, v)
	return session.Client{}, v.refusal
}

// verdict is what becomes of a request.
type verdict struct {
	outcome outcome
	refusal handshake.Refusal
	detail  error // for logs; nil if the outcome says it all
}

func forbid(o outcome, detail error) verdict { return verdict{o, handshake.Forbidden, detail} }

func unavailable(o outcome, detail error) verdict {
	return verdict{o, handshake.Refusal{Status: http.StatusServiceUnavailable}, detail}
}

func (g *Gate) decide(ctx context.Context, r *handshake.Request) (session.Client, verdict) {
	client := session.Client{Version: r.Version}
	if v := g.checkOrigin(ctx, r); v.outcome != admitted {
		return client, v
	}
	granted, err := g.token(ctx, r)
	if g.config.Connect == ConnectToken && err != nil {
		return client, withoutToken(err)
	}
	if err != nil && !errors.Is(err, grant.ErrMissing) {
		g.counts.ignored.Add(1)
	}
	if granted != nil {
		client.Grant, client.User = granted, granted.User
	}
	if g.config.Connect == ConnectHandler {
		return g.connect(ctx, r, client)
	}
	return client, verdict{outcome: admitted}
}

func (g *Gate) checkOrigin(ctx context.Context, r *handshake.Request) verdict {
	allowed := !r.HasOrigin
	switch {
	case allowed:
	case g.origins.ask:
		var err error
		if allowed, err = g.deps.Backend.CheckOrigin(ctx, r); err != nil {
			return unavailable(handlerUnavailable, err)
		}
	default:
		allowed = g.origins.allow(r.Origin, r.URL)
	}
	if !allowed {
		return forbid(originRefused, fmt.Errorf("origin %.200q is not expected: add it to check-origin; expected: %s", r.Origin, g.origins.expected(r)))
	}
	return verdict{outcome: admitted}
}

// token checks the token that came with a request.
func (g *Gate) token(ctx context.Context, r *handshake.Request) (*grant.Grant, error) {
	text := r.AuthToken
	if text == "" {
		text = r.Params.Get(g.config.TokenParam)
	}
	switch {
	case text == "":
		return nil, grant.ErrMissing
	case g.deps.Tokens == nil:
		return nil, grant.ErrInvalid
	}
	type answer struct {
		grant *grant.Grant
		err   error
	}
	answers := make(chan answer, 1)
	g.deps.Tokens.Verify(text, func(granted *grant.Grant, err error) { answers <- answer{granted, err} })
	select {
	case a := <-answers:
		return a.grant, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", grant.ErrUnavailable, context.Cause(ctx))
	}
}

func withoutToken(err error) verdict {
	switch {
	case errors.Is(err, grant.ErrMissing):
		return forbid(tokenMissing, nil)
	case errors.Is(err, grant.ErrExpired):
		return forbid(tokenExpired, err)
	case errors.Is(err, grant.ErrInvalid):
		return forbid(tokenInvalid, err)
	}
	return unavailable(tokenUnavailable, err)
}

// connect asks the handler.
func (g *Gate) connect(ctx context.Context, r *handshake.Request, client session.Client) (session.Client, verdict) {
	var claims []byte
	if client.Grant != nil {
		claims = client.Grant.Claims
	}
	a, err := g.deps.Backend.Connect(ctx, r, claims)
	switch {
	case err != nil:
		return client, unavailable(handlerUnavailable, err)
	case a.Refused:
		status := a.Status
		if status < http.StatusBadRequest || status > 599 {
			status = http.StatusForbidden
		}
		return client, verdict{handlerRefused, handshake.Refusal{Status: status, Body: a.Reason}, fmt.Errorf("reason %.200q", a.Reason)}
	}
	if a.User != "" {
		client.User = a.User
	}
	client.Assigns = a.Assigns
	return client, verdict{outcome: admitted}
}
