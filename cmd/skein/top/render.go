package top

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// theme is how parts of the view look; the zero value is plain text.
type theme struct {
	title, dim, good, bad, spark lipgloss.Style
}

// colours follow the terminal's own palette, so they fit light and dark ones.
func colours() theme {
	style := lipgloss.NewStyle
	return theme{
		title: style().Bold(true),
		dim:   style().Faint(true),
		good:  style().Foreground(lipgloss.Color("2")),
		bad:   style().Foreground(lipgloss.Color("1")).Bold(true),
		spark: style().Foreground(lipgloss.Color("6")),
	}
}

// screen says what the terminal and its user want to see.
type screen struct {
	width, height int // height 0 shows everything
	skip          int // edges scrolled past
	busiest       bool
	theme         theme
}

// column is one column of the edge table. Narrow terminals leave out those with
// the largest level first.
type column struct {
	title string
	width int
	left  bool
	level int
	text  func(*edge) string
}

func columns() []column {
	return []column{
		{"EDGE", 14, true, 0, func(e *edge) string { return e.last.GetId() }},
		{"STATE", 8, true, 3, func(e *edge) string { return state(e.last) }},
		{"CONNS", 6, false, 0, func(e *edge) string { return thousands(float64(e.last.GetConnections())) }},
		{"CHANNELS", 8, false, 2, func(e *edge) string { return thousands(float64(e.last.GetChannels())) }},
		{"WGHT", 4, false, 2, func(e *edge) string { return weight(e.last) }},
		{"CPU", 4, false, 1, func(e *edge) string { return fmt.Sprintf("%.0f%%", 100*e.last.GetCpu()) }},
		{"MEMORY", 8, false, 2, func(e *edge) string { return bytes(e.last.GetMemory()) }},
		{"IN/S", 6, false, 1, func(e *edge) string { return thousands(e.in.now()) }},
		{"OUT/S", 6, false, 0, func(e *edge) string { return thousands(e.out.now()) }},
		{"GROUP", 8, true, 4, func(e *edge) string { return e.last.GetGroup() }},
		{"VERSION", 12, true, 4, func(e *edge) string { return e.last.GetVersion() }},
	}
}

const (
	gap        = 2  // blanks between columns
	leastSpark = 8  // narrower sparklines say nothing
	mostSpark  = 60 // one for each rate kept
)

// fit chooses the columns for a width and what is left for the sparkline.
func fit(width int) ([]column, int) {
	for level := 4; ; level-- {
		var chosen []column
		used := 0
		for _, c := range columns() {
			if c.level <= level {
				chosen = append(chosen, c)
				used += c.width + gap
			}
		}
		if spark := width - used; spark >= leastSpark || level == 0 {
			return chosen, min(spark, mostSpark)
		}
	}
}

// render draws the whole view as lines no wider than the screen.
func (h *history) render(s screen) string {
	lines := h.head(s)
	chosen, spark := fit(s.width)
	header := make([]string, 0, len(chosen)+1)
	for _, c := range chosen {
		header = append(header, c.cell(c.title))
	}
	if spark >= leastSpark {
		header = append(header, "TREND")
	}
	lines = append(lines, s.theme.dim.Render(cut(strings.Join(header, strings.Repeat(" ", gap)), s.width)))
	edges := h.sorted(s.busiest)
	room := len(edges)
	if s.height > 0 {
		room = max(1, s.height-len(lines)-1) // one for the footer
	}
	skip := min(s.skip, max(0, len(edges)-room))
	shown := edges[skip:min(len(edges), skip+room)]
	for _, e := range shown {
		lines = append(lines, e.line(chosen, spark, s))
	}
	if len(edges) == 0 {
		lines = append(lines, s.theme.dim.Render(cut("No edge reports.", s.width)))
	}
	if s.height > 0 {
		foot := "q quit   s sort   ↑↓ scroll"
		if hidden := len(edges) - len(shown); hidden > 0 {
			foot = fmt.Sprintf("%d of %d edges   %s", len(shown), len(edges), foot)
		}
		lines = append(lines, s.theme.dim.Render(cut(foot, s.width)))
		lines = lines[:min(len(lines), s.height)]
	}
	return strings.Join(lines, "\n")
}

