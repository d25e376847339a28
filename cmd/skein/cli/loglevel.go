package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Bounds of how long something else than what is configured counts.
const (
	leastFor = time.Second
	mostFor  = 24 * time.Hour
)

// checkFor says what is wrong with the flag --for.
func checkFor(d time.Duration) error {
	if d < leastFor || d > mostFor {
		return fmt.Errorf("for: must be %s to %s, got %s", leastFor, mostFor, d)
	}
	return nil
}

// logReset goes back to the configured level.
const logReset = "reset"

func (a *app) logLevelCommand() *cobra.Command {
	d := 5 * time.Minute
	cmd := &cobra.Command{
		Use:   "log-level NODE [LEVEL]",
		Short: "Show or change the log level of a process; it goes back by itself",
		Long: "Changes the least level of log lines of an edge, router or presence instance to debug, info, warn or error,\n" +
			"for a while; reset goes back at once. Without a level it shows what counts.",
		Example: "  skein log-level edge-1 debug --for 5m\n" +
			"  skein log-level edge-1\n" +
			"  skein log-level edge-1 reset",
		Args: exactly("NODE", "LEVEL?"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return logLevels(), cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeNodes(cmd, args, begun)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.logLevel(cmd.Context(), args[0], nil)
			}
			var errs []error
			if !slices.Contains(logLevels(), args[1]) {
				errs = append(errs, fmt.Errorf("level: %q is none of debug, info, warn, error and reset", args[1]))
			}
			if err := errors.Join(append(errs, checkFor(d))...); err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			change := &adminv1.SetLogLevelRequest{Node: args[0], Level: args[1], ForMs: uint64(d.Milliseconds())} //nolint:gosec // positive
			if args[1] == logReset {
				change.Level = ""
			}
			return a.logLevel(cmd.Context(), args[0], change)
		},
	}
	cmd.Flags().DurationVar(&d, "for", d, "how long the level counts")
	return cmd
}

func logLevels() []string { return []string{"debug", "info", "warn", "error", logReset} }

// logLevel shows the level of a node, after a change unless that is nil.
func (a *app) logLevel(ctx context.Context, id string, change *adminv1.SetLogLevelRequest) error {
	conn, err := a.nodeConn(ctx, id)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // done with it
	ctx, cancel := a.question(ctx)
	defer cancel()
	client := adminv1.NewAdminServiceClient(conn)
	var level *meshv1.LogLevel
	if change == nil {
		var resp *adminv1.NodeResponse
		resp, err = client.Node(ctx, &adminv1.NodeRequest{Node: id})
		level = resp.GetNode().GetLogLevel()
	} else {
		var resp *adminv1.SetLogLevelResponse
		resp, err = client.SetLogLevel(ctx, change)
		level = resp.GetLogLevel()
	}
	if err != nil {
		return fmt.Errorf("log level of %s: %w", id, plain(err))
	}
	now := logView{Node: id, Level: level.GetLevel(), Configured: level.GetConfigured()}
	if level.GetUntil() != nil {
		until := level.GetUntil().AsTime().Local()
		now.Until = &until
	}
	if a.common.json() {
		return printJSON(a.Stdout, now)
	}
	fmt.Fprintln(a.Stdout, now)
	return nil
}

// logView is the log level of a node, in JSON output.
type logView struct {
	Node       string     `json:"node"`
	Level      string     `json:"level"`
	Configured string     `json:"configured"`
	Until      *time.Time `json:"until,omitempty"`
}

// String says it in one line.
func (l logView) String() string {
	if l.Until == nil {
		return fmt.Sprintf("%s logs from level %s.", l.Node, l.Level)
	}
	return fmt.Sprintf("%s logs from level %s until %s, then from %s again.", l.Node, l.Level, l.Until.Format(time.TimeOnly), l.Configured)
}
