package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// planView is a plan in JSON output.
type planView struct {
	Needed  bool        `json:"needed"` // worth it by itself
	Trigger string      `json:"trigger"`
	Reason  string      `json:"reason"`
	Moves   uint64      `json:"moves"`
	Rate    float64     `json:"rate"` // moves in a second
	Seconds float64     `json:"seconds"`
	Edges   []shareView `json:"edges"`
	Gates   []gateView  `json:"gates"` // that are shut
}

type shareView struct {
	Edge        string `json:"edge"`
	Group       string `json:"group"`
	Version     string `json:"version"`
	State       string `json:"state"`
	Connections uint64 `json:"connections"`
	Target      uint64 `json:"target"`
	Moves       uint64 `json:"moves"`
	Weight      uint32 `json:"weight"`    // that balancers should be told, in percent
	Published   uint32 `json:"published"` // that they are told now
	Reason      string `json:"reason"`
}

type gateView struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

func newPlan(p *presencev1.Plan, gates []*presencev1.Gate) planView {
	return planView{
		Needed: p.GetNeeded(), Trigger: words(p.GetTrigger(), "TRIGGER_"), Reason: p.GetReason(), Moves: p.GetMoves(), Rate: p.GetRate(),
		Seconds: float64(p.GetDurationMs()) / 1000, Edges: newShares(p.GetShares()), Gates: newGates(gates),
	}
}

func newShares(shares []*presencev1.Share) []shareView {
	views := make([]shareView, 0, len(shares))
	for _, s := range shares {
		views = append(views, shareView{
			s.GetEdge(), s.GetGroup(), s.GetVersion(), words(s.GetState(), "EDGE_STATE_"),
			s.GetConnections(), s.GetTarget(), s.GetMoves(), s.GetWeight(), s.GetPublished(), s.GetReason(),
		})
	}
	return views
}

func newGates(gates []*presencev1.Gate) []gateView {
	views := make([]gateView, 0, len(gates))
	for _, g := range gates {
		views = append(views, gateView{g.GetName(), g.GetReason()})
	}
	return views
}

// ordersView is what operators want, in JSON output.
type ordersView struct {
	Seq      uint64       `json:"seq"`
	Instance string       `json:"instance"`
	Paused   bool         `json:"paused"`
	Rollout  *rolloutView `json:"rollout"`
	Drains   []string     `json:"drains"`
}

type rolloutView struct {
	From   string  `json:"from"`
	To     string  `json:"to"`
	Rate   float64 `json:"rate"`
	Paused bool    `json:"paused"`
}

func newOrders(o *presencev1.Orders) ordersView {
	view := ordersView{Seq: o.GetSeq(), Instance: o.GetInstance(), Paused: o.GetPaused(), Drains: []string{}}
	if r := o.GetRollout(); r != nil {
		view.Rollout = &rolloutView{r.GetFrom(), r.GetTo(), r.GetRate(), r.GetPaused()}
	}
	for _, d := range o.GetDrains() {
		view.Drains = append(view.Drains, d.GetEdge())
	}
	return view
}

// String says the orders in one line.
func (o ordersView) String() string {
	var parts []string
	if o.Paused {
		parts = append(parts, "paused")
	}
	if o.Rollout != nil {
		parts = append(parts, o.Rollout.String())
	}
	if len(o.Drains) > 0 {
		parts = append(parts, "drain "+strings.Join(o.Drains, ", "))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, "; ")
}

// String says the rollout in a few words.
func (r rolloutView) String() string {
	text := fmt.Sprintf("rollout from %s to %s at %s", r.From, r.To, perSecond(r.Rate))
	if r.Paused {
		text += ", held"
	}
	return text
}

func perSecond(rate float64) string { return strconv.FormatFloat(rate, 'f', -1, 64) + "/s" }

// roughly is a duration that may be a part of a second.
func roughly(s float64) string {
	return span(time.Duration(s * float64(time.Second)).Round(time.Second))
}

// print writes the plan as a table and what it comes to.
func (p planView) print(w io.Writer) {
	printShares(w, p.Edges)
	total := uint64(0)
	for _, e := range p.Edges {
		total += e.Connections
	}
	switch {
	case p.Moves == 0:
		fmt.Fprintf(w, "\nNothing to move: %s.\n", p.reason("the fleet is level"))
	case p.Needed:
		fmt.Fprintf(w, "\n%d of %d connections to move, in about %s at %s: %s.\n",
			p.Moves, total, roughly(p.Seconds), perSecond(p.rounded()), p.reason(p.Trigger))
	default:
		fmt.Fprintf(w, "\n%d of %d connections to move, in about %s at %s: too few to be worth it (%s).\n"+
			"Move them all the same with: skein rebalance apply\n",
			p.Moves, total, roughly(p.Seconds), perSecond(p.rounded()), p.reason(p.Trigger))
	}
	printGates(w, p.Gates)
}

func (p planView) rounded() float64 { return float64(int(p.Rate*10+0.5)) / 10 }

func (p planView) reason(otherwise string) string {
	if p.Reason == "" {
		return otherwise
	}
	return p.Reason
}

func printShares(w io.Writer, shares []shareView) {
	grouped := false
	for _, s := range shares {
		grouped = grouped || s.Group != ""
	}
	header := []string{"edge", "state", "connections", "target", "moves", "weight", "told", "reason"}
	if grouped {
		header = append([]string{"group"}, header...)
	}
	rows := [][]any{}
	for _, s := range shares {
		row := []any{s.Edge, s.State, s.Connections, s.Target, s.Moves, percent(s.Weight), percent(s.Published), printable(s.Reason)}
		if grouped {
			row = append([]any{s.Group}, row...)
		}
		rows = append(rows, row)
	}
	printOr(w, "No edge reports.", header, rows)
}

func percent(weight uint32) string { return fmt.Sprintf("%d%%", weight) }

func printGates(w io.Writer, gates []gateView) {
	if len(gates) == 0 {
		return
	}
	fmt.Fprintln(w, "\nNobody is moved while a gate is shut:")
	for _, g := range gates {
		fmt.Fprintf(w, "  %-10s  %s\n", g.Name, printable(g.Reason))
	}
}
