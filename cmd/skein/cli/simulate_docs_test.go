package cli

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/services/presence/balance/simulate"
)

// page is what is written about levelling, with figures and pictures of runs.
const page = "../../../docs/rebalancing.md"

// figures finds a row of a table that has the flags of a run in its second cell.
var figures = regexp.MustCompile("(?m)^(\\| [^|]+ \\| `(--[^`]+)` \\|)(.*)$")

// drawn finds a command that draws a picture of the page.
var drawn = regexp.MustCompile(`(?m)^skein (rebalance simulate .*) --plot docs/(images/\S+\.svg)$`)

// TestDocsHaveTheFiguresOfTheSimulator runs what the page says. Figures may be
// off by 5 %, so that a change of the planner that changes nothing for operators
// needs no new page; SKEIN_UPDATE=1 writes those of now.
func TestDocsHaveTheFiguresOfTheSimulator(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	updated := figures.ReplaceAllStringFunc(string(text), func(row string) string {
		rows++
		parts := figures.FindStringSubmatch(row)
		now := cells(simulated(t, strings.Fields(parts[2])...))
		if os.Getenv("SKEIN_UPDATE") == "" && !similar(parts[3], now) {
			t.Errorf("%s: the page says %s, a run %s (SKEIN_UPDATE=1 writes it)", parts[2], parts[3], now)
		}
		return parts[1] + now
	})
	if rows < 10 {
		t.Errorf("found %d rows with figures", rows)
	}
	if os.Getenv("SKEIN_UPDATE") != "" {
		if err := os.WriteFile(page, []byte(updated), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func simulated(t *testing.T, flags ...string) *simulate.Result {
	t.Helper()
	got := skein(t, nil, "", append([]string{"rebalance", "simulate", "-o", "json"}, flags...)...)
	var r simulate.Result
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatalf("%v: %v: %s", flags, err, got.stderr)
	}
	return &r
}

// cells are the figures of a run as the page shows them.
func cells(r *simulate.Result) string {
	level := "never"
	if after, ok := r.LevelAfter(); ok {
		level = fmt.Sprintf("%.0f s", after.Seconds())
	}
	return fmt.Sprintf(" %d | %.2f | %.2f | %.2f | %d | %s | %.2f to %.2f |",
		r.Moved+r.Drained+r.Lost, r.Ratio, r.PerClient, r.Peak, r.Arrivals, level, r.Least, r.Fullest)
}

var number = regexp.MustCompile(`[0-9.]+`)

// similar reports whether two rows say the same, give or take 5 %.
func similar(a, b string) bool {
	if number.ReplaceAllString(a, "N") != number.ReplaceAllString(b, "N") {
		return false
	}
	all := number.FindAllString(b, -1)
	for i, text := range number.FindAllString(a, -1) {
		was, err := strconv.ParseFloat(text, 64)
		is, err2 := strconv.ParseFloat(all[i], 64)
		if err != nil || err2 != nil || math.Abs(was-is) > 0.05*max(was, is)+0.02 {
			return false
		}
	}
	return true
}

// TestDocsShowThePicturesOfTheSimulator draws the pictures again. That they are
// alike to the last digit depends on the processor, so only what stands in them is
// compared; SKEIN_UPDATE=1 writes them.
func TestDocsShowThePicturesOfTheSimulator(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	commands := drawn.FindAllStringSubmatch(string(text), -1)
	if len(commands) < 5 {
		t.Errorf("found %d commands that draw", len(commands))
	}
	words := regexp.MustCompile(`>[^<>]*[a-z][^<>]*</text>`)
	for _, c := range commands {
		path := filepath.Join(filepath.Dir(page), c[2])
		if os.Getenv("SKEIN_UPDATE") == "" {
			path = filepath.Join(t.TempDir(), "new.svg")
		}
		if got := skein(t, nil, "", append(strings.Fields(c[1]), "--plot", path)...); got.code != 0 {
			t.Errorf("%s: exit %d: %s", c[1], got.code, got.stderr)
			continue
		}
		now, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		shown, err := os.ReadFile(filepath.Join(filepath.Dir(page), c[2]))
		if err != nil {
			t.Fatal(err)
		}
		if a, b := fmt.Sprint(words.FindAllString(string(shown), -1)), fmt.Sprint(words.FindAllString(string(now), -1)); a != b {
			t.Errorf("%s shows %s, a run %s (SKEIN_UPDATE=1 draws it)", c[2], a, b)
		}
		if !strings.Contains(string(text), "]("+c[2]+")") {
			t.Errorf("%s is drawn and not shown", c[2])
		}
	}
}
