package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/ring"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/version"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/edge/hub"
	"github.com/skein-mesh/skein/services/edge/report"
	"github.com/skein-mesh/skein/services/edge/session"
	"github.com/skein-mesh/skein/services/edge/socket"
	"github.com/skein-mesh/skein/services/edge/uplink"
)

// Deps are what an edge needs of its process. Run closes the listeners.
type Deps struct {
	Clients   net.Listener
	Admin     net.Listener                                   // nil for no admin port
	Agent     net.Listener                                   // nil for no agent-check
	Dial      func(address string) (*grpc.ClientConn, error) // of routers and presence
	Page      http.Handler                                   // everything but sockets on the clients' port; nil answers 404
	Usage     func() (time.Duration, uint64, error)          // see [report.Process]
	Telemetry *telemetry.Telemetry
}

// Edge is one edge. All methods may be called concurrently, Run once.
type Edge struct {
	// Static after construction.
	cfg         Config
	deps        Deps
	incarnation uint64
	hub         *hub.Hub
	uplink      *uplink.Uplink
	sockets     *socket.Server
	reporter    *report.Reporter

	draining atomic.Bool
}

// New returns an edge that does nothing yet. cfg must be valid; an empty id is
// replaced.
func New(cfg Config, deps Deps) (*Edge, error) {
	if cfg.ID == "" {
		cfg.ID = cluster.NewID()
	}
	e := &Edge{cfg: cfg, deps: deps, incarnation: cluster.NewIncarnation()}
	tel := deps.Telemetry
	e.uplink = uplink.New(uplink.Config{
		ID: cfg.ID, Incarnation: e.incarnation, Version: version.Version, Seeds: cfg.Routers, QueueBytes: cfg.UplinkBytes,
	}, uplink.Deps{Dial: deps.Dial, Log: tel.Log, Meter: tel.Meter, Tracer: tel.Tracer})
	var err error
	if e.hub, err = hub.New(e.uplink, cfg.ID, tel.Meter); err != nil {
		return nil, err
	}
	sessions, err := session.NewShared(e.hub, e.uplink,
		session.Limits{Channels: cfg.MaxJoins, Unanswered: cfg.MaxUnanswered}, tel.Meter)
	if err != nil {
		return nil, err
	}
	allowed, err := parseOrigins(cfg.CheckOrigin)
	if err != nil {
		return nil, err
	}
	e.sockets = socket.New(socket.Options{
		Listener: deps.Clients,
		Origin:   func(r *socket.Request) bool { return allowed.allow(r.Origin, r.Host) },
		Open:     func(c *socket.Conn, _ *socket.Request) socket.Handler { return session.New(c, sessions) },
		Fallback: deps.Page,
		Limits:   cfg.limits(),
		Engine:   socket.Engine(cfg.Engine),
		Writer:   socket.Writer(cfg.Writer),
		Loops:    cfg.Loops,
		Log:      tel.Log,
		Meter:    tel.Meter,
	})
	e.reporter = report.New(report.Deps{
		Members: e.uplink.PresenceMembers, Sample: e.sample, Dial: deps.Dial, Usage: deps.Usage, Log: tel.Log,
	})
	return e, nil
}

// ID of the edge.
func (e *Edge) ID() string { return e.cfg.ID }

// View returns the routers that own topics in the view this edge adopted.
func (e *Edge) View() ring.Ring {
	_, view := e.uplink.View()
	return view
}

// Why an edge is not ready.
var (
	errDraining = errors.New("draining")
	errNoOwners = errors.New("not every router that owns topics is in reach")
)

// Ready says why the edge should get no new connections, or nil.
func (e *Edge) Ready() error {
	switch {
	case e.draining.Load():
		return errDraining
	case !e.uplink.Ready():
		return errNoOwners
	}
	return nil
}

// Run serves until ctx ends, drains, and returns when nothing is left running.
func (e *Edge) Run(ctx context.Context) error {
	var components []lifecycle.Component
	if e.deps.Admin != nil {
		components = append(components, e.deps.Telemetry.Admin(e.deps.Admin, e.Ready))
	}
	if e.deps.Agent != nil {
		components = append(components, &Agent{e.deps.Agent, e.draining.Load})
	}
	components = append(components,
		lifecycle.Func(func(ctx context.Context) error { return e.uplink.Run(ctx, e.hub) }),
		e.hub,
		e.reporter,
		lifecycle.Func(e.serve),
	)
	if err := lifecycle.Run(ctx, components...); err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	return nil
}

// serve holds the clients' sockets. It is the component that stops first; its
// sockets are closed only after balancers had time to notice.
func (e *Edge) serve(ctx context.Context) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() {
		e.deps.Telemetry.Log.InfoContext(ctx, "draining", "sockets", e.sockets.Count())
		e.draining.Store(true)
		e.reporter.Changed()
		select {
		case <-life.Done():
		case <-time.After(e.cfg.Delay):
			stop()
		}
	})()
	return e.sockets.Run(life)
}

// sample is the edge's load now, but for what the reporter adds.
func (e *Edge) sample() *presencev1.Edge {
	stats := e.hub.Stats()
	view, _ := e.uplink.View()
	return &presencev1.Edge{
		Id:          e.cfg.ID,
		Incarnation: e.incarnation,
		Version:     version.Version,
		State:       e.state(),
		Address:     e.deps.Clients.Addr().String(),
		Connections: uint64(e.sockets.Count()), //nolint:gosec // not negative
		Channels:    uint64(max(stats.Subscribers, 0)),
		Topics:      uint64(max(stats.Topics, 0)),
		Deliveries:  stats.Delivered,
		Publishes:   e.uplink.Published(),
		View:        view,
	}
}

func (e *Edge) state() presencev1.EdgeState {
	switch {
	case e.draining.Load():
		return presencev1.EdgeState_EDGE_STATE_DRAINING
	case e.uplink.Ready():
		return presencev1.EdgeState_EDGE_STATE_READY
	default:
		return presencev1.EdgeState_EDGE_STATE_STARTING
	}
}
