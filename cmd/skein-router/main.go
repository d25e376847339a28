// Command skein-router runs one router.
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
	args, asked := healthcheck.Asked(args)
	cfg := router.Default()
	src := conf.Source{Name: name, About: "Owns topics and fans their messages out to edges.", Args: args, Getenv: getenv, Stderr: stderr}
	if err := conf.Load(&cfg, src); err != nil {
		return err
	}
	if asked {
		return healthcheck.Ask(ctx, cfg.Admin)
	}
	d, err := daemon.New(ctx, cfg.Config, cluster.RoleRouter, name, stderr)
	if err != nil {
		return err
	}
	http, err := cfg.ListenHTTP(ctx)
	if err != nil {
		return err
	}
	s, err := router.New(cfg, router.Deps{
		Listener: d.Services, HTTP: http, Membership: d.Members, Joined: d.Members.Joined, Security: d.Security,
		Register: d.Register, Telemetry: d.Telemetry,
	})
	if err != nil {
		return err
	}
	return d.Run(ctx, s)
}
