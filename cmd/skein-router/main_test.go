package main

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

func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	logs, stderr := io.Pipe()
	done := make(chan error, 1)
	go func() {
		args := []string{"--id", "router-1", "--grpc", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--admin", "127.0.0.1:0"}
		err := run(ctx, args, func(string) string { return "" }, stderr)
		_ = stderr.Close()
		done <- err
	}()
	lines := bufio.NewScanner(logs)
	admin := ""
	for admin == "" && lines.Scan() {
		var line struct{ Msg, Admin string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		admin = line.Admin
	}
	go func() { _, _ = io.Copy(io.Discard, logs) }()
	if !eventually(t, func() bool { return get(t, "http://"+admin+"/readyz") == http.StatusOK }) {
		t.Error("never ready")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func eventually(t *testing.T, ok func() bool) bool {
	t.Helper()
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

func TestBadConfigurationIsExitCode2(t *testing.T) {
	err := run(t.Context(), []string{"--grpc", "x", "--gossip", "0.0.0.0:1", "--nonsense"}, func(string) string { return "" }, io.Discard)
	if conf.ExitCode(err) != 2 {
		t.Fatalf("exit code %d for %v", conf.ExitCode(err), err)
	}
	for _, want := range []string{`"x"`, "gossip-keys", "nonsense"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in\n%s", want, err)
		}
	}
}

func TestHelp(t *testing.T) {
	var out strings.Builder
	err := run(t.Context(), []string{"--help"}, func(string) string { return "" }, &out)
	if !errors.Is(err, conf.ErrHelp) || !strings.Contains(out.String(), "--gossip-keys") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
