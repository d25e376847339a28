package router_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/services/router"
)

const httpTime = 10 * time.Second // for what takes a moment

// serveHTTP runs a router with an HTTP port until the test ends, and returns the
// address of that port and what stops the router.
func serveHTTP(t *testing.T, security rpc.Security) (address string, stop func()) {
	t.Helper()
	cfg := router.Default()
	cfg.HTTP = "127.0.0.1:0"
	listener, err := cfg.ListenHTTP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	member := cluster.NewRegistry().Member(cluster.Member{
		ID: "r1", Incarnation: 1, Role: cluster.RoleRouter, State: cluster.StateJoining, Address: "r1", Version: "test",
	})
	r, err := router.New(cfg, router.Deps{Listener: bufconn.Listen(1 << 20), HTTP: listener, Membership: member, Security: security, Telemetry: telemetry.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- lifecycle.Run(ctx, member, r) }()
	for tick := time.NewTicker(10 * time.Millisecond); r.Ready() != nil; <-tick.C {
		if t.Context().Err() != nil {
			t.Fatal("never ready")
		}
	}
	return listener.Addr().String(), func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Keys are checked on this way as on the other: with TLS between the services a
// caller over HTTP has no certificate, so that it needs one.
func TestKeysAreCheckedOverHTTP(t *testing.T) {
	var d doors
	address, stop := serveHTTP(t, d.secure(true)(t))
	defer stop()
	for name, want := range map[string]int{
		"": http.StatusUnauthorized, "stranger": http.StatusUnauthorized, "listener": http.StatusForbidden, "publisher": http.StatusOK,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), httpTime)
		body := strings.NewReader(`{"topic": "room:1", "event": "e", "payload": {}}`)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/v1/publish", body)
		if err != nil {
			t.Fatal(err)
		}
		if key, known := d.keys[name]; known {
			req.Header.Set("Authorization", "Bearer "+key)
		} else if name != "" {
			req.Header.Set("Authorization", "Bearer unknown")
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: %s, want %d", name, resp.Status, want)
		}
		cancel()
	}
}

// curls are the commands of a page of docs that call curl.
func curls(t *testing.T, page, address string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "curl ") {
			found = append(found, strings.ReplaceAll(strings.TrimSpace(line), "127.0.0.1:5002", address))
		}
	}
	return found
}

// What docs/backends.md shows works against a real router, and who subscribes
// there hears what is published there.
func TestCurlsOfTheDocs(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatalf("%v: make test installs it", err)
	}
	address, stop := serveHTTP(t, rpc.Security{})
	defer stop()
	commands := curls(t, "../../docs/backends.md", address)
	if len(commands) != 6 {
		t.Fatalf("%d commands: %q", len(commands), commands)
	}
	ctx, cancel := context.WithTimeout(t.Context(), httpTime)
	defer cancel()
	run := func(command string) string {
		t.Helper()
		out, err := exec.CommandContext(ctx, "sh", "-c", command+" -sS --fail-with-body").Output()
		if err != nil || !json.Valid(out) {
			t.Errorf("%s: %v: %s", command, err, out)
		}
		return string(out)
	}
	listening, heard := exec.CommandContext(ctx, "sh", "-c", "exec "+commands[2]+" -sS"), make(chan string, 10)
	lines, err := listening.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := listening.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(heard)
		for scan := bufio.NewScanner(lines); scan.Scan(); {
			heard <- scan.Text()
		}
	}()
	if first := <-heard; !strings.Contains(first, `"subscribed"`) {
		t.Errorf("first heard %s", first)
	}
	if answer := run(commands[0]); !strings.Contains(answer, `"r1"`) {
		t.Errorf("published: %s", answer)
	}
	if second := <-heard; !strings.Contains(second, `"payload":{"text":"from a backend"}`) {
		t.Errorf("then heard %s", second)
	}
	for i, want := range map[int]string{1: `"results"`, 3: `"REASON_SUBSCRIPTION"`, 4: `"connections"`, 5: `"/v1/publish"`} {
		if answer := run(commands[i]); !strings.Contains(answer, want) {
			t.Errorf("%s: %s", commands[i], answer)
		}
	}
	cancel()
	for range heard { // until curl is gone
	}
	_ = listening.Wait() // it was killed
}

// A router that stops ends subscriptions with a reason, and does not wait for who
// reads them.
func TestStoppingEndsHTTPSubscriptions(t *testing.T) {
	address, stop := serveHTTP(t, rpc.Security{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/v1/subscribe?topic=room:1", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if first, err := lines.ReadString('\n'); err != nil || !strings.Contains(first, "subscribed") {
		t.Fatalf("%q, %v", first, err)
	}
	stop()
	last, err := lines.ReadString('\n')
	if err != nil || !strings.Contains(last, `{"error":`) || !strings.Contains(last, "leaving") {
		t.Errorf("last %q, %v", last, err)
	}
	if _, err := lines.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("then %v", err)
	}
}

func TestWhereHTTPMayListen(t *testing.T) {
	for address, good := range map[string]bool{
		"": true, "127.0.0.1:5002": true, "localhost:5002": true, "[::1]:5002": true, "0.0.0.0:5002": false, ":5002": false, "5002": false,
	} {
		cfg := router.Default()
		cfg.HTTP = address
		if err := cfg.Validate(); good != (err == nil) || !good && !strings.HasPrefix(err.Error(), "http: ") {
			t.Errorf("%q: %v", address, err)
		}
		cfg.HTTP, cfg.Insecure = "0.0.0.0:5002", true
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
	}
	busy, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	cfg := router.Default()
	cfg.HTTP = busy.Addr().String()
	if _, err := cfg.ListenHTTP(t.Context()); err == nil || !strings.Contains(err.Error(), "http: ") {
		t.Error(err)
	}
}
