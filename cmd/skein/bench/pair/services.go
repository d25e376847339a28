package pair

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/seeds"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/version"
	"github.com/skein-mesh/skein/services/edge"
	"github.com/skein-mesh/skein/services/edge/report"
	"github.com/skein-mesh/skein/services/router"
)

// Names of the two services in their telemetry and in the mesh.
const (
	edgeID   = "bench-edge"
	routerID = "bench-router"
)

// listeners are where the services listen.
type listeners struct {
	clients, mesh          net.Listener
	edgeAdmin, routerAdmin net.Listener
}

func listen(ctx context.Context) (l listeners, err error) {
	for _, to := range []*net.Listener{&l.clients, &l.mesh, &l.edgeAdmin, &l.routerAdmin} {
		if *to, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return l, fmt.Errorf("listen: %w", err)
		}
	}
	return l, nil
}

// assemble makes both services and returns what is to run, in the order in which
// it starts.
func (p *pair) assemble(ctx context.Context, otlp string, stderr io.Writer) ([]lifecycle.Component, error) {
	l, err := listen(ctx)
	if err != nil {
		return nil, err
	}
	p.ports = Ports{l.clients.Addr().String(), []string{l.edgeAdmin.Addr().String(), l.routerAdmin.Addr().String()}}
	var components []lifecycle.Component
	for _, add := range []func(listeners, *telemetry.Telemetry) ([]lifecycle.Component, error){newRouter, newEdge} {
		tel, err := p.newTelemetry(ctx, otlp, stderr)
		if err != nil {
			return nil, err
		}
		added, err := add(l, tel)
		if err != nil {
			return nil, err
		}
		components = append(append(components, tel), added...)
	}
	return components, p.turn(ctx, 0)
}

// newTelemetry returns the telemetry of one service, which the pair turns.
func (p *pair) newTelemetry(ctx context.Context, otlp string, stderr io.Writer) (*telemetry.Telemetry, error) {
	cfg := telemetry.Default()
	cfg.LogLevel, cfg.OTLPEndpoint = slog.LevelWarn, otlp
	tel, err := telemetry.New(ctx, cfg, telemetry.Identity{Service: "skein-bench", ID: "pair", Version: version.Version}, stderr)
	if err != nil {
		return nil, err
	}
	tel.Meter = meter{tel.Meter, &p.volume}
	p.telemetry = append(p.telemetry, tel)
	return tel, nil
}

func newRouter(l listeners, tel *telemetry.Telemetry) ([]lifecycle.Component, error) {
	members := cluster.NewRegistry().Member(cluster.Member{
		ID: routerID, Incarnation: cluster.NewIncarnation(), Role: cluster.RoleRouter, State: cluster.StateJoining,
		Address: l.mesh.Addr().String(), Version: version.Version,
	})
	r, err := router.New(router.Default(), router.Deps{Listener: l.mesh, Membership: members, Telemetry: tel})
	if err != nil {
		return nil, err
	}
	return []lifecycle.Component{tel.Admin(l.routerAdmin, r.Ready), members, r}, nil
}

// newEdge returns an edge that waits for nobody when it stops.
func newEdge(l listeners, tel *telemetry.Telemetry) ([]lifecycle.Component, error) {
	usage, err := report.Process()
	if err != nil {
		return nil, err
	}
	cfg := edge.Default()
	cfg.ID, cfg.Delay, cfg.Spread = edgeID, 0, 0
	e, err := edge.New(cfg, edge.Deps{
		Clients: l.clients, Admin: l.edgeAdmin, Dial: dial, Usage: usage, Telemetry: tel, Seeds: seeds.Static{l.mesh.Addr().String()},
	})
	if err != nil {
		return nil, err
	}
	return []lifecycle.Component{e}, nil
}

func dial(address string) (*grpc.ClientConn, error) { return rpc.Dial(address) }
