package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/cluster"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// rolloutFlags say what to roll.
type rolloutFlags struct {
	follower

	from, to, rate string
}

func (a *app) rolloutCommand() *cobra.Command {
	var f rolloutFlags
	cmd := &cobra.Command{
		Use:                        "rollout --from GROUP --to GROUP",
		SuggestionsMinimumDistance: 2,
		Short:                      "Move the connections of one group of edges to another, at a rate you choose",
		Long: "Moves the clients of one group of edges to another, such as from blue to green: new connections go to the\n" +
			"new group at once, those of the old one at the rate given. Follows it until the old group is empty.\n" +
			"Given again it changes the rate. The edges keep the order, so that it outlives every presence instance:\n" +
			"the new group serves until another rollout. Edges are told their group with --group.",
		Example: "  skein rollout --from blue --to green --rate 500/s\n" +
			"  skein rollout pause\n" +
			"  skein rollout abort\n" +
			"  skein rollout status",
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.from == "" && f.to == "" {
				return cmd.Help()
			}
			r, err := f.rollout()
			if err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return a.roll(cmd.Context(), r, f.follower)
		},
	}
	cmd.Flags().StringVar(&f.from, "from", "", "the group that is emptied")
	cmd.Flags().StringVar(&f.to, "to", "", "the group that takes over")
	cmd.Flags().StringVar(&f.rate, "rate", "500/s", "most connections to move in a second, as N/s or N")
	f.flags(cmd)
	for _, name := range []string{"from", "to"} {
		_ = cmd.RegisterFlagCompletionFunc(name, a.completeGroups) // it fails only for a flag that is not there
	}
	cmd.AddCommand(
		a.holdCommand("pause", "Hold the rollout: both groups stay as they are", true),
		a.holdCommand("resume", "Go on with the rollout", false),
		a.abortCommand(),
		a.rolloutStatusCommand(),
	)
	return cmd
}

// rollout checks the flags before anybody is asked: every mistake at once.
func (f *rolloutFlags) rollout() (*presencev1.Rollout, error) {
	var errs []error
	for _, group := range [][2]string{{"from", f.from}, {"to", f.to}} {
		switch {
		case group[1] == "":
			errs = append(errs, fmt.Errorf("%s: say which group: --%s GROUP", group[0], group[0]))
		case cluster.CheckID(group[1]) != nil:
			errs = append(errs, fmt.Errorf("%s: %q is not the name of a group: letters, digits, '-', '.' and '_'", group[0], group[1]))
		}
	}
	if f.from != "" && f.from == f.to {
		errs = append(errs, fmt.Errorf("from and to are the same group, %q", f.from))
	}
	rate, err := parseRate(f.rate)
	if err != nil {
		errs = append(errs, fmt.Errorf("rate: %w", err))
	}
	return &presencev1.Rollout{From: f.from, To: f.to, Rate: rate}, errors.Join(errs...)
}

// maxRate is the largest rate that presence takes.
const maxRate = 1e6

// parseRate reads a number of moves in a second: "500/s" or "500".
func parseRate(s string) (float64, error) {
	rate, err := strconv.ParseFloat(strings.TrimSuffix(s, "/s"), 64)
	if err != nil || math.IsNaN(rate) || rate <= 0 || rate > maxRate {
		return 0, fmt.Errorf("%q is not a rate such as 500/s, more than 0 and at most %g", s, maxRate)
	}
	return rate, nil
}

// roll orders a rollout and follows it.
func (a *app) roll(ctx context.Context, r *presencev1.Rollout, f follower) error {
	t := tracker{rollout: r}
	err := a.withFleet(ctx, func(c fleetClient) error {
		orders, err := a.order(ctx, c, &presencev1.OrderRequest{Change: &presencev1.OrderRequest_Rollout{Rollout: r}})
		t.seq = orders.GetSeq()
		if err != nil || !f.detach {
			return err
		}
		return a.printOrders(orders, fmt.Sprintf("Rolling from %s to %s by itself. Look with: skein rollout status", r.GetFrom(), r.GetTo()))
	})
	if err != nil || f.detach {
		return err
	}
	return a.follow(ctx, f.interval, "The rollout goes on by itself. Hold it with: skein rollout pause", func(ctx context.Context, c fleetClient) (look, error) {
		return a.watchRollout(ctx, c, &t)
	})
}

// ordered returns the rollout that was ordered last.
func (a *app) ordered(ctx context.Context, c fleetClient) (*presencev1.Rollout, error) {
	status, err := a.status(ctx, c)
	if err != nil {
		return nil, err
	}
	r := status.GetOrders().GetRollout()
	if r == nil {
		return nil, errors.New("no rollout was ordered; begin one with: skein rollout --from GROUP --to GROUP")
	}
	return r, nil
}

func (a *app) holdCommand(name, short string, paused bool) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short,
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withFleet(cmd.Context(), func(c fleetClient) error {
				r, err := a.ordered(cmd.Context(), c)
				if err != nil {
					return err
				}
				held := &presencev1.Rollout{From: r.GetFrom(), To: r.GetTo(), Rate: r.GetRate(), Paused: paused}
				orders, err := a.order(cmd.Context(), c, &presencev1.OrderRequest{Change: &presencev1.OrderRequest_Rollout{Rollout: held}})
				if err != nil {
					return err
				}
				text := fmt.Sprintf("Held: %s and %s stay as they are until: skein rollout resume", r.GetFrom(), r.GetTo())
				if !paused {
					text = fmt.Sprintf("Going on from %s to %s at %s.", r.GetFrom(), r.GetTo(), perSecond(r.GetRate()))
				}
				return a.printOrders(orders, text)
			})
		},
	}
}

func (a *app) abortCommand() *cobra.Command {
	var f follower
	cmd := &cobra.Command{
		Use:   "abort",
		Short: "Take the rollout back: everybody moves to the group they came from, at the same rate",
		Long: "Orders the last rollout the other way round, at the same rate, and follows it. A rollout that is over can\n" +
			"be taken back too. A second abort goes forward again.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var back *presencev1.Rollout
			err := a.withFleet(cmd.Context(), func(c fleetClient) error {
				r, err := a.ordered(cmd.Context(), c)
				back = &presencev1.Rollout{From: r.GetTo(), To: r.GetFrom(), Rate: r.GetRate()}
				return err
			})
			if err != nil {
				return err
			}
			return a.roll(cmd.Context(), back, f)
		},
	}
	f.flags(cmd)
	return cmd
}
