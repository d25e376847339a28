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
	"github.com/skein-mesh/skein/pkg/cluster/seeds"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/node"
	"github.com/skein-mesh/skein/pkg/ring"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/token"
	"github.com/skein-mesh/skein/pkg/version"
	"github.com/skein-mesh/skein/services/edge/admit"
	"github.com/skein-mesh/skein/services/edge/callout"
	"github.com/skein-mesh/skein/services/edge/drain"
	"github.com/skein-mesh/skein/services/edge/hints"
	"github.com/skein-mesh/skein/services/edge/hub"
	"github.com/skein-mesh/skein/services/edge/people"
	"github.com/skein-mesh/skein/services/edge/report"
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
	Memory    uint64                                         // see [report.MemoryLimit]; 0 if unknown
	Telemetry *telemetry.Telemetry

	// Seeds replaces Config.Routers, for a fleet without a network.
	Seeds seeds.Strategy
}

// Edge is one edge. All methods may be called concurrently, Run once.
type Edge struct {
	// Static after construction.
	cfg         Config
	deps        Deps
	incarnation uint64
	node        *node.Node
	addresses   *socket.Addresses
	refusals    *admit.Refusals
	seeds       *seeds.Watcher
	hub         *hub.Hub
	uplink      *uplink.Uplink
	callout     *callout.Callout
	tokens      *token.Verifier
	people      *people.Tracker
	places      []*place
	sockets     *socket.Server
	reporter    *report.Reporter
	hints       *hints.Hints
	drain       *drain.Drain
	agent       *Agent // nil for no agent-check
	born        time.Time

	connections atomic.Uint64 // ids handed out so far
}

// New returns an edge that does nothing yet. cfg must be valid; an empty id is
// replaced.
func New(cfg Config, deps Deps) (*Edge, error) {
	if cfg.ID == "" {
		cfg.ID = cluster.NewID()
	}
	e := &Edge{
		cfg: cfg, deps: deps, incarnation: cluster.NewIncarnation(), born: time.Now(),
		addresses: socket.NewAddresses(cfg.SocketsPerIP), refusals: admit.NewRefusals(cfg.Slowness),
	}
	e.node = node.New(node.Options{
		ID: cfg.ID, Incarnation: e.incarnation, Service: "edge", Version: version.Version, Telemetry: deps.Telemetry, Entered: true,
	})
	e.hints = hints.New(cfg.ID, e.incarnation, e.born)
	if deps.Agent != nil {
		e.agent = &Agent{listener: deps.Agent, told: e.told}
	}
	if err := e.newParts(); err != nil {
		return nil, err
	}
	names, err := namespace.NewSet(cfg.Namespaces)
	if err != nil {
		return nil, err
	}
	var mounts []socket.Mount
	for _, m := range cfg.mounts() {
		p, err := e.newPlace(m, names)
		if err != nil {
			return nil, err
		}
		e.places = append(e.places, p)
		mounts = append(mounts, p.sockets())
	}
	balancers, err := cfg.balancers()
	if err != nil {
		return nil, err
	}
	e.sockets = socket.New(socket.Options{
		Listener:  deps.Clients,
		Balancers: balancers,
		Mounts:    mounts,
		Fallback:  e.pages(),
		Addresses: e.addresses,
		NextID:    e.nextID,
		Limits:    cfg.limits(),
		Engine:    socket.Engine(cfg.Engine),
		Writer:    socket.Writer(cfg.Writer),
		Loops:     cfg.Loops,
		Log:       deps.Telemetry.Log,
		Meter:     deps.Telemetry.Meter,
	})
	return e, nil
}

// newParts makes what all mounts share.
func (e *Edge) newParts() error {
	tel, cfg := e.deps.Telemetry, e.cfg
	var err error
	if e.seeds, err = e.watchSeeds(); err != nil {
		return err
	}
	e.uplink = uplink.New(uplink.Config{
		ID: cfg.ID, Incarnation: e.incarnation, Version: version.Version, QueueBytes: cfg.UplinkBytes,
	}, uplink.Deps{Seeds: e.seeds, Dial: e.deps.Dial, Calls: calls{e}, Log: tel.Log, Meter: tel.Meter, Tracer: tel.Tracer})
	if e.hub, err = hub.New(e.uplink, cfg.ID, tel.Meter); err != nil {
		return err
	}
	if e.callout, err = callout.New(cfg.asking(), callout.Deps{Routers: e.uplink, Dial: e.deps.Dial, Log: tel.Log, Meter: tel.Meter}); err != nil {
		return err
	}
	if e.tokens, err = token.New(cfg.Sockets.Config, tel.Log, tel.Meter); err != nil {
		return err
	}
	tracking := people.Default(cfg.ID, e.incarnation)
	tracking.Interval = cfg.PresenceInterval
	e.people, err = people.New(tracking, people.Deps{
		Members: e.uplink.PresenceMembers, Dial: e.deps.Dial, Deliver: e.hub.Deliver, Log: tel.Log, Meter: tel.Meter,
	})
	e.reporter = report.New(report.Deps{
		Members: e.uplink.PresenceMembers, Sample: e.sample, Take: e.answered, Dial: e.deps.Dial,
		Usage: e.deps.Usage, Memory: e.deps.Memory, Log: tel.Log,
	})
	if err != nil {
		return err
	}
	e.drain, err = drain.New(cfg.draining(), drain.Deps{
		Conns: e.conns, Open: e.open, Left: e.count, Refuse: e.refuse, Shut: e.shut,
		Goal: e.goal, Changed: e.reporter.Changed, Log: tel.Log, Meter: tel.Meter,
	})
	return errors.Join(err, e.observe(tel.Meter))
}

// watchSeeds returns what finds the routers to begin with.
func (e *Edge) watchSeeds() (*seeds.Watcher, error) {
	sources, err := e.cfg.Routers.Sources("routers", routersPort)
	if e.deps.Seeds != nil {
		sources, err = []seeds.Source{{Name: "seeds", Strategy: e.deps.Seeds}}, nil
	}
	if err != nil {
		return nil, err
	}
	return seeds.Watch(sources, seeds.Options{
		Interval: e.cfg.DiscoveryInterval, Log: e.deps.Telemetry.Log, Meter: e.deps.Telemetry.Meter,
	})
}

// nextID is the id of a connection, unique over all transports, from 1.
func (e *Edge) nextID() uint64 { return e.connections.Add(1) }

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
	draining, _ := e.drain.Draining()
	switch {
	case draining:
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
		admin := e.deps.Telemetry.Admin(e.deps.Admin, e.Ready)
		admin.Handle("/drain", e.drain)
		components = append(components, admin)
	}
	if e.agent != nil {
		components = append(components, e.agent)
	}
	components = append(components,
		e.seeds,
		lifecycle.Func(func(ctx context.Context) error { return e.uplink.Run(ctx, e.hub) }),
		e.hub,
		e.tokens,
		e.callout,
		e.people,
		e.reporter,
		lifecycle.Func(e.serve),
	)
	if err := lifecycle.Run(ctx, components...); err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	return nil
}

// serve holds the clients' connections. It is the component that stops first, and
// within it the drain is: when that has ended, nobody is left who could notice.
func (e *Edge) serve(ctx context.Context) error {
	components := []lifecycle.Component{e.sockets} // stops last: it also serves the requests of the others
	for polls := range e.polling {
		components = append(components, polls)
	}
	return lifecycle.Run(ctx, append(components, e.drain)...)
}
