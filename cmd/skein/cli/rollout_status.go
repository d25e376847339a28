package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

func (a *app) rolloutStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how far the rollout is, or without one which versions run",
		Long: "Shows how many connections each group has. If no rollout was ordered it shows how many edges and\n" +
			"connections each version has: how far a rolling restart is.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withFleet(cmd.Context(), func(c fleetClient) error { return a.rolloutStatus(cmd.Context(), c) })
		},
	}
}

// part is the edges that have something in common.
type part struct {
	Name        string `json:"name"`
	Edges       int    `json:"edges"`
	Ready       int    `json:"ready"`
	Draining    int    `json:"draining"`
	Connections uint64 `json:"connections"`
	Moved       uint64 `json:"moved"` // since the edges started
}

// parts divides the edges, sorted by what they have in common.
func parts(edges []*presencev1.Edge, by func(*presencev1.Edge) string) []part {
	all := map[string]part{}
	for _, e := range edges {
		p := all[by(e)]
		p.Name = by(e)
		p.Edges++
		switch e.GetState() { //nolint:exhaustive // the others are neither
		case presencev1.EdgeState_EDGE_STATE_READY:
			p.Ready++
		case presencev1.EdgeState_EDGE_STATE_DRAINING:
			p.Draining++
		}
		p.Connections += e.GetConnections()
		p.Moved += e.GetMoved()
		all[by(e)] = p
	}
	return slices.SortedFunc(maps.Values(all), func(a, b part) int { return cmp.Compare(a.Name, b.Name) })
}

func (a *app) rolloutStatus(ctx context.Context, c fleetClient) error {
	edges, err := a.edges(ctx, c)
	if err != nil {
		return err
	}
	status, err := a.status(ctx, c)
	if err != nil {
		return err
	}
	orders, groups, versions := newOrders(status.GetOrders()), parts(edges, (*presencev1.Edge).GetGroup), parts(edges, (*presencev1.Edge).GetVersion)
	if a.common.json() {
		return printJSON(a.Stdout, map[string]any{"rollout": orders.Rollout, "groups": groups, "versions": versions})
	}
	title, shown := "version", versions
	if orders.Rollout == nil {
		fmt.Fprintln(a.Stdout, "No rollout was ordered.")
	} else {
		var t tracker
		fmt.Fprintln(a.Stdout, t.look(edges, status, time.Now()).line)
		title, shown = "group", groups
	}
	total, rows := uint64(0), [][]any{}
	for _, p := range shown {
		total += p.Connections
	}
	for _, p := range shown {
		rows = append(rows, []any{
			printable(cmp.Or(p.Name, "(none)")), p.Edges, p.Ready, p.Draining, p.Connections,
			fmt.Sprintf("%.0f%%", 100*float64(p.Connections)/float64(max(total, 1))),
		})
	}
	fmt.Fprintln(a.Stdout)
	printOr(a.Stdout, "No edge reports.", []string{title, "edges", "ready", "draining", "connections", "share"}, rows)
	return nil
}

// watchRollout looks at the rollout that was ordered. It is done, too, when
// another is ordered.
func (a *app) watchRollout(ctx context.Context, c fleetClient, t *tracker) (look, error) {
	edges, err := a.edges(ctx, c)
	if err != nil {
		return look{}, err
	}
	status, err := a.status(ctx, c)
	if err != nil {
		return look{}, err
	}
	orders := newOrders(status.GetOrders())
	switch r := orders.Rollout; {
	case orders.Seq < t.seq: // another instance took the order, a moment ago
		return look{line: "The planner has not heard of it yet.", view: orders}, nil
	case r == nil || r.From != t.rollout.GetFrom() || r.To != t.rollout.GetTo():
		return look{line: "Ordered since by somebody else: " + orders.String(), view: orders, done: true}, nil
	}
	return t.look(edges, status, time.Now()), nil
}

