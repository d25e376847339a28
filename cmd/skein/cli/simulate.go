package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/cmd/skein/plot"
	"github.com/skein-mesh/skein/services/presence/balance/simulate"
)

// simulateCommand is `skein rebalance simulate`.
func (a *app) simulateCommand() *cobra.Command {
	options := simulate.Default()
	var compare bool
	var picture string
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Try settings on a simulated fleet",
		Long: "Runs a fleet of edges, its balancers and its clients in virtual time, with the planner that\n" +
			"presence runs, and prints how many connections were closed beside the least that are\n" +
			"needed, how full an edge became, and when the fleet was level. It talks to nobody.\n\n" +
			about("Scenarios, --scenario:", simulate.Scenarios()) + "\n" +
			about("Strategies, --strategy:", simulate.Strategies()) + "\n" +
			about("Policies of balancers, --policy:", simulate.Policies()),
		Args: exactly(),
		Example: "  skein rebalance simulate                                  # an empty edge joins four of 10,000 clients\n" +
			"  skein rebalance simulate --compare                        # simpler rules beside it\n" +
			"  skein rebalance simulate --scenario roll --edges 20 --plot roll.svg\n" +
			"  skein rebalance simulate --clients 50000 --max-moves-per-second 2000 --max-arrivals-per-second 1000\n" +
			"  skein rebalance simulate --policy plain-roundrobin        # a balancer that does not listen\n" +
			"  skein rebalance simulate --hidden 0.3 --arrivals 50 --departures 50 --balancers 2",
	}
	resolve := a.bind(cmd, &options)
	cmd.Flags().BoolVar(&compare, "compare", false, "run every strategy, and print them side by side")
	cmd.Flags().StringVar(&picture, "plot", "", "SVG file to draw: the connections of each edge over time")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if compare && picture != "" {
			return usageError{cmd.CommandPath(), errors.New("--plot draws one run and --compare makes many: choose one of them")}
		}
		if err := resolve(); err != nil {
			return err
		}
		if compare {
			return a.simulateAll(cmd.Context(), options)
		}
		return a.simulateOne(cmd.Context(), options, picture)
	}
	return cmd
}

// about lists what an option may be.
func about(title string, choices []simulate.Choice) string {
	var b strings.Builder
	fmt.Fprintln(&b, title)
	for _, c := range choices {
		fmt.Fprintf(&b, "  %-17s %s\n", c.Name, c.About)
	}
	return b.String()
}

func (a *app) simulateOne(ctx context.Context, options simulate.Options, picture string) error {
	result, err := a.simulated(ctx, options)
	if err != nil {
		return err
	}
	if picture != "" {
		if err := draw(picture, result); err != nil {
			return err
		}
	}
	if a.common.json() {
		return printJSON(a.Stdout, result)
	}
	a.printResults(result)
	if len(result.Events) > 0 {
		fmt.Fprintln(a.Stdout)
	}
	for _, e := range result.Events {
		fmt.Fprintf(a.Stdout, "%8s  %s\n", seconds(e.At), e.What)
	}
	for i, p := range slices.Backward(result.Plans) {
		if i == len(result.Plans)-1 {
			fmt.Fprintln(a.Stdout)
		}
		fmt.Fprintf(a.Stdout, "plan (%s) from %s: %s; %d of %d moved; %s\n", p.Trigger, seconds(p.Began), p.Reason, p.Moved, p.Predicted, cmp.Or(p.Outcome, "not at its end"))
	}
	return nil
}

// simulateAll runs every strategy, and ours also with balancers that do not
// listen.
func (a *app) simulateAll(ctx context.Context, options simulate.Options) error {
	runs := []simulate.Options{options}
	runs[0].Strategy = "skein"
	if deaf := "plain-roundrobin"; options.Policy != deaf {
		runs = append(runs, runs[0])
		runs[1].Policy = deaf
	}
	for _, s := range simulate.Strategies() {
		if s.Name != "skein" {
			options.Strategy = s.Name
			runs = append(runs, options)
		}
	}
	var results []*simulate.Result
	for _, run := range runs {
		result, err := a.simulated(ctx, run)
		if err != nil {
			return err
		}
		results = append(results, result)
	}
	if a.common.json() {
		return printJSON(a.Stdout, results)
	}
	a.printResults(results...)
	return nil
}

// simulated is one run. One that takes long says how far it is.
func (a *app) simulated(ctx context.Context, options simulate.Options) (*simulate.Result, error) {
	said := time.Now()
	result, err := simulate.Run(ctx, options, func(now time.Duration, last string) {
		if time.Since(said) < 2*time.Second {
			return
		}
		said = time.Now()
		fmt.Fprintf(a.Stderr, "skein: %s: %s simulated, %s\n", options.Strategy, span(now), last)
	})
	if err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	return result, nil
}

func (a *app) printResults(results ...*simulate.Result) {
	header := []string{"strategy", "policy", "closed", "least", "ratio", "per client", "peak", "level after", "arrivals/s", "refused", "not back", "at the end"}
	var rows [][]any
	for _, r := range results {
		level := "never"
		if after, ok := r.LevelAfter(); ok {
			level = seconds(after.Seconds())
		}
		ratio := "-"
		if r.Minimum > 0 {
			ratio = fmt.Sprintf("%.2f", r.Ratio)
		}
		rows = append(rows, []any{
			r.Strategy, r.Policy, r.Moved + r.Drained + r.Lost, r.Minimum, ratio, fmt.Sprintf("%.2f", r.PerClient), fmt.Sprintf("%.2f", r.Peak),
			level, r.Arrivals, r.Refused, r.NotBack, fmt.Sprintf("%.2f to %.2f", r.Least, r.Fullest),
		})
	}
	printTable(a.Stdout, header, rows)
}

// seconds are seconds of virtual time, which has tenths.
func seconds(s float64) string { return fmt.Sprintf("%.1fs", s) }

// draw makes a picture of the connections over time.
func draw(path string, r *simulate.Result) error {
	p := plot.Picture{
		Title: fmt.Sprintf("%s: %s, %s", r.Scenario, r.Strategy, r.Policy), X: "seconds", Y: "connections of each edge",
	}
	for i, name := range r.Series.Edges {
		line := plot.Line{Name: name}
		for second, counts := range r.Series.Counts {
			line.Points = append(line.Points, plot.Point{X: float64(second), Y: float64(counts[i])})
		}
		p.Lines = append(p.Lines, line)
	}
	for _, m := range r.Series.Marks {
		p.Marks = append(p.Marks, plot.Mark{X: m.At, Text: m.What})
	}
	var b bytes.Buffer
	if err := p.SVG(&b); err != nil {
		return err
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil { //nolint:gosec // a picture is for everyone
		return fmt.Errorf("write the picture: %w", err)
	}
	return nil
}
