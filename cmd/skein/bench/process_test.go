package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReadUsage(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"stat":  "42 (odd) name) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 9 0 100 1 2",
		"statm": "9999 10 3 1 0 5 0\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u, err := readUsage(folder)
	if want := (usage{1750 * time.Millisecond, 10 * uint64(os.Getpagesize())}); err != nil || u != want {
		t.Errorf("got %v, %v, want %v", u, err, want)
	}
}

func TestReadUsageFails(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"gone":      {},
		"short":     {"stat": "42 (x) S 1"},
		"letters":   {"stat": "42 (x) S 1 2 3 4 5 6 7 8 9 10 a 25"},
		"no memory": {"stat": "42 (x) S 1 2 3 4 5 6 7 8 9 10 150 25"},
		"bad pages": {"stat": "42 (x) S 1 2 3 4 5 6 7 8 9 10 150 25", "statm": "1 x"},
		"few pages": {"stat": "42 (x) S 1 2 3 4 5 6 7 8 9 10 150 25", "statm": "1"},
	} {
		folder := t.TempDir()
		for file, text := range files {
			if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if u, err := readUsage(folder); err == nil {
			t.Errorf("%s: got %v", name, u)
		}
	}
}

func TestParsePids(t *testing.T) {
	list, err := parsePids([]string{"edge=12", "7"})
	if err != nil || len(list) != 2 || list[0] != (process{"edge", 12}) || list[1] != (process{"", 7}) {
		t.Errorf("got %v, %v", list, err)
	}
	if _, err := parsePids([]string{"a=b", "0", "-1"}); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("got %v, want three problems", err)
	}
}

func TestAccount(t *testing.T) {
	got := account("edge", 1, [2]usage{{time.Second, 1000}, {3 * time.Second, 5000}}, [2]int{1000, 4})
	want := Process{Name: "edge", PID: 1, CPUSeconds: 2, CPUMicrosPerOperation: 2000, RSSBytes: 5000, BytesPerSocket: 1000}
	if got != want {
		t.Errorf("got %+v", got)
	}
	if got := account("edge", 1, [2]usage{}, [2]int{}); got != (Process{Name: "edge", PID: 1}) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestAProcessThatEnds(t *testing.T) {
	w := &watch{processes: []process{{"r3", 999_999_999}}, before: []usage{{}}}
	got := w.stop(1, 1)
	if want := (Process{Name: "r3", PID: 999_999_999, Ended: true}); len(got) != 1 || got[0] != want {
		t.Errorf("got %+v", got)
	}
}
