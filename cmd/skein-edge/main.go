// Command skein-edge holds client sockets and joins them to the mesh.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/conf"
	"github.com/skein-mesh/skein/pkg/healthcheck"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
	"github.com/skein-mesh/skein/pkg/version"
	"github.com/skein-mesh/skein/services/edge"
	"github.com/skein-mesh/skein/services/edge/report"
	"github.com/skein-mesh/skein/web"
)

func main() {
	ctx := lifecycle.UntilSignal(context.Background())
	err := run(ctx, os.Args[1:], os.Getenv, os.Stderr)
	if err != nil && !errors.Is(err, conf.ErrHelp) {
		fmt.Fprintln(os.Stderr, "skein-edge:", err)
	}
	os.Exit(conf.ExitCode(err))
}

func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) error {
	args, asked := healthcheck.Asked(args)
	cfg := edge.Default()
	err := conf.Load(&cfg, conf.Source{
		Name: "skein-edge", About: "Holds client sockets and joins them to the mesh.",
		Args: args, Getenv: getenv, Stderr: stderr,
	})
	if err != nil {
		return err
	}
	if asked {
		return healthcheck.Ask(ctx, cfg.Admin)
	}
	if cfg.ID == "" {
		cfg.ID = cluster.NewID()
	}
	tel, err := telemetry.New(ctx, cfg.Config, telemetry.Identity{Service: "skein-edge", ID: cfg.ID, Version: version.Version}, stderr)
	if err != nil {
		return err
	}
	deps, err := listen(ctx, cfg, tel)
	if err != nil {
		return err
	}
	e, err := edge.New(cfg, deps)
	if err != nil {
		return err
	}
	tel.Log.InfoContext(ctx, "edge starts", "listen", deps.Clients.Addr().String(), "routers", cfg.Routers, "version", version.Version)
	return lifecycle.Run(ctx, tel, e)
}

// listen opens the edge's ports. An address that is empty opens none.
func listen(ctx context.Context, cfg edge.Config, tel *telemetry.Telemetry) (edge.Deps, error) {
	usage, err := report.Process()
	if err != nil {
		return edge.Deps{}, err
	}
	security, err := rpc.Secure(rpc.SecuritySettings{TLS: cfg.TLS, Insecure: cfg.Insecure}, tel)
	if err != nil {
		return edge.Deps{}, err
	}
	deps := edge.Deps{
		Dial:      security.Dialer(tel),
		Usage:     usage,
		Memory:    report.MemoryLimit(),
		Telemetry: tel,
	}
	if cfg.Demo {
		deps.Page = page(cfg.ID)
	}
	for _, l := range []struct {
		to            *net.Listener
		name, address string
	}{{&deps.Clients, "listen", cfg.Listen}, {&deps.Admin, "admin", cfg.Admin}, {&deps.Agent, "agent", cfg.Agent}} {
		if l.address == "" {
			continue
		}
		if *l.to, err = new(net.ListenConfig).Listen(ctx, "tcp", l.address); err != nil {
			return edge.Deps{}, fmt.Errorf("%s: %w", l.name, err)
		}
	}
	if cfg.Public.Enabled() {
		deps.Clients, err = tlsfiles.Listen(deps.Clients, cfg.Public, tel.Log)
	}
	return deps, err
}

func page(id string) http.Handler {
	return web.Handler(func() web.Info { return web.Info{Edge: id, Version: version.Version} })
}
