package cli

import (
	"strings"
	"testing"
)

func TestProgress(t *testing.T) {
	looks := []look{{line: "one\x07", view: 1}, {line: "one\x07", view: 1}, {line: "a longer one", view: "<2>"}}
	for name, c := range map[string]struct {
		json  bool
		width int
		want  string
	}{
		"lines":           {false, 0, "one?\na longer one\nthe end\n"},
		"terminal":        {false, 80, "\r\x1b[Kone?\r\x1b[Ka longer one\nthe end\n"},
		"narrow terminal": {false, 7, "\r\x1b[Kone?\r\x1b[Ka lon…\nthe end\n"},
		"json":            {true, 80, "1\n\"<2>\"\n"},
	} {
		var out strings.Builder
		p := progress{out: &out, json: c.json, width: c.width}
		for _, l := range looks {
			p.show(l)
		}
		p.end("the end")
		if got := out.String(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
