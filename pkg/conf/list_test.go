package conf

import (
	"io"
	"slices"
	"strings"
	"testing"
)

// stanzas is a list whose items stand between semicolons.
type stanzas []string

func (stanzas) Split(text string) []string { return strings.Split(text, ";") }

type poem struct {
	Lines stanzas `conf:"lines" usage:"what it says"`
}

func (*poem) Validate() error { return nil }

func TestListCutsItself(t *testing.T) {
	want := []string{"roses, red", "violets"}
	for name, source := range map[string]Source{
		"one flag":    {Args: []string{"--lines", "roses, red; violets"}},
		"two flags":   {Args: []string{"--lines=roses, red", "--lines=violets"}},
		"environment": {Getenv: getenv("SKEIN_LINES=roses, red;violets;")},
		"default":     {},
	} {
		source.Stderr = io.Discard
		if source.Getenv == nil {
			source.Getenv = getenv()
		}
		cfg := &poem{Lines: stanzas{"roses, red", "violets"}}
		if err := Load(cfg, source); err != nil || !slices.Equal(cfg.Lines, want) {
			t.Errorf("%s: %q, %v", name, cfg.Lines, err)
		}
	}
	if got := YAML(&poem{Lines: want}); !strings.Contains(got, `lines: ["roses, red", "violets"]`) {
		t.Errorf("got %s", got)
	}
	got, bad := readYAML(strings.NewReader("lines: ['roses, red', violets]\n"), "x.yaml", options(&poem{}))
	if len(bad) > 0 || !slices.Equal(got[0].value.Interface().(stanzas), want) {
		t.Errorf("%v %v", got, bad)
	}
}
