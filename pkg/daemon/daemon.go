// Package daemon is what the processes of a router and of a presence instance
// have in common: addresses to listen on, a place in the gossip, telemetry and
// an admin port.
package daemon

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/serf"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/version"
)

// Daemon is a process that has its ports and runs nothing yet.
type Daemon struct {
	Services  net.Listener // of gRPC
	Members   *serf.Serf
	Telemetry *telemetry.Telemetry
	Security  rpc.Security

	admin  net.Listener
	gossip string
}

// Service is what a daemon runs.
type Service interface {
	lifecycle.Component
	// Ready says why the service should not be asked now, or nil.
	Ready() error
}

// New opens the ports of a member. name is the program's, for telemetry; cfg
// must be valid, an empty id is replaced.
func New(ctx context.Context, cfg Config, role cluster.Role, name string, stderr io.Writer) (*Daemon, error) {
	if cfg.ID == "" {
		cfg.ID = cluster.NewID()
	}
	tel, err := telemetry.New(ctx, cfg.Config, telemetry.Identity{Service: name, ID: cfg.ID, Version: version.Version}, stderr)
	if err != nil {
		return nil, err
	}
	security, err := rpc.Secure(cfg.security(), tel)
	if err != nil {
		return nil, err
	}
	var listen net.ListenConfig
	services, err := listen.Listen(ctx, "tcp", cfg.GRPC)
	if err != nil {
		return nil, fmt.Errorf("grpc: %w", err)
	}
	admin, err := listen.Listen(ctx, "tcp", cfg.Admin)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	address, err := cluster.Reachable(services.Addr(), cfg.GRPCAdvertise)
	if err != nil {
		return nil, fmt.Errorf("grpc-advertise: %w", err)
	}
	members, err := serf.New(serf.Config{
		Settings: cfg.Settings,
		Self: cluster.Member{
			ID: cfg.ID, Incarnation: cluster.NewIncarnation(), Role: role,
			State: cluster.StateJoining, Address: address, Version: version.Version,
		},
		Log: tel.Log, Meter: tel.Meter, Refusals: security.Refusals(),
	})
	if err != nil {
		return nil, err
	}
	return &Daemon{Services: services, Members: members, Telemetry: tel, Security: security, admin: admin, gossip: cfg.Gossip}, nil
}

// Run runs s, and before and after it all that it stands on, until ctx ends.
func (d *Daemon) Run(ctx context.Context, s Service) error {
	d.Telemetry.Log.InfoContext(ctx, "starting", "version", version.Version,
		"grpc", d.Members.Self().Address, "gossip", d.gossip, "admin", d.admin.Addr().String())
	return lifecycle.Run(ctx, d.Telemetry, d.Members, d.Telemetry.Admin(d.admin, s.Ready), s)
}
