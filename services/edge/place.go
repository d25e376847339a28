package edge

import (
	"context"
	"net/http"
	"strings"

	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/services/edge/admit"
	"github.com/skein-mesh/skein/services/edge/handshake"
	"github.com/skein-mesh/skein/services/edge/longpoll"
	"github.com/skein-mesh/skein/services/edge/session"
	"github.com/skein-mesh/skein/services/edge/socket"
)

// place is a mount and what serves it.
type place struct {
	Mount

	edge     *Edge
	gate     *admit.Gate
	sessions *session.Shared
	polls    *longpoll.Server // nil if long-poll is off
}

// newPlace makes what serves a mount. The parts that all mounts share are there.
func (e *Edge) newPlace(m Mount, names *namespace.Set) (*place, error) {
	tel := e.deps.Telemetry
	p := &place{Mount: m, edge: e}
	var err error
	p.gate, err = admit.New(m.Config, admit.Deps{
		Mount: m.Path, Tokens: e.tokens, Backend: asked{e.callout, tel.Tracer}, Refusals: e.refusals, Log: tel.Log, Meter: tel.Meter,
	})
	if err != nil {
		return nil, err
	}
	p.sessions, err = session.NewShared(session.Deps{
		Hub: e.hub, Mesh: e.uplink, Edge: e.cfg.ID, Mount: m.Path, Namespaces: names,
		Backend: e.callout, Tokens: e.tokens, People: e.people, Tracer: traces{tel.Tracer}, Meter: tel.Meter,
	}, e.cfg.sessionLimits(m))
	if err != nil {
		return nil, err
	}
	if m.WebSocketOnly {
		return p, nil
	}
	p.polls = longpoll.New(longpoll.Options{
		Edge:      e.cfg.ID,
		Admit:     p.admitPoll,
		NextID:    e.nextID,
		Addresses: e.addresses,
		Router:    e.callout.Router,
		Limits: longpoll.Limits{
			Window: m.LongPollWindow, OutboxBytes: e.cfg.OutboxBytes, BodyBytes: m.MaxMessageSize,
		},
		Log:   tel.Log,
		Meter: tel.Meter,
	})
	return p, nil
}

// sockets is the place for WebSockets.
func (p *place) sockets() socket.Mount {
	return socket.Mount{
		Path: p.Path, Admit: p.admitSocket, FrameBytes: p.MaxFrameSize, MessageBytes: p.MaxMessageSize,
		Idle: p.Timeout, Compress: p.Compress, Subprotocols: p.Subprotocols,
	}
}

// admit decides about a request, whatever its transport.
func (p *place) admit(ctx context.Context, r *handshake.Request) (session.Client, handshake.Refusal) {
	ctx = p.edge.within(ctx, r)
	client, refusal := p.gate.Admit(ctx, r)
	client.Trace = telemetry.Bytes(ctx)
	return client, refusal
}

func (p *place) admitSocket(ctx context.Context, r *handshake.Request) (func(*socket.Conn) socket.Handler, handshake.Refusal) {
	client, refusal := p.admit(ctx, r)
	if refusal.Status != 0 {
		return nil, refusal
	}
	return func(c *socket.Conn) socket.Handler {
		client.Deflate = c.Deflates()
		return session.New(c, p.sessions, client)
	}, refusal
}

func (p *place) admitPoll(ctx context.Context, r *handshake.Request) (func(session.Conn) longpoll.Handler, handshake.Refusal) {
	client, refusal := p.admit(ctx, r)
	if refusal.Status != 0 {
		return nil, refusal
	}
	return func(c session.Conn) longpoll.Handler { return session.New(c, p.sessions, client) }, refusal
}

// pages serves everything but WebSockets: long-poll, and the page if there is
// one.
func (e *Edge) pages() http.Handler {
	mux := http.NewServeMux()
	for _, p := range e.places {
		if p.polls == nil {
			continue
		}
		at := pattern(p.Path) + "/longpoll"
		mux.Handle(at, p.polls.Handler(p.Path))
		mux.Handle(at+"/{$}", p.polls.Handler(p.Path))
	}
	if e.deps.Page != nil {
		mux.Handle("/", e.deps.Page)
	}
	return mux
}

// pattern is a mount's path in the words of [http.ServeMux].
func pattern(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if name, ok := strings.CutPrefix(s, ":"); ok {
			segments[i] = "{" + name + "}"
		}
	}
	return strings.Join(segments, "/")
}
