// Package dev runs a whole fleet in one process: one edge, one router and one
// presence instance, which talk over in-memory connections. Only the public
// port is open, unless the gRPC APIs are asked for.
package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/seeds"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/version"
	"github.com/skein-mesh/skein/services/edge"
	"github.com/skein-mesh/skein/services/edge/report"
	"github.com/skein-mesh/skein/services/presence"
	"github.com/skein-mesh/skein/services/router"
	"github.com/skein-mesh/skein/web"
)

// Names of the three services.
const (
	edgeID     = "dev-edge"
	routerID   = "dev-router"
	presenceID = "dev-presence"
)

// serverID names the whole process in its telemetry.
const serverID = "dev"

// Config of a fleet in one process.
type Config struct {
	Listen       string `conf:"listen"        usage:"host:port where clients connect and the demo is; $PORT decides the port if nothing else does"`
	GRPC         string `conf:"grpc"          usage:"host:port of the router's gRPC API, for backends and this tool; empty opens none"`
	HTTP         string `conf:"http"          usage:"host:port of the same API as JSON over HTTP; empty opens none"`
	PresenceGRPC string `conf:"presence-grpc" usage:"host:port of the presence instance's gRPC API, for skein top; empty opens none"`
	Admin        string `conf:"admin"         usage:"host:port of /healthz, /readyz, /metrics and /debug/pprof; empty opens none"`

	edge.Sockets
	namespace.Settings
	telemetry.Config
}

// Default opens only the public port and is quiet.
func Default() Config {
	c := Config{
		Listen: "127.0.0.1:4000", Sockets: edge.Default().Sockets, Settings: namespace.DefaultSettings(), Config: telemetry.Default(),
	}
	c.LogLevel = quiet
	return c
}

// Validate reports everything that is wrong with c. The rules are those of the
// services.
func (c *Config) Validate() error {
	var errs []error
	for _, a := range [][2]string{{"grpc", c.GRPC}, {"http", c.HTTP}, {"presence-grpc", c.PresenceGRPC}} {
		if _, _, err := net.SplitHostPort(a[1]); a[1] != "" && err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is not host:port", a[0], a[1]))
		}
	}
	return errors.Join(append([]error{c.edge().Validate()}, errs...)...)
}

// edge is the configuration of the edge: it has nobody to wait for when it
// stops.
func (c *Config) edge() edge.Config {
	e := edge.Default()
	e.ID, e.Listen, e.Admin, e.Agent = edgeID, c.Listen, c.Admin, ""
	e.Sockets, e.Settings, e.Config, e.Delay, e.Spread = c.Sockets, c.Settings, c.Config, 0, 0
	return e
}

// Run serves until ctx ends. Once everything is ready it greets on out.
func Run(ctx context.Context, cfg *Config, out, stderr io.Writer) error {
	tel, err := telemetry.New(ctx, cfg.Config, telemetry.Identity{Service: "skein-dev", ID: serverID, Version: version.Version}, stderr)
	if err != nil {
		return err
	}
	n := network{}
	if err := n.listen(ctx, cfg); err != nil {
		return err
	}
	e, components, err := assemble(cfg, tel, &n)
	if err != nil {
		return err
	}
	greet := lifecycle.Func(func(ctx context.Context) error {
		if ready(ctx, e) {
			fmt.Fprint(out, banner(cfg, &n))
		}
		<-ctx.Done()
		return nil
	})
	if err := lifecycle.Run(ctx, append(components, greet)...); err != nil {
		return err
	}
	fmt.Fprintln(out, "Stopped.")
	return nil
}

