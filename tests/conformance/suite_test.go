package conformance

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/tests/process"
)

// groups are the subtests: the rules of Phoenix's wire protocol, then what has
// no rule of its own.
var groups = []struct{ id, title string }{
	{"R1", "replies"},
	{"R2", "pushes and broadcasts"},
	{"R3", "heartbeat"},
	{"R4", "phx_close and phx_error"},
	{"R5", "unmatched topic"},
	{"R6", "leave without join"},
	{"R7", "leave"},
	{"R8", "duplicate join"},
	{"R9", "leave then join"},
	{"R10", "stale join_ref"},
	{"R11", "channel exit"},
	{"R12", "join crash"},
	{"R13", "joins one at a time"},
	{"R14", "too many channels"},
	{"R15", "what does not decode"},
	{"R16", "wrong JSON types"},
	{"R17", "binary frames"},
	{"R18", "idle timeout"},
	{"R19", "echo of a close"},
	{"R20", "too big"},
	{"R21", "handshake"},
	{"R22", "long-poll"},
	{"R23", "disconnect"},
	{"R24", "presence"},
	{"R25", "compression"},
	{"R26", "broadcast before reply"},
	{"R27", "long-poll and binary"},
	{"WS", "websocket framing"},
	{"V1", "serializer 1.0.0"},
	{"F1", "phoenix websocket_channels_test"},
	{"F2", "phoenix long_poll_channels_test"},
}

// TestConformance replays every case. Its verdicts read as a table with -v.
func TestConformance(t *testing.T) {
	all := load(t)
	s := start(t)
	for i, g := range groups {
		name := g.id + "_" + strings.ReplaceAll(g.title, " ", "_")
		if i < 9 {
			name = "R0" + name[1:]
		}
		t.Run(name, func(t *testing.T) {
			for _, c := range all {
				if c.groups[0] == g.id {
					t.Run(c.name(), func(t *testing.T) { s.verdict(t, &c) })
				}
			}
		})
	}
}

func (s *stage) verdict(t *testing.T, c *scenario) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("this is %s in testdata/%s", c.id, c.where)
		}
	}()
	switch {
	case c.unplayed != "":
		t.Skipf("not replayed: %s", c.unplayed)
	case c.differs != "":
		t.Logf("differs on purpose: %s", c.differs)
	}
	s.play(t, c)
}

// TestCasesAreComplete looks for what is missing: every recording that is at
// hand has a case, every rule has one, and each id stands for one case.
func TestCasesAreComplete(t *testing.T) {
	recorded, err := os.ReadFile(filepath.Join("testdata", "recorded.list"))
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{}
	for id := range strings.FieldsSeq(string(recorded)) {
		missing[id] = true
	}
	seen, shown := map[string]string{}, map[string]bool{}
	for _, c := range load(t) {
		if other := seen[c.id]; other != "" {
			t.Errorf("%s stands at %s and at %s", c.id, other, c.where)
		}
		if c.id[0] != 'F' && missing[c.id] == c.derived {
			t.Errorf("%s at %s: a case is derived if and only if it is not in recorded.list", c.id, c.where)
		}
		seen[c.id] = c.where
		delete(missing, c.id)
		shown[c.groups[0]] = true
		for _, g := range c.groups {
			if !slices.ContainsFunc(groups, func(known struct{ id, title string }) bool { return known.id == g }) {
				t.Errorf("%s at %s is about %s, which is no group", c.id, c.where, g)
			}
		}
		if c.unplayed == "" && len(c.steps) == 0 {
			t.Errorf("%s at %s does nothing and does not say why", c.id, c.where)
		}
	}
	for id := range missing {
		t.Errorf("%s was recorded and has no case", id)
	}
	for _, g := range groups {
		if !shown[g.id] {
			t.Errorf("%s has no case", g.id)
		}
	}
}

// TestDifferencesAreDocumented holds the cases that differ, or are not
// replayed, against docs/compatibility.md, which must name each, by itself or
// by its rule.
func TestDifferencesAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(process.Root(), "docs", "compatibility.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range load(t) {
		reason := c.differs + c.unplayed
		if reason == "" {
			continue
		}
		if !regexp.MustCompile(`\b` + regexp.QuoteMeta(c.id) + `\b`).Match(page) {
			t.Errorf("%s is not in docs/compatibility.md: %s", c.id, reason)
		}
	}
}
