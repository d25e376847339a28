//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
	"github.com/skein-mesh/skein/tests/wsclient"
)

// at is how the tool finds the fleet.
func (f *fleet) at(args ...string) []string {
	return append(args, "--router", strings.Join(f.grpc(), ","), "--presence", f.presence.grpc)
}

// skein runs the tool against the fleet; it must end with status 0.
func (f *fleet) skein(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := run(t, "skein", f.at(args...)...)
	if code != 0 {
		t.Fatalf("skein %q ended with status %d:\n%s%s", args, code, stdout, stderr)
	}
	return stdout
}

// listed is what skein conns -o json says.
type listed struct {
	Matched     int
	Connections []struct {
		Connection, Transport, Address string
		Channels                       int
	}
}

func TestInspect(t *testing.T) {
	f := startFleet(t)
	member := connect(t, f.edges[1], nil)
	member.join(t, "room:look", "room:other")
	other := connect(t, f.edges[0], nil)
	other.join(t, "room:look")

	var found listed
	decode(t, f.skein(t, "conns", "--topic", "room:other", "-o", "json"), &found)
	if found.Matched != 1 || found.Connections[0].Transport != "websocket" || found.Connections[0].Channels != 2 {
		t.Fatalf("found %+v", found)
	}
	name := found.Connections[0].Connection
	contains(t, name, "edge-b/")
	contains(t, f.skein(t, "conn", name), name, "websocket at /socket", "127.0.0.1", "room:look", "room:other")
	contains(t, f.skein(t, "conns", "--all", "--limit", "1"), "2 connections on 2 edges; shown: 1")
	contains(t, f.skein(t, "conns", "--slow"), "No connection matches on 2 edges")
	if _, stderr, code := run(t, "skein", f.at("conns")...); code != 2 || !strings.Contains(stderr, "say which") {
		t.Errorf("everybody was shown: status %d, %s", code, stderr)
	}
	contains(t, f.skein(t, "trace", "publish", "room:look", "--dry-run"), f.owner(t, "room:look").ID, "reach 2 channels", "edge-a", "edge-b", "row")

	for _, node := range []string{"edge-a", "router-2", "presence-1"} {
		contains(t, f.skein(t, "log-level", node, "debug", "--for", "1h"), node+" logs from level debug until")
		contains(t, f.skein(t, "log-level", node), "debug")
		contains(t, f.skein(t, "log-level", node, "reset"), "from level info.")
	}
	logged(t, f.edges[0].Process, `"msg":"log level changes"`, `"by":"127.0.0.1:`)
	logged(t, f.routers[0].Process, `"msg":"audit"`, "AdminService/Connections", "room:other", `"by":"127.0.0.1:`)
	logged(t, f.presence.Process, `"msg":"audit"`, "AdminService/SetLogLevel")

	contains(t, f.skein(t, "kick", "--connection", name), "Closed 1 connection")
	logged(t, f.routers[0].Process, "RouterService/Disconnect")
	process.Eventually(t, 10*time.Second, "the connection is gone", func() bool {
		_, stderr, code := run(t, "skein", f.at("conn", name)...)
		return code == 1 && strings.Contains(stderr, "it may have ended")
	})
}

// doctor returns the kinds of what is wrong.
func (f *fleet) doctor(t *testing.T) (checks string, code int) {
	t.Helper()
	stdout, stderr, code := run(t, "skein", f.at("doctor", "-o", "json", "--patience", "2s")...)
	var said struct {
		Findings []struct{ Check, Text string }
	}
	if err := json.Unmarshal([]byte(stdout), &said); err != nil {
		t.Fatalf("status %d, %v: %s%s", code, err, stdout, stderr)
	}
	for _, finding := range said.Findings {
		checks += finding.Check + " "
		t.Log(finding.Text)
	}
	return strings.TrimSpace(checks), code
}

func TestDoctor(t *testing.T) {
	f := startFleet(t)
	eventually := func(want string, wantCode int) {
		t.Helper()
		process.Eventually(t, time.Minute, fmt.Sprintf("doctor finds %q", want), func() bool {
			checks, code := f.doctor(t)
			return checks == want && code == wantCode
		})
	}
	eventually("", 0)
	contains(t, f.skein(t, "doctor"), "Nothing is wrong: looked at 3 routers, 1 presence instance and 2 edges.")
	f.skein(t, "rebalance", "pause")
	eventually("paused-rebalancing", 1)
	f.skein(t, "rebalance", "resume")
	eventually("", 0)
	var all []*wsclient.Conn
	for range 200 { // nobody asks for weights, and it shows
		all = append(all, f.edges[0].dial(t))
	}
	eventually("ignored-hints", 1)
	for _, conn := range all {
		_ = conn.Close()
	}
	eventually("", 0)
	f.presence.Stop(t)
	eventually("no-planner", 1)
}
