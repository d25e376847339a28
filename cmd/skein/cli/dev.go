package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/cmd/skein/dev"
	"github.com/skein-mesh/skein/pkg/conf"
)

func (a *app) devCommand() *cobra.Command {
	cfg := dev.Default()
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything in one process, with a demo page",
		Long: "Runs an edge, a router and a presence instance in one process that opens only the\n" +
			"public port. Every flag is also SKEIN_* in the environment and a key of the file that\n" +
			"--config names.",
		Example: "  skein dev\n" +
			"  skein dev --grpc 127.0.0.1:5000 --presence-grpc 127.0.0.1:6000",
		// conf reads the flags itself: it lists every problem, not the first.
		DisableFlagParsing: true,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := conf.Load(&cfg, conf.Source{
			Name: cmd.CommandPath(), About: cmd.Long + "\n\nExamples:\n" + cmd.Example, Args: args, Getenv: a.Getenv, Stderr: a.Stderr,
		})
		if errors.Is(err, conf.ErrHelp) {
			return nil
		}
		if err != nil {
			return err
		}
		return dev.Run(cmd.Context(), &cfg, a.Stdout, a.Stderr)
	}
	return cmd
}
