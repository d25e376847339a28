//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
	"github.com/skein-mesh/skein/tests/wsclient"
)

// TestCommands runs the tool against a live fleet.
func TestCommands(t *testing.T) {
	f := startFleet(t)
	at := []string{"--router", strings.Join(f.grpc(), ","), "--presence", f.presence.grpc}
	skein := func(t *testing.T, args ...string) string {
		t.Helper()
		stdout, stderr, code := run(t, "skein", append(args, at...)...)
		if code != 0 {
			t.Fatalf("skein %q ended with status %d:\n%s%s", args, code, stdout, stderr)
		}
		return stdout
	}
	member := connect(t, f.edges[1], nil)
	member.join(t, "room:cli")

	t.Run("members", func(t *testing.T) {
		contains(t, skein(t, "members"), "router-1", "router-2", "router-3", "presence-1", "edge-a", "edge-b", "3/3")
		var fleet struct {
			Agree   bool `json:"agree"`
			Routers []struct{ State string }
		}
		decode(t, skein(t, "members", "-o", "json"), &fleet)
		if !fleet.Agree || len(fleet.Routers) != 3 || fleet.Routers[0].State != "ready" {
			t.Errorf("got %+v", fleet)
		}
	})
	t.Run("top", func(t *testing.T) {
		process.Eventually(t, 5*time.Second, "presence counts the socket", func() bool {
			return regexp.MustCompile(`edge-b\s+\S*\s*.*\b1\b`).MatchString(skein(t, "top", "--once"))
		})
		contains(t, skein(t, "top", "--once"), "edge-a", "edge-b")
	})
	t.Run("topic", func(t *testing.T) {
		contains(t, skein(t, "topic", "room:cli"), f.owner(t, "room:cli").ID, "edge-b", "row")
		contains(t, skein(t, "topic", "room:nobody"), "Nobody")
	})
	t.Run("tail and publish", func(t *testing.T) { tailSeesPublish(t, f, at, skein) })
	t.Run("publish of nonsense", func(t *testing.T) {
		_, stderr, code := run(t, "skein", append([]string{"publish", "room:cli", "phx_x", "[1]"}, at...)...)
		if code != 2 {
			t.Errorf("status %d, want 2", code)
		}
		contains(t, stderr, "phx_x", "object")
	})
	t.Run("nobody there", func(t *testing.T) {
		_, stderr, code := run(t, "skein", "members", "--router", process.Addresses(t, 1)[0], "--timeout", "1s")
		if code != 1 {
			t.Errorf("status %d, want 1", code)
		}
		contains(t, stderr, "cannot reach a router", "--router")
	})
}

func tailSeesPublish(t *testing.T, f *fleet, at []string, skein func(*testing.T, ...string) string) {
	t.Helper()
	tail := newProcess(t, "tail", "skein", "", append([]string{"tail", "--prefix", "room:", "--count", "2", "-o", "json"}, at...)...)
	tail.Launch(t)
	process.Eventually(t, 10*time.Second, "tail listens", func() bool { return strings.Contains(tail.Output.String(), "Listening") })
	contains(t, skein(t, "publish", "room:cli", "news", `{"from":"the shell"}`), f.owner(t, "room:cli").ID)
	pusher := connect(t, f.edges[0], nil)
	pusher.join(t, "room:other")
	if err := pusher.push("room:other", "said", map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	process.Eventually(t, 10*time.Second, "tail ends", func() bool {
		select {
		case <-tail.Exited:
			return true
		default:
			return false
		}
	})
	contains(t, tail.Output.String(), `"from":"the shell"`, `"topic":"room:other"`, `"event":"said"`)
}

// TestBadFlags wants every problem named at once, and status 2.
func TestBadFlags(t *testing.T) {
	for _, c := range []struct {
		binary string
		args   []string
		want   []string
	}{
		{"skein-edge", []string{"--no-such-flag", "--listen", "nowhere", "--outbox-bytes", "many"}, []string{"no-such-flag", "listen", "outbox-bytes"}},
		{"skein-router", []string{"--grpc", "nowhere", "--gossip", "", "--id", ""}, []string{"grpc", "gossip"}},
		{"skein-presence", []string{"--bogus", "--grpc", "nowhere"}, []string{"bogus", "grpc"}},
		{"skein", []string{"dev", "--listen", "nowhere", "--bogus", "--max-joins", "0"}, []string{"bogus", "listen", "max-joins"}},
		{"skein", []string{"member"}, []string{"member"}},
	} {
		t.Run(c.binary+" "+strings.Join(c.args, " "), func(t *testing.T) {
			_, stderr, code := run(t, c.binary, c.args...)
			if code != 2 {
				t.Errorf("status %d, want 2", code)
			}
			contains(t, stderr, c.want...)
		})
	}
	for _, binary := range []string{"skein", "skein-edge", "skein-router", "skein-presence"} {
		if stdout, stderr, code := run(t, binary, "--help"); code != 0 || stdout+stderr == "" {
			t.Errorf("%s --help: status %d, output %q", binary, code, stdout+stderr)
		}
	}
}

// TestDev starts everything in one process, looks at the page and ends it with
// ctrl-C.
func TestDev(t *testing.T) {
	listen := process.Addresses(t, 1)[0]
	dev := newProcess(t, "dev", "skein", "", "dev", "--listen", listen)
	dev.Launch(t)
	var page string
	process.Eventually(t, 30*time.Second, "the page is served", func() bool {
		body, ok := get(t, "http://"+listen+"/")
		page = body
		return ok
	})
	contains(t, page, "<title>Skein</title>", "/assets/")
	asset := regexp.MustCompile(`/assets/[^"]+\.js`).FindString(page)
	if script, ok := get(t, "http://"+listen+asset); !ok || !strings.Contains(script, "phx_join") {
		t.Errorf("the script %q is not served", asset)
	}
	info, _ := get(t, "http://"+listen+"/demo.json")
	var about struct{ Edge, Version string }
	decode(t, info, &about)
	if about.Edge == "" || about.Version == "" {
		t.Errorf("demo.json says %s", info)
	}

	e := &edge{dev, listen}
	heard := make(chan message, 1)
	bob := connect(t, e, func(m message) { heard <- m })
	bob.join(t, "room:dev")
	alice := connect(t, e, nil)
	alice.join(t, "room:dev")
	if err := alice.push("room:dev", "hi", map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-heard:
		if m.Event != "hi" {
			t.Errorf("heard %+v", m)
		}
	case <-time.After(5 * time.Second):
		t.Error("bob heard nothing")
	}
	if code := dev.Signal(t, syscall.SIGINT); code != 0 {
		t.Errorf("ctrl-C ended skein dev with status %d", code)
	}
	within(t, 5*time.Second, "bob's socket ends", func() { <-bob.gone })
	if end := (wsclient.ClosedError{}); errors.As(bob.err(), &end) && end.Code == 1000 {
		t.Error("ctrl-C closed a socket with 1000, from which old clients never return")
	}
}

// TestASecondSignalEndsAtOnce sends SIGTERM twice.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	f := startFleet(t)
	p := f.routers[0].Process
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	p.Signal(t, syscall.SIGTERM)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
}

func get(t *testing.T, url string) (body string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return "", false
	}
	defer response.Body.Close() // read
	text, err := io.ReadAll(response.Body)
	return string(text), err == nil && response.StatusCode == http.StatusOK
}

func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}
