package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

func (a *app) historyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "history",
		Short: "List the last plans: why they were made, and what they came to",
		Long: "Lists the plans of the elected presence instance, latest first, at most 100. Another instance that is\n" +
			"elected begins a new list.",
		Example: "  skein rebalance history -o json | jq '.[0].after'",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withFleet(cmd.Context(), func(c fleetClient) error {
				records, err := a.history(cmd.Context(), c)
				switch {
				case err != nil:
					return err
				case a.common.json():
					return printJSON(a.Stdout, records)
				}
				a.printHistory(records)
				return nil
			})
		},
	}
}

// recordView is a plan that was carried out, or is being so, in JSON output.
type recordView struct {
	Number    uint64      `json:"number"`
	Trigger   string      `json:"trigger"`
	Reason    string      `json:"reason"`
	Began     time.Time   `json:"began"`
	Seconds   float64     `json:"seconds"` // until its end, or until now
	Predicted uint64      `json:"predicted"`
	Moved     uint64      `json:"moved"`
	Outcome   string      `json:"outcome"` // "" while it goes on
	Before    []shareView `json:"before"`
	After     []shareView `json:"after"`
}

func newRecord(r *presencev1.Record, now time.Time) recordView {
	if r.GetEnded() != nil {
		now = r.GetEnded().AsTime()
	}
	began := r.GetBegan().AsTime()
	return recordView{
		Number: r.GetNumber(), Trigger: words(r.GetTrigger(), "TRIGGER_"), Reason: r.GetReason(),
		Began: began, Seconds: max(now.Sub(began).Seconds(), 0), Predicted: r.GetPredicted(), Moved: r.GetMoved(),
		Outcome: r.GetOutcome(), Before: newShares(r.GetBefore()), After: newShares(r.GetAfter()),
	}
}

// String says the record in one line.
func (r recordView) String() string {
	text := fmt.Sprintf("plan %d moved %d of %d in %s", r.Number, r.Moved, r.Predicted, roughly(r.Seconds))
	if r.Outcome != "" {
		text += ": " + r.Outcome
	}
	return text
}

// history asks for the plans so far.
func (a *app) history(ctx context.Context, c fleetClient) ([]recordView, error) {
	resp, err := ask(ctx, a, func(ctx context.Context) (*presencev1.HistoryResponse, error) {
		return c.History(ctx, &presencev1.HistoryRequest{})
	})
	if err != nil {
		return nil, fmt.Errorf("ask %s for the plans so far: %w", c.target, plain(err))
	}
	records := make([]recordView, 0, len(resp.GetRecords()))
	for _, r := range resp.GetRecords() {
		records = append(records, newRecord(r, time.Now()))
	}
	return records, nil
}

func (a *app) printHistory(records []recordView) {
	rows := [][]any{}
	for _, r := range records {
		rows = append(rows, []any{
			r.Number, r.Began.Local().Format(time.DateTime), roughly(r.Seconds), r.Trigger, r.Predicted, r.Moved,
			printable(r.Reason), printable(r.Outcome),
		})
	}
	printOr(a.Stdout, "No plan so far.", []string{"plan", "began", "took", "trigger", "predicted", "moved", "reason", "outcome"}, rows)
}
