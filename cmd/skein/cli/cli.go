// Package cli is the command line of skein: it turns arguments into calls of
// routers and presence instances, and their answers into tables or JSON. Each
// command stands in a file of its own.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/conf"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
	"github.com/skein-mesh/skein/pkg/version"
)

// Exit codes of the program.
const (
	exitFailed = 1
	exitUsage  = 2
)

// Env is what surrounds a run of the program.
type Env struct {
	Args   []string // without the program's name
	Getenv func(string) string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Dial   []grpc.DialOption // added to every connection
}

// Main runs one command until it is done or ctx ends and returns the exit code:
// 0 for success, 1 for failure, 2 for wrong usage.
func Main(ctx context.Context, env Env) int {
	root := newRoot(&app{Env: env, common: defaults()})
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	var bad *conf.Error
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFindings):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(env.Stderr, "skein: %v\n", err)
		fmt.Fprintf(env.Stderr, "See: %s --help\n", usage.command)
		return exitUsage
	case errors.As(err, &bad):
		fmt.Fprintf(env.Stderr, "skein: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(env.Stderr, "skein: %v\n", err)
	return exitFailed
}

// app is what commands share.
type app struct {
	Env
	common  *common
	resolve func() error // fills common from flags and the environment
	secure  secure
}

// common are the flags of every command.
type common struct {
	Router   []string      `conf:"router"   usage:"gRPC addresses of routers; the first that answers is asked"`
	Presence []string      `conf:"presence" usage:"gRPC addresses of presence instances; the first that answers is asked"`
	Timeout  time.Duration `conf:"timeout"  usage:"how long one question may take"`
	Output   string        `conf:"output"   usage:"how to print: table or json"`
	APIKey   string        `conf:"api-key"  usage:"key to show to routers and presence instances; better in SKEIN_API_KEY, which other users of the machine cannot see" secret:"true"`
	Insecure bool          `conf:"insecure" usage:"send the API key to other machines although nothing is encrypted"`
	tlsfiles.TLS
}

func defaults() *common {
	return &common{
		Router: []string{"127.0.0.1:5000"}, Presence: []string{"127.0.0.1:6000"}, Timeout: 5 * time.Second, Output: "table",
	}
}

// Validate implements [conf.Config].
func (c *common) Validate() error {
	var errs []error
	if len(c.Router) == 0 {
		errs = append(errs, errors.New("router: at least one address is required"))
	}
	if len(c.Presence) == 0 {
		errs = append(errs, errors.New("presence: at least one address is required"))
	}
	if c.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("timeout: %s is not positive", c.Timeout))
	}
	if !slices.Contains([]string{"table", "json"}, c.Output) {
		errs = append(errs, fmt.Errorf("output: %q is neither table nor json", c.Output))
	}
	return errors.Join(append(errs, c.ValidateClient())...)
}

func (c *common) json() bool { return c.Output == "json" }

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:                        "skein",
		Version:                    version.Version, // makes the flag --version
		Short:                      "Run, watch and load a Skein fleet",
		Long:                       "skein runs, watches and loads a fleet of edges, routers and presence instances.",
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		Args:                       unknownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n") // as the other programs have it
	flags := conf.Flags(a.common)
	flags.Lookup("output").Shorthand = "o"
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" { // belongs to the services
			root.PersistentFlags().AddFlag(f)
		}
	})
	a.resolve = func() error {
		return conf.Resolve(a.common, flags, conf.Source{Name: "skein", Getenv: a.withoutFile})
	}
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.resolve() }
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{cmd.CommandPath(), err} })
	root.AddCommand(
		a.devCommand(), a.membersCommand(), a.topCommand(), a.topicCommand(), a.peopleCommand(), a.publishCommand(), a.tailCommand(),
		a.connsCommand(), a.connCommand(), a.traceCommand(), a.doctorCommand(), a.logLevelCommand(),
		a.kickCommand(), a.rebalanceCommand(), a.drainCommand(), a.rolloutCommand(), a.tokenCommand(), a.keysCommand(), a.benchCommand(),
		a.configCommand(), a.versionCommand(),
	)
	return root
}

// withoutFile hides the configuration file of services from the common flags.
func (a *app) withoutFile(name string) string {
	if name == "SKEIN_CONFIG" {
		return ""
	}
	return a.Getenv(name)
}

// usageError is a mistake on the command line.
type usageError struct {
	command string
	err     error
}

// Error implements error.
func (e usageError) Error() string { return e.err.Error() }

// Unwrap allows [errors.Is] and [errors.As].
func (e usageError) Unwrap() error { return e.err }

// unknownCommand refuses arguments of the root command: they were meant to be
// commands.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		text += " (did you mean " + strings.Join(similar, " or ") + "?)"
	}
	return usageError{cmd.CommandPath(), errors.New(text)}
}

// exactly refuses another number of arguments than the named ones; the last may
// be left out if it ends in "?".
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		least := len(names)
		if least > 0 && strings.HasSuffix(names[least-1], "?") {
			least--
		}
		switch {
		case len(args) < least:
			return usageError{cmd.CommandPath(), fmt.Errorf("missing argument: %s", names[len(args)])}
		case len(args) > len(names):
			return usageError{cmd.CommandPath(), fmt.Errorf("unexpected argument %q", args[len(names)])}
		}
		return nil
	}
}
