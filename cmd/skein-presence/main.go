// Command skein-presence runs one presence instance.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/conf"
	"github.com/skein-mesh/skein/pkg/daemon"
	"github.com/skein-mesh/skein/pkg/healthcheck"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/services/presence"
)

const name = "skein-presence"

func main() {
	ctx := lifecycle.UntilSignal(context.Background())
	err := run(ctx, os.Args[1:], os.Getenv, os.Stderr)
	if err != nil && !errors.Is(err, conf.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
	os.Exit(conf.ExitCode(err))
}

func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) error {
	args, asked := healthcheck.Asked(args)
	cfg := presence.Default()
	src := conf.Source{Name: name, About: "Counts and levels the connections of a Skein fleet.", Args: args, Getenv: getenv, Stderr: stderr}
	if err := conf.Load(&cfg, src); err != nil {
		return err
	}
	if asked {
		return healthcheck.Ask(ctx, cfg.Admin)
	}
	d, err := daemon.New(ctx, cfg.Config, cluster.RolePresence, name, stderr)
	if err != nil {
		return err
	}
	s, err := presence.New(cfg, presence.Deps{
		Listener: d.Services, Membership: d.Members, Joined: d.Members.Joined, Security: d.Security,
		Register: d.Register, Telemetry: d.Telemetry,
	})
	if err != nil {
		return err
	}
	return d.Run(ctx, s)
}
