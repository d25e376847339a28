package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/channel"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
)

func (a *app) traceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "Follow a message through the fleet",
		Args:  unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.tracePublishCommand(), a.traceSampleCommand(), a.traceSampledCommand(), a.traceUnsampleCommand())
	return cmd
}

func (a *app) tracePublishCommand() *cobra.Command {
	var w watcher
	dryRun := false
	cmd := &cobra.Command{
		Use:   "publish TOPIC --dry-run",
		Short: "Show who would get a message that is published now, how many clients, and why",
		Long: "Asks a router which way a message for the topic would go: who orders it, which edges would get it and\n" +
			"why, how many of their clients joined the topic. It names edges that have such clients and would not get\n" +
			"it. Nothing is published; that is what skein publish does.",
		Example: "  skein trace publish room:lobby --dry-run",
		Args:    exactly("TOPIC"), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := channel.ValidateTopic(args[0])
			if !dryRun {
				err = errors.Join(err, errors.New("it only explains, so say --dry-run; to publish, use skein publish TOPIC EVENT"))
			}
			if err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return a.show(cmd.Context(), w, func(ctx context.Context) (shown, error) {
				var way trace
				err := a.withAdmin(ctx, func(ctx context.Context, c adminv1.AdminServiceClient) error {
					resp, err := c.TracePublish(ctx, &adminv1.TracePublishRequest{Topic: args[0]})
					way = newTrace(resp)
					return err
				})
				return shown{way, func(out io.Writer) { printTrace(out, way) }}, err
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "explain and publish nothing; required")
	w.flags(cmd)
	return cmd
}

// trace is the way of a message, in JSON output.
type trace struct {
	Topic     string          `json:"topic"`
	Asked     string          `json:"asked"`
	Owner     string          `json:"owner"`
	View      string          `json:"view"`
	Channels  uint64          `json:"channels"` // that would get it, as far as it is known
	Receivers []traceReceiver `json:"receivers"`
	Missed    []traceReceiver `json:"missed"`
}

type traceReceiver struct {
	ID       string `json:"id"`
	Reason   string `json:"reason"`
	Channels uint64 `json:"channels"`
	Problem  string `json:"problem,omitempty"`
}

func newTrace(resp *adminv1.TracePublishResponse) trace {
	t := trace{
		Topic: resp.GetTopic(), Asked: resp.GetAsked(), Owner: resp.GetOwner(), View: view(resp.GetView()),
		Receivers: []traceReceiver{}, Missed: []traceReceiver{},
	}
	for _, r := range resp.GetReceivers() {
		receiver := traceReceiver{r.GetId(), words(r.GetReason(), "TRACE_REASON_"), r.GetChannels(), r.GetProblem()}
		if r.GetReason() == adminv1.TraceReason_TRACE_REASON_MISSED {
			t.Missed = append(t.Missed, receiver)
			continue
		}
		t.Receivers = append(t.Receivers, receiver)
		t.Channels += r.GetChannels()
	}
	return t
}

func printTrace(w io.Writer, t trace) {
	fmt.Fprintf(w, "A message for %q would enter at %s and be ordered by %s in view %s.\n", t.Topic, printable(t.Asked), printable(t.Owner), t.View)
	if len(t.Receivers) == 0 {
		fmt.Fprintln(w, "Nobody would get it: no edge has subscribers and no backend listens.")
	} else {
		fmt.Fprintf(w, "It would be sent to %s and reach %s:\n\n", counted(len(t.Receivers), "receiver"), countedUp(t.Channels, "channel"))
		rows := [][]any{}
		for _, r := range t.Receivers {
			channels := any(r.Channels)
			switch {
			case r.Problem != "":
				channels = "? " + printable(r.Problem)
			case r.Reason == "subscription":
				channels = "-"
			}
			rows = append(rows, []any{printable(r.ID), r.Reason, channels, why(r.Reason)})
		}
		printTable(w, []string{"receiver", "reason", "channels", "because"}, rows)
	}
	for _, r := range t.Missed {
		fmt.Fprintf(w, "%s would MISS it on %s: %s does not know that it has subscribers; usual for a moment while they join.\n",
			countedUp(r.Channels, "channel"), printable(r.ID), printable(t.Owner))
	}
}
