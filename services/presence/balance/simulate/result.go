package simulate

import (
	"strings"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Result is what a run came to.
type Result struct {
	Scenario string `json:"scenario"`
	Strategy string `json:"strategy"`
	Policy   string `json:"policy"`
	Clients  int    `json:"clients"` // as the run began

	Minimum int     `json:"minimum"` // closes without which nobody could have done it
	Moved   int     `json:"moved"`   // closed to level
	Drained int     `json:"drained"` // closed because their edge stopped
	Lost    int     `json:"lost"`    // ended because their edge died
	Ratio   float64 `json:"ratio"`   // moved, drained and lost, divided by minimum; 0 without a minimum

	PerClient float64 `json:"per_client"` // moved, drained and lost, divided by clients
	Most      int     `json:"most"`       // of one client
	Refused   int     `json:"refused"`    // attempts to connect that no edge took
	NotBack   int     `json:"not_back"`   // clients that were closed and are not connected at the end

	Peak     float64  `json:"peak"`          // highest load of an edge after the first event, as a multiple of the average
	Arrivals int      `json:"arrivals"`      // most connections that one edge took in a second
	Level    *float64 `json:"level_seconds"` // from the last event until all edges were, and stayed, within 5 %; null for never
	Least    float64  `json:"least"`         // load of the emptiest edge at the end, as a multiple of its share
	Fullest  float64  `json:"fullest"`       // load of the fullest edge at the end
	Seconds  float64  `json:"seconds"`       // simulated

	Plans  []Plan  `json:"plans"`
	Events []Event `json:"events"`
	Series Series  `json:"series"`
}

// Plan is one that a planner carried out.
type Plan struct {
	Trigger   string  `json:"trigger"`
	Reason    string  `json:"reason"`
	Began     float64 `json:"began"` // in seconds of the run
	Ended     float64 `json:"ended"` // 0 if it did not
	Predicted uint64  `json:"predicted"`
	Moved     uint64  `json:"moved"`
	Outcome   string  `json:"outcome"`
}

// Event is something that happened.
type Event struct {
	At   float64 `json:"at"` // in seconds of the run
	What string  `json:"what"`
}

// Series is how many connections each edge had, each second.
type Series struct {
	Edges  []string `json:"edges"`
	Counts [][]int  `json:"counts"` // for each second from 0, of each edge
	Marks  []Event  `json:"marks"`  // what the scenario did
}

// add takes down the connections of all edges.
func (s *Series) add(w *world) {
	counts := make([]int, 0, len(w.edges))
	for i, e := range w.edges {
		if i >= len(s.Edges) {
			s.Edges = append(s.Edges, e.id)
			for j := range s.Counts {
				s.Counts[j] = append(s.Counts[j], 0)
			}
		}
		counts = append(counts, e.count)
	}
	s.Counts = append(s.Counts, counts)
}

func (w *world) result(s strategy) *Result {
	t, o := &w.tally, &w.options
	closes := t.moved + t.drained + t.lost
	r := &Result{
		Scenario: o.Scenario, Strategy: o.Strategy, Policy: o.Policy, Clients: t.began,
		Minimum: t.minimum, Moved: t.moved, Drained: t.drained, Lost: t.lost,
		Ratio: ratio(closes, t.minimum), PerClient: ratio(closes, t.began),
		Most: t.most, Refused: t.refused, NotBack: t.never, Peak: t.peak, Arrivals: t.arrivals,
		Seconds: w.now.Seconds(), Events: t.events, Series: t.series,
	}
	for _, a := range w.away {
		if !a.client.left {
			r.NotBack++
		}
	}
	if t.levelSince >= 0 {
		seconds := max(0, t.levelSince-t.lastEvent).Seconds()
		r.Level = &seconds
	}
	edges := w.serving()
	for i, share := range shares(edges, connected(edges)) {
		load := ratio(edges[i].count, share)
		if i == 0 || load < r.Least {
			r.Least = load
		}
		r.Fullest = max(r.Fullest, load)
	}
	if p := planned(s); p != nil {
		r.Plans = plans(p.history())
	}
	return r
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func plans(records []*presencev1.Record) []Plan {
	var all []Plan
	for _, r := range records {
		p := Plan{
			Trigger: strings.ToLower(strings.TrimPrefix(r.GetTrigger().String(), "TRIGGER_")), Reason: r.GetReason(),
			Began: r.GetBegan().AsTime().Sub(epoch()).Seconds(), Predicted: r.GetPredicted(), Moved: r.GetMoved(), Outcome: r.GetOutcome(),
		}
		if r.GetEnded() != nil {
			p.Ended = r.GetEnded().AsTime().Sub(epoch()).Seconds()
		}
		all = append(all, p)
	}
	return all
}

func phaseName(p presencev1.Phase) string {
	return strings.ToLower(strings.TrimPrefix(p.String(), "PHASE_"))
}

// last is what happened last.
func (t *tally) last() string {
	if len(t.events) == 0 {
		return ""
	}
	return t.events[len(t.events)-1].What
}

// LevelAfter is [Result.Level] as a duration; false for never.
func (r *Result) LevelAfter() (time.Duration, bool) {
	if r.Level == nil {
		return 0, false
	}
	return time.Duration(*r.Level * float64(time.Second)), true
}
