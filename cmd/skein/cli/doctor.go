package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/cmd/skein/doctor"
)

// lookAgain is how long doctor waits before it looks again at what it found.
const lookAgain = time.Second

// errFindings ends a command with exit code 1; what it found has been printed.
var errFindings = errors.New("there are findings")

func (a *app) doctorCommand() *cobra.Command {
	patience := 6 * time.Second
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find what is wrong with the fleet, and say what to do",
		Long: "Asks every router, presence instance and edge, and looks for: processes that disagree about who owns what,\n" +
			"owners that somebody does not reach, balancers that ignore hints, edges without a planner, rebalancing that is\n" +
			"paused, clocks that are apart, versions that are mixed, gossip without a key. Much of that is usual for a\n" +
			"moment after a change, so what it finds it looks at again for a while, and tells what lasts.\n\n" +
			"Exit code 0 means a healthy fleet, 1 that there are findings or nobody answered.",
		Example: "  skein doctor\n  skein doctor -o json --patience 0s",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if patience < 0 {
				return usageError{cmd.CommandPath(), fmt.Errorf("patience: must not be negative, got %s", patience)}
			}
			d, err := a.diagnose(cmd.Context(), patience)
			if err != nil {
				return err
			}
			if err := a.showOnce(shown{d, d.print}); err != nil {
				return err
			}
			if len(d.Findings) > 0 {
				return errFindings
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&patience, "patience", patience, "how long a finding must last to be told")
	return cmd
}

// diagnosis is what doctor says, in JSON output.
type diagnosis struct {
	Healthy  bool             `json:"healthy"`
	Routers  int              `json:"routers"`
	Presence int              `json:"presence"`
	Edges    int              `json:"edges"`
	Findings []doctor.Finding `json:"findings"`
}

// diagnose looks once, and again while there are findings and patience.
func (a *app) diagnose(ctx context.Context, patience time.Duration) (diagnosis, error) {
	began := time.Now()
	var d diagnosis
	for first := true; ; first = false {
		fleet, err := a.examine(ctx)
		if err != nil {
			return d, err
		}
		findings := doctor.Examine(fleet)
		if !first {
			findings = doctor.Lasting(d.Findings, findings)
		}
		d = diagnosis{len(findings) == 0, len(fleet.Routers), len(fleet.Presence), len(fleet.Edges), append([]doctor.Finding{}, findings...)}
		if d.Healthy || time.Since(began) >= patience {
			return d, nil
		}
		if err := pause(ctx, lookAgain); err != nil {
			return d, fmt.Errorf("look again: %w", err)
		}
	}
}

func (d diagnosis) print(w io.Writer) {
	for i, f := range d.Findings {
		fmt.Fprintf(w, "%d. %s: %s\n", i+1, f.Check, printable(f.Text))
		fmt.Fprintf(w, "   What it means: %s\n", f.Meaning)
		fmt.Fprintf(w, "   What to do:    %s\n\n", f.Do)
	}
	found := "Nothing is wrong"
	if len(d.Findings) > 0 {
		found = counted(len(d.Findings), "finding")
	}
	fmt.Fprintf(w, "%s: looked at %s, %s and %s.\n", found,
		counted(d.Routers, "router"), counted(d.Presence, "presence instance"), counted(d.Edges, "edge"))
}
