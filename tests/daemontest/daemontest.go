// Package daemontest tests the program of a daemon from its arguments to its
// end.
package daemontest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/conf"
)

// Program is what a main calls with its arguments, environment and standard
// error.
type Program func(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) error

// Test starts run on free ports, stops it, and gives it bad arguments.
func Test(t *testing.T, run Program) {
	t.Run("starts and stops", func(t *testing.T) { startsAndStops(t, run) })
	t.Run("bad configuration is exit code 2", func(t *testing.T) { refusesBadConfiguration(t, run) })
	t.Run("help", func(t *testing.T) { helps(t, run) })
}

func none(string) string { return "" }

func startsAndStops(t *testing.T, run Program) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	logs, stderr := io.Pipe()
	done := make(chan error, 1)
	go func() {
		args := []string{"--id", "one", "--grpc", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--admin", "127.0.0.1:0"}
		err := run(ctx, args, none, stderr)
		_ = stderr.Close() // of a pipe, it cannot fail
		done <- err
	}()
	lines := bufio.NewScanner(logs)
	admin := ""
	for admin == "" && lines.Scan() {
		var line struct {
			Admin string `json:"admin"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		admin = line.Admin
	}
	go func() { _, _ = io.Copy(io.Discard, logs) }()
	if !eventually(func() bool { return get(t, "http://"+admin+"/readyz") == http.StatusOK }) {
		t.Error("never ready")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close() // it is not read
	return resp.StatusCode
}

func eventually(ok func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(10 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
	return true
}

func refusesBadConfiguration(t *testing.T, run Program) {
	err := run(t.Context(), []string{"--grpc", "x", "--gossip", "0.0.0.0:1", "--nonsense"}, none, io.Discard)
	if conf.ExitCode(err) != 2 {
		t.Fatalf("exit code %d for %v", conf.ExitCode(err), err)
	}
	for _, want := range []string{`"x"`, "gossip-keys", "nonsense"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in\n%s", want, err)
		}
	}
}

func helps(t *testing.T, run Program) {
	var out strings.Builder
	err := run(t.Context(), []string{"--help"}, none, &out)
	if !errors.Is(err, conf.ErrHelp) || !strings.Contains(out.String(), "--gossip-keys") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
