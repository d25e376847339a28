package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

func (a *app) statusCommand() *cobra.Command {
	var f follower
	watch := false
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the planner does now",
		Long: "Shows what the planner does, the plan under way, the gates that are shut, what operators ordered and\n" +
			"what needs a look. With --watch it prints a line each time that something changes.",
		Example: "  skein rebalance status --watch",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return a.follow(cmd.Context(), f.interval, "", func(ctx context.Context, c fleetClient) (look, error) {
					s, err := a.status(ctx, c)
					view := newStatus(s, time.Now())
					return look{line: view.line(), view: view}, err
				})
			}
			return a.withFleet(cmd.Context(), func(c fleetClient) error {
				s, err := a.status(cmd.Context(), c)
				if err != nil {
					return err
				}
				view := newStatus(s, time.Now())
				if a.common.json() {
					return printJSON(a.Stdout, view)
				}
				view.print(a.Stdout)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "go on and print each change")
	f.intervalFlag(cmd)
	return cmd
}

// statusView is what the planner does, in JSON output.
type statusView struct {
	Planner  string      `json:"planner"`
	Phase    string      `json:"phase"`
	Current  *recordView `json:"current"`
	Plan     planView    `json:"plan"`
	Orders   ordersView  `json:"orders"`
	Warnings []string    `json:"warnings"`
}

func newStatus(s *presencev1.Status, now time.Time) statusView {
	view := statusView{
		Planner: s.GetPlanner(), Phase: words(s.GetPhase(), "PHASE_"), Plan: newPlan(s.GetPlan(), s.GetGates()),
		Orders: newOrders(s.GetOrders()), Warnings: append([]string{}, s.GetWarnings()...),
	}
	if r := s.GetCurrent(); r != nil {
		current := newRecord(r, now)
		view.Current = &current
	}
	return view
}

// meaning of a phase, for people.
func meaning(phase string) string {
	switch phase {
	case "level":
		return "there is nothing to do"
	case "held":
		return "there is something to do, and a gate that forbids it"
	case "steering":
		return "balancers are told where new connections should go"
	case "moving":
		return "connections are being moved"
	case "draining":
		return "edges drain, and others take their connections"
	case "paused":
		return "an operator said so: skein rebalance resume"
	}
	return "unknown to this version of the tool"
}

// line says the status in one line.
func (s statusView) line() string {
	text := s.Phase
	switch {
	case s.Current != nil:
		text += ": " + s.Current.String()
		if s.Plan.Moves > 0 {
			text += fmt.Sprintf("; %d left, about %s", s.Plan.Moves, roughly(s.Plan.Seconds))
		}
	case s.Plan.Moves > 0:
		text += fmt.Sprintf(": %s to move", countedUp(s.Plan.Moves, "connection"))
	default:
		text += ": " + meaning(s.Phase)
	}
	parts := []string{text}
	for _, g := range s.Plan.Gates {
		parts = append(parts, fmt.Sprintf("%s gate shut: %s", g.Name, g.Reason))
	}
	return strings.Join(parts, "; ")
}

// print writes everything but the edges.
func (s statusView) print(w io.Writer) {
	field := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-9s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	field("planner", "%s", s.Planner)
	field("phase", "%s: %s", s.Phase, meaning(s.Phase))
	if s.Current != nil {
		field("plan", "%s", s.Current)
	}
	switch {
	case s.Plan.Moves == 0:
		field("to move", "nothing: %s", s.Plan.reason("the fleet is level"))
	case s.Plan.Needed:
		field("to move", "%s, in about %s: %s", countedUp(s.Plan.Moves, "connection"), roughly(s.Plan.Seconds), s.Plan.reason(s.Plan.Trigger))
	default:
		field("to move", "%s, too few to be worth it: %s", countedUp(s.Plan.Moves, "connection"), s.Plan.reason(s.Plan.Trigger))
	}
	field("orders", "%s", s.Orders)
	if len(s.Plan.Gates) == 0 {
		field("gates", "all open")
	}
	for _, g := range s.Plan.Gates {
		field("gate", "%s is shut: %s", g.Name, g.Reason)
	}
	for _, warning := range s.Warnings {
		field("warning", "%s", warning)
	}
}