// rolledView is how far a rollout is, in JSON output.
type rolledView struct {
	rolloutView

	Moved   uint64   `json:"moved"`  // since the first look
	There   uint64   `json:"there"`  // connections of the new group
	Left    uint64   `json:"left"`   // of the old one
	OnWay   uint64   `json:"on_way"` // who was moved and is not back yet, or gone
	PerSec  float64  `json:"moves_per_second"`
	Seconds *float64 `json:"seconds_left"` // null if nobody moves
	Gates   []string `json:"gates"`
}

// tracker remembers what a rollout looked like, to tell how fast it is.
type tracker struct {
	rollout     *presencev1.Rollout // that was ordered, nil to look at any
	seq         uint64              // of that order
	first, last *part               // of the group that is emptied
	at          time.Time
	rate        float64
	total       uint64 // most connections that both groups had in one look
	empty       int    // looks in a row that showed nobody there
}

// look looks at a rollout.
func (t *tracker) look(edges []*presencev1.Edge, s *presencev1.Status, now time.Time) look {
	r := newOrders(s.GetOrders()).Rollout
	from, to := part{}, part{}
	for _, p := range parts(edges, (*presencev1.Edge).GetGroup) {
		switch p.Name {
		case r.From:
			from = p
		case r.To:
			to = p
		}
	}
	t.see(from, now)
	view := rolledView{rolloutView: *r, There: to.Connections, Left: from.Connections, PerSec: t.rate, Gates: []string{}}
	t.total = max(t.total, from.Connections+to.Connections)
	view.OnWay = t.total - from.Connections - to.Connections
	if from.Moved > t.first.Moved {
		view.Moved = from.Moved - t.first.Moved
	}
	if t.rate > 0 {
		left := float64(from.Connections) / t.rate
		view.Seconds = &left
	}
	for _, g := range s.GetGates() {
		view.Gates = append(view.Gates, g.GetName())
	}
	return look{line: view.line(), view: view, done: t.emptied(from)}
}

// emptied says whether the group has lost all its connections: its edges say so,
// or there are none any more.
func (t *tracker) emptied(from part) bool {
	if from.Connections > 0 {
		t.empty = 0
		return false
	}
	t.empty++
	return from.Edges > 0 && from.Edges >= t.first.Edges || t.empty >= settled
}

// see measures how fast a group loses connections. Edges report each second.
func (t *tracker) see(from part, now time.Time) {
	switch {
	case t.first == nil:
		t.first, t.last, t.at = &from, &from, now
	case from.Moved != t.last.Moved || now.Sub(t.at) >= 2*time.Second:
		if took := now.Sub(t.at).Seconds(); took > 0 {
			t.rate = max(0, float64(from.Moved)-float64(t.last.Moved)) / took
		}
		t.last, t.at = &from, now
	}
}

// barWidth is how many characters the progress bar has.
const barWidth = 20

// line is the progress bar of a rollout and what belongs to it.
func (v rolledView) line() string {
	if v.Left == 0 {
		return fmt.Sprintf("%s has no connections left, %s has %d. Take it back with: skein rollout abort", v.From, v.To, v.There)
	}
	share := float64(v.There+v.OnWay) / float64(v.There+v.OnWay+v.Left)
	filled := int(share * barWidth)
	done := fmt.Sprintf("%d moved", v.Moved)
	if v.Moved == 0 { // as far as this command has seen
		done = fmt.Sprintf("%d there", v.There)
	}
	text := fmt.Sprintf("%s to %s [%s%s] %3.0f%%  %s, %d left", v.From, v.To,
		strings.Repeat("#", filled), strings.Repeat("-", barWidth-filled), 100*share, done, v.Left)
	switch {
	case v.Paused:
		return text + ", held: skein rollout resume"
	case v.Seconds != nil:
		text += fmt.Sprintf(", %.0f/s, about %s", v.PerSec, roughly(*v.Seconds))
	default:
		text += ", at most " + perSecond(v.Rate)
	}
	if len(v.Gates) > 0 {
		text += ", waits for: " + strings.Join(v.Gates, ", ")
	}
	return text
}