// assemble puts the services together, in the order in which they start.
func assemble(cfg *Config, tel *telemetry.Telemetry, n *network) (*edge.Edge, []lifecycle.Component, error) {
	registry := cluster.NewRegistry()
	member := func(id string, role cluster.Role, address string) *cluster.Local {
		return registry.Member(cluster.Member{
			ID: id, Incarnation: cluster.NewIncarnation(), Role: role, State: cluster.StateJoining, Address: address, Version: version.Version,
		})
	}
	routers := member(routerID, cluster.RoleRouter, n.router.address)
	presences := member(presenceID, cluster.RolePresence, n.presence.address)
	p, err := presence.New(presence.Default(), presence.Deps{Listener: n.presence.listener, Membership: presences, Telemetry: tel})
	if err != nil {
		return nil, nil, err
	}
	routing := router.Default()
	routing.Settings = cfg.Settings
	r, err := router.New(routing, router.Deps{Listener: n.router.listener, HTTP: n.http, Membership: routers, Dial: n.dial, Telemetry: tel})
	if err != nil {
		return nil, nil, err
	}
	usage, err := report.Process()
	if err != nil {
		return nil, nil, err
	}
	e, err := edge.New(cfg.edge(), edge.Deps{
		Clients: n.clients, Admin: n.admin, Dial: n.dial, Seeds: seeds.Static{routerID}, Usage: usage, Telemetry: tel,
		Page: web.Handler(func() web.Info { return web.Info{Edge: edgeID, Version: version.Version} }),
	})
	if err != nil {
		return nil, nil, err
	}
	return e, []lifecycle.Component{tel, presences, routers, p, r, e}, nil
}

// ready waits until the edge takes clients; false means that ctx ended first.
func ready(ctx context.Context, e *edge.Edge) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for e.Ready() != nil {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// network are the ports of the process, real ones and in memory.
type network struct {
	clients  net.Listener
	admin    net.Listener // nil for none
	http     net.Listener // nil for none
	router   port
	presence port
}

// port is where one service listens.
type port struct {
	listener net.Listener
	address  string // for dialling, or the service's id if it is in memory
}

// memorySize is the buffer of one in-memory connection, each way.
const memorySize = 256 << 10

func (n *network) listen(ctx context.Context, cfg *Config) error {
	var err error
	if n.clients, err = open(ctx, "listen", cfg.Listen); err != nil {
		return err
	}
	if cfg.Admin != "" {
		if n.admin, err = open(ctx, "admin", cfg.Admin); err != nil {
			return err
		}
	}
	if cfg.HTTP != "" {
		if n.http, err = open(ctx, "http", cfg.HTTP); err != nil {
			return err
		}
	}
	if n.router, err = openOrMemory(ctx, "grpc", cfg.GRPC, routerID); err != nil {
		return err
	}
	n.presence, err = openOrMemory(ctx, "presence-grpc", cfg.PresenceGRPC, presenceID)
	return err
}

func openOrMemory(ctx context.Context, flag, address, id string) (port, error) {
	if address == "" {
		return port{bufconn.Listen(memorySize), id}, nil
	}
	listener, err := open(ctx, flag, address)
	if err != nil {
		return port{}, err
	}
	reachable, err := cluster.Reachable(listener.Addr(), "")
	if err != nil {
		return port{}, fmt.Errorf("%s: %w", flag, err)
	}
	return port{listener, reachable}, nil
}

// open listens, and says what to do when something else already does.
func open(ctx context.Context, flag, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("port %s is taken: stop what listens there, or choose another with --%s HOST:PORT", address, flag)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return listener, nil
}

// dial connects to a service of this process, by its id or its address.
func (n *network) dial(address string) (*grpc.ClientConn, error) {
	for id, p := range map[string]port{routerID: n.router, presenceID: n.presence} {
		if address != id && address != p.address {
			continue
		}
		if memory, ok := p.listener.(*bufconn.Listener); ok {
			return rpc.Dial("passthrough:///"+id, grpc.WithContextDialer(
				func(ctx context.Context, _ string) (net.Conn, error) { return memory.DialContext(ctx) }))
		}
		return rpc.Dial(p.address)
	}
	return nil, fmt.Errorf("nothing in this process listens at %q", address)
}
