package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

func (a *app) applyCommand() *cobra.Command {
	var f follower
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Level the fleet now, however little is to gain, and follow it",
		Long: "Makes the planner level the fleet though it would not be worth it by itself, prints the plan and\n" +
			"follows it until the fleet is level. The same gates and rates hold as always. Ctrl-C ends the command,\n" +
			"not the plan: skein rebalance pause does.",
		Example: "  skein rebalance apply\n" +
			"  skein rebalance apply --detach",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.apply(cmd.Context(), f) },
	}
	f.flags(cmd)
	return cmd
}

// planGoesOn is said to those who do not wait for the end of a plan.
const planGoesOn = "The plan goes on by itself. Look with: skein rebalance status"

func (a *app) apply(ctx context.Context, f follower) error {
	var plan planView
	err := a.withFleet(ctx, func(c fleetClient) error {
		resp, err := ask(ctx, a, func(ctx context.Context) (*presencev1.ApplyResponse, error) {
			return c.Apply(ctx, &presencev1.ApplyRequest{})
		})
		if err != nil {
			return fmt.Errorf("apply: %w", plain(err))
		}
		plan = newPlan(resp.GetPlan(), resp.GetGates())
		return nil
	})
	if err != nil {
		return err
	}
	if err := a.printPlan(plan); err != nil || plan.Moves == 0 {
		return err
	}
	if f.detach {
		if !a.common.json() {
			fmt.Fprintln(a.Stdout, "\n"+planGoesOn)
		}
		return nil
	}
	if !a.common.json() {
		fmt.Fprintln(a.Stdout)
	}
	var w planWatch
	return a.follow(ctx, f.interval, planGoesOn, func(ctx context.Context, c fleetClient) (look, error) { return w.look(ctx, a, c) })
}

// planWatch remembers the plan that was seen last.
type planWatch struct {
	number uint64
	quiet  int // looks in a row that showed none
}

// look is done when that plan has ended, or none is needed for a while.
func (w *planWatch) look(ctx context.Context, a *app, c fleetClient) (look, error) {
	s, err := a.status(ctx, c)
	if err != nil {
		return look{}, err
	}
	view := newStatus(s, time.Now())
	l := look{line: view.line(), view: view}
	if s.GetCurrent() != nil || s.GetPhase() != presencev1.Phase_PHASE_LEVEL {
		w.number, w.quiet = max(s.GetCurrent().GetNumber(), w.number), 0
		return l, nil
	}
	records, err := a.history(ctx, c)
	if err != nil {
		return look{}, err
	}
	w.quiet++
	ended := len(records) > 0 && records[0].Number == w.number
	if ended {
		l.line = "Done: " + records[0].String()
	}
	l.done = ended || w.quiet >= settled
	return l, nil
}
