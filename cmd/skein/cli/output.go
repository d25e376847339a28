package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// printJSON writes v as indented JSON.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// printTable writes rows below a header, without borders, numbers to the right.
func printTable(w io.Writer, header []string, rows [][]any) {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatUpper
	t.SetStyle(style)
	head := table.Row{}
	for _, h := range header {
		head = append(head, h)
	}
	t.AppendHeader(head)
	for _, r := range rows {
		t.AppendRow(r)
	}
	for line := range strings.Lines(t.Render() + "\n") {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// ago says for how long a process of the given incarnation runs, which is when
// it started in milliseconds.
func ago(incarnation uint64, now time.Time) string {
	d := now.Sub(time.UnixMilli(int64(incarnation))) //nolint:gosec // a time
	if incarnation == 0 || d < 0 || d > 20*365*24*time.Hour {
		return "-" // not a time
	}
	return span(d)
}

// span is a duration that is not negative, in two units at most.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// view is the hash of a view as people compare it.
func view(hash uint64) string { return fmt.Sprintf("%016x", hash) }

// words turns an enum value such as STATE_READY into "ready".
func words(value fmt.Stringer, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(value.String(), prefix))
}

// counted is a number with its noun, in the right number.
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// printable keeps what users sent from steering the terminal: control
// characters become question marks.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
