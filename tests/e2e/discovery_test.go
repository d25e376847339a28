//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

// directory is a folder with the files that say where routers are.
type directory struct{ folder string }

// set replaces both files at once, as a deploy does.
func (d directory) set(t *testing.T, gossip, grpc []string) {
	t.Helper()
	for name, addresses := range map[string][]string{"gossip": gossip, "grpc": grpc} {
		path := filepath.Join(d.folder, name)
		text := "# written by a test\n" + strings.Join(addresses, "\n") + "\n"
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}

func (d directory) gossip() string { return "file:" + filepath.Join(d.folder, "gossip") }
func (d directory) grpc() string   { return "file:" + filepath.Join(d.folder, "grpc") }

// startRouters starts three routers that find each other in the directory, which
// names them only once they run.
func (d directory) startRouters(t *testing.T, name string) []*router {
	t.Helper()
	var routers []*router
	var gossip, grpc []string
	for i := range 3 {
		id, a := fmt.Sprintf("%s-%d", name, i+1), process.Addresses(t, 3)
		r := &router{newProcess(t, id, "skein-router", a[2], member(id, a, []string{d.gossip()})...), a[0], plain()}
		routers, grpc, gossip = append(routers, r), append(grpc, a[0]), append(gossip, a[1])
		r.Launch(t)
	}
	d.set(t, gossip, grpc)
	for _, r := range routers {
		r.AwaitReady(t)
	}
	return routers
}

// Every router is killed, and the next generation has other names and other
// ports. Presence and edges are told by a file; the sockets stay.
func TestAllRoutersComeBackAtOtherPorts(t *testing.T) {
	d := directory{t.TempDir()}
	routers := d.startRouters(t, "first")
	a := process.Addresses(t, 3)
	presence := &presence{newProcess(t, "presence-1", "skein-presence", a[2], member("presence-1", a, []string{d.gossip()})...), a[0]}
	presence.Start(t)
	var edges []*edge
	for _, id := range []string{"edge-a", "edge-b"} {
		a := process.Addresses(t, 3)
		e := &edge{newProcess(t, id, "skein-edge", a[1], "--id", id, "--listen", a[0], "--admin", a[1], "--agent", a[2], "--routers", d.grpc()), a[0], nil}
		edges = append(edges, e)
		e.Start(t)
	}
	got := &inbox{}
	subscriber, publisher := connect(t, edges[0], got.take), connect(t, edges[1], nil)
	subscriber.join(t, "room:1")
	publisher.join(t, "room:1")
	got.await(t, publisher, subscriber, "before")

	for _, r := range routers {
		r.Kill(t)
	}
	again := d.startRouters(t, "second")
	began := time.Now()
	got.await(t, publisher, subscriber, "after")
	t.Logf("delivered again %s after the new routers were ready", time.Since(began).Round(time.Millisecond))
	for _, e := range edges {
		e.AwaitReady(t)
	}
	at := []string{"members", "--router", again[0].grpc, "--presence", presence.grpc}
	process.Eventually(t, 20*time.Second, "presence and edges are members", func() bool {
		out, _, _ := run(t, "skein", at...)
		return !slices.ContainsFunc([]string{"second-1", "second-2", "second-3", "presence-1", "edge-a", "edge-b"}, func(id string) bool {
			return !strings.Contains(out, id)
		}) && !strings.Contains(out, "first-")
	})
	subscriber.stays(t, "the subscriber")
	publisher.stays(t, "the publisher")
}

// inbox counts what came, by event.
type inbox struct {
	mu   sync.Mutex
	came map[string]int
}

func (i *inbox) take(m message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.came == nil {
		i.came = map[string]int{}
	}
	i.came[m.Event]++
}

func (i *inbox) count(event string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.came[event]
}

// await pushes until one arrives. Both join again after an error, as phoenix.js
// does.
func (i *inbox) await(t *testing.T, from, to *client, event string) {
	t.Helper()
	failed := 0
	process.Eventually(t, 30*time.Second, event+" arrives", func() bool {
		if n := i.count("phx_error"); n > failed {
			failed = n
			_ = to.push("room:1", "phx_join", struct{}{}) // refused as long as there is no owner
		}
		if from.push("room:1", event, struct{}{}) != nil {
			_ = from.push("room:1", "phx_join", struct{}{})
		}
		return i.count(event) > 0
	})
}

// Each mistake is reported at the start, with exit code 2.
func TestBadStrategiesAreRefused(t *testing.T) {
	for _, program := range [][]string{
		{"skein-router", "join"}, {"skein-presence", "join"}, {"skein-edge", "routers"},
	} {
		name, option := program[0], program[1]
		_, stderr, code := run(t, name, "--"+option, "a,file:,dns:_x.b", "--"+option, "kubernetes:a=b:http,exec:", "--discovery-interval", "1ms")
		if code != 2 {
			t.Errorf("%s ended with status %d", name, code)
		}
		contains(t, stderr, option+`: "a" is not host:port`, option+": file: ", option+": dns: ", option+": kubernetes: ", "discovery-interval: ")
		_, stderr, code = run(t, name, "--"+option, "exec: ")
		if code != 2 {
			t.Errorf("%s ended with status %d", name, code)
		}
		contains(t, stderr, option+": exec: ")
	}
}
