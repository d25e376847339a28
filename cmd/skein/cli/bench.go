package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skein-mesh/skein/cmd/skein/bench"
	"github.com/skein-mesh/skein/cmd/skein/bench/pair"
	"github.com/skein-mesh/skein/pkg/conf"
)

func (a *app) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a fleet as its users would, and measure it",
		Long: "Opens sockets, joins topics and publishes as users do, and prints rates, latency,\n" +
			"lost, duplicated and disordered messages, and what the given processes used.\n" +
			"With --floor the same runs against a bare epoll server first, for comparison.",
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.connectCommand("connect", "Open sockets", bench.DefaultConnect(),
			"  skein bench connect --sockets 10000 --pids edge=$(pidof skein-edge)"),
		a.connectCommand("join", "Open sockets and join topics on them", bench.DefaultJoin(),
			"  skein bench join --sockets 10000 --topics 100 --pids edge=$(pidof skein-edge) --floor"),
		a.fanoutCommand(), a.crowdCommand(), a.telemetryCommand(), floorCommand(), a.pairCommand(),
	)
	return cmd
}

func (a *app) connectCommand(use, short string, options bench.ConnectOptions, example string) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: exactly(), Example: example}
	resolve := a.bind(cmd, &options)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := resolve(); err != nil {
			return err
		}
		report, err := bench.Connect(cmd.Context(), options)
		return a.report(report, err)
	}
	return cmd
}

func (a *app) fanoutCommand() *cobra.Command {
	options := bench.DefaultFanout()
	cmd := &cobra.Command{
		Use:   "fanout",
		Short: "Publish to topics with subscribers and check every delivery",
		Args:  exactly(),
		Example: "  skein bench fanout --topics 1 --sockets 1000 --rate 50\n" +
			"  skein bench fanout --topics 200 --sockets 10 --publishers 200 --rate 2000\n" +
			"  skein bench fanout --publishers 8 --rate 0 --via grpc",
	}
	resolve := a.bind(cmd, &options)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := resolve(); err != nil {
			return err
		}
		report, err := bench.FanOut(cmd.Context(), options, a.router)
		return a.report(report, err)
	}
	return cmd
}

func (a *app) crowdCommand() *cobra.Command {
	options := bench.DefaultPeople()
	cmd := &cobra.Command{
		Use:   "people",
		Short: "Have people enter topics and check the lists of who is online",
		Args:  exactly(),
		Example: "  skein bench people --people 10000 --topics 100 --edge 127.0.0.1:4000,127.0.0.1:4010 --hold 30s\n" +
			"  skein bench people --people 2000 --pids edge=$(pidof skein-edge)",
	}
	resolve := a.bind(cmd, &options)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := resolve(); err != nil {
			return err
		}
		report, err := bench.People(cmd.Context(), options, func() {
			fmt.Fprintf(a.Stderr, "skein: the crowd is there, and stays for %s\n", options.Hold)
		})
		return a.report(report, err)
	}
	return cmd
}

func (a *app) telemetryCommand() *cobra.Command {
	options := bench.DefaultTelemetry()
	cmd := &cobra.Command{
		Use:   "telemetry",
		Short: "Measure what metrics and traces cost an edge and a router of its own",
		Long: "Runs an edge and a router, publishes through them, and turns their metrics and traces off,\n" +
			"on and up to twenty times the usual in short turns. Prints the difference in CPU for\n" +
			"each delivery, with the interval that holds it with 95 % confidence.",
		Args: exactly(),
		Example: "  skein bench telemetry --topics 1 --sockets 1000 --rate 50\n" +
			"  skein bench telemetry --topics 200 --sockets 10 --publishers 200 --rate 2000",
	}
	resolve := a.bind(cmd, &options)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := resolve(); err != nil {
			return err
		}
		report, err := bench.Telemetry(cmd.Context(), options)
		return a.report(report, err)
	}
	return cmd
}

// pairCommand is what bench runs as its child to measure telemetry.
func (a *app) pairCommand() *cobra.Command {
	otlp := ""
	cmd := &cobra.Command{
		Use:    "pair-server",
		Short:  "Serve as an edge and a router until standard input ends, and record as much as its lines say",
		Hidden: true,
		Args:   exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return pair.Serve(cmd.Context(), os.Stdin, a.Stdout, a.Stderr, otlp)
		},
	}
	cmd.Flags().StringVar(&otlp, "otlp", "", "URL of an OTLP gRPC collector for traces")
	return cmd
}

// floorCommand is what bench runs as its child.
func floorCommand() *cobra.Command {
	coalesce := time.Duration(0)
	cmd := &cobra.Command{
		Use:    "floor-server",
		Short:  "Serve as the bare epoll server until standard input ends",
		Hidden: true,
		Args:   exactly(),
		RunE: func(*cobra.Command, []string) error {
			return bench.Floor(int(os.Stdin.Fd()), os.Stdout, coalesce)
		},
	}
	cmd.Flags().DurationVar(&coalesce, "coalesce", 0, "collect messages for so long")
	return cmd
}

// report prints what was measured. A run with losses is a failure.
func (a *app) report(report *bench.Report, err error) error {
	if err != nil {
		return err
	}
	if a.common.json() {
		err = printJSON(a.Stdout, report)
	} else {
		report.Print(a.Stdout)
	}
	if failed := report.Failed(); failed != "" {
		return errors.Join(err, errors.New("bench: "+failed))
	}
	return err
}

// bind adds the flags of a configuration to a command. What it returns fills
// the configuration in.
func (a *app) bind(cmd *cobra.Command, cfg conf.Config) (resolve func() error) {
	flags := conf.Flags(cfg)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" {
			cmd.Flags().AddFlag(f)
		}
	})
	return func() error {
		return conf.Resolve(cfg, flags, conf.Source{Name: cmd.CommandPath(), Getenv: a.withoutFile})
	}
}