// head is everything above the table.
func (h *history) head(s screen) []string {
	in, out := h.totals()
	edges := "edges"
	if len(h.edges) == 1 {
		edges = "edge"
	}
	line := fmt.Sprintf("skein   %d %s   %s connections   in %s/s   out %s/s",
		len(h.edges), edges, thousands(float64(h.fleet.GetConnections())), thousands(in), thousands(out))
	if !h.at.IsZero() {
		line += h.at.Format("   15:04:05")
	}
	lines := []string{s.theme.title.Render(cut(line, s.width))}
	members := h.memberLine()
	lines = append(lines, cut(members, s.width))
	if h.agreement != "" {
		style := s.theme.good
		if !strings.HasPrefix(h.agreement, "View") {
			style = s.theme.bad
		}
		lines = append(lines, style.Render(cut(h.agreement, s.width)))
	}
	if h.problem != "" {
		lines = append(lines, s.theme.bad.Render(cut(h.problem, s.width)))
	}
	return append(lines, "")
}

// memberLine lists members; only states other than ready are worth a word.
func (h *history) memberLine() string {
	byRole := map[string][]string{}
	for _, m := range h.members {
		text := m.ID
		if m.State != "ready" {
			text += " (" + m.State + ")"
		}
		byRole[m.Role] = append(byRole[m.Role], text)
	}
	part := func(role string) string {
		if len(byRole[role]) == 0 {
			return role + " unknown"
		}
		return role + " " + strings.Join(byRole[role], ", ")
	}
	line := part("routers") + "   " + part("presence")
	if elected := h.fleet.GetElected(); elected != "" {
		line += "   elected " + elected
		if h.phase != "" {
			line += " (" + h.phase + ")"
		}
	}
	return line
}

func (e *edge) line(chosen []column, spark int, s screen) string {
	cells := make([]string, 0, len(chosen))
	for _, c := range chosen {
		cells = append(cells, c.cell(c.text(e)))
	}
	line := strings.Join(cells, strings.Repeat(" ", gap))
	if spark < leastSpark {
		return strings.TrimRight(cut(line, s.width), " ")
	}
	line += strings.Repeat(" ", gap)
	return line + s.theme.spark.Render(sparkline(e.out, spark-gap))
}

// cell pads or cuts text to the width of the column.
func (c column) cell(text string) string {
	text = cut(text, c.width)
	padding := strings.Repeat(" ", c.width-len([]rune(text)))
	if c.left {
		return text + padding
	}
	return padding + text
}

// cut shortens text to a width, with an ellipsis.
func cut(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	if width <= 0 {
		return ""
	}
	return string(runes[:width-1]) + "…"
}

func state(e *presencev1.Edge) string {
	return strings.ToLower(strings.TrimPrefix(e.GetState().String(), "EDGE_STATE_"))
}

// weight is what the edge tells balancers. One of an earlier version tells none.
func weight(e *presencev1.Edge) string {
	if e.GetWeight() == 0 && e.GetState() != presencev1.EdgeState_EDGE_STATE_DRAINING {
		return "-"
	}
	return fmt.Sprintf("%d%%", e.GetWeight())
}

// thousands is a number of at most five characters.
func thousands(v float64) string {
	switch {
	case v >= 10e6:
		return fmt.Sprintf("%.0fM", v/1e6)
	case v >= 1e6:
		return fmt.Sprintf("%.1fM", v/1e6)
	case v >= 100e3:
		return fmt.Sprintf("%.0fk", v/1e3)
	case v >= 10e3:
		return fmt.Sprintf("%.1fk", v/1e3)
	}
	return fmt.Sprintf("%.0f", v)
}

func bytes(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
}
