package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/services/presence/balance/simulate"
)

func TestSimulate(t *testing.T) {
	got := skein(t, nil, "", "rebalance", "simulate", "--strategy", "half", "--clients", "1000")
	if got.code != 0 || got.stderr != "" {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	compare(t, "simulate.txt", got.stdout)
}

func TestSimulateSaysWhatThePlannerDoes(t *testing.T) {
	got := skein(t, nil, "", "rebalance", "simulate")
	for _, want := range []string{"1 joined", "steering", "moving", "1.00 to 1.0"} {
		if got.code != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("exit %d, no %q in %s%s", got.code, want, got.stdout, got.stderr)
		}
	}
}

func TestSimulateJSON(t *testing.T) {
	var one simulate.Result
	got := skein(t, nil, "", "rebalance", "simulate", "-o", "json", "--clients", "500", "--scenario", "kill")
	if err := json.Unmarshal([]byte(got.stdout), &one); err != nil || one.Clients != 2000 || len(one.Series.Counts) == 0 {
		t.Errorf("%v: %s%s", err, got.stdout, got.stderr)
	}
	var all []simulate.Result
	got = skein(t, nil, "", "rebalance", "simulate", "-o", "json", "--clients", "500", "--compare")
	if err := json.Unmarshal([]byte(got.stdout), &all); err != nil || len(all) != len(simulate.Strategies())+1 {
		t.Errorf("%v: %d runs: %s", err, len(all), got.stderr)
	}
}

func TestSimulateDraws(t *testing.T) {
	path := filepath.Join(t.TempDir(), "add.svg")
	got := skein(t, nil, "", "rebalance", "simulate", "--clients", "500", "--plot", path)
	picture, err := os.ReadFile(path)
	if got.code != 0 || err != nil || !strings.Contains(string(picture), "1 joined") {
		t.Errorf("exit %d, %v: %s", got.code, err, got.stderr)
	}
	got = skein(t, nil, "", "rebalance", "simulate", "--clients", "500", "--plot", filepath.Join(path, "no.svg"))
	if got.code != exitFailed || !strings.Contains(got.stderr, "write the picture") {
		t.Errorf("to a place that is none: exit %d: %s", got.code, got.stderr)
	}
}

func TestSimulateRefusesWhatItCannotDo(t *testing.T) {
	for _, args := range [][]string{
		{"--scenario", "flood"},
		{"--edges", "0"},
		{"--connections", "1,x"},
		{"--compare", "--plot", "x.svg"},
		{"roll"},
	} {
		if got := skein(t, nil, "", append([]string{"rebalance", "simulate"}, args...)...); got.code != exitUsage || got.stderr == "" {
			t.Errorf("%v: exit %d: %s", args, got.code, got.stderr)
		}
	}
}
