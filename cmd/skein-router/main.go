// Command skein-router runs one router.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/serf"
	"github.com/skein-mesh/skein/pkg/conf"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/version"
	"github.com/skein-mesh/skein/services/router"
)

const name = "skein-router"

func main() {
	ctx := lifecycle.UntilSignal(context.Background())
	err := run(ctx, os.Args[1:], os.Getenv, os.Stderr)
	if err != nil && !errors.Is(err, conf.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
	os.Exit(conf.ExitCode(err))
}

func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) error {
	cfg := router.Default()
	src := conf.Source{Name: name, About: "Owns topics and fans their messages out to edges.", Args: args, Getenv: getenv, Stderr: stderr}
	if err := conf.Load(&cfg, src); err != nil {
		return err
	}
	if cfg.ID == "" {
		cfg.ID = cluster.NewID()
	}
	tel, err := telemetry.New(ctx, cfg.Config, telemetry.Identity{Service: name, ID: cfg.ID, Version: version.Version}, stderr)
	if err != nil {
		return err
	}
	var listen net.ListenConfig
	services, err := listen.Listen(ctx, "tcp", cfg.GRPC)
	if err != nil {
		return fmt.Errorf("grpc: %w", err)
	}
	admin, err := listen.Listen(ctx, "tcp", cfg.Admin)
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	address, err := cluster.Reachable(services.Addr(), cfg.GRPCAdvertise)
	if err != nil {
		return fmt.Errorf("grpc-advertise: %w", err)
	}
	members, err := serf.New(serf.Config{
		Settings: cfg.Settings,
		Self: cluster.Member{
			ID: cfg.ID, Incarnation: cluster.NewIncarnation(), Role: cluster.RoleRouter,
			State: cluster.StateJoining, Address: address, Version: version.Version,
		},
		Log: tel.Log, Meter: tel.Meter,
	})
	if err != nil {
		return err
	}
	r, err := router.New(cfg, router.Deps{Listener: services, Membership: members, Joined: members.Joined, Telemetry: tel})
	if err != nil {
		return err
	}
	tel.Log.InfoContext(ctx, "starting", "version", version.Version, "grpc", address, "gossip", cfg.Gossip, "admin", admin.Addr().String())
	return lifecycle.Run(ctx, tel, members, tel.Admin(admin, r.Ready), r)
}
