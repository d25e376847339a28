//go:build e2e

package balancer

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/skein-mesh/skein/tests/process"
)

// How often a client may be moved by a rolling update, on average (the least is
// 1: every edge ends), and how many clients one edge may have.
const (
	mostReconnects = 1.05
	mostOnOne      = 1.10 // of the average
)

// nextVersion builds an edge that says it is of another version.
func nextVersion(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "skein-edge")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path,
		"-ldflags", "-X github.com/skein-mesh/skein/pkg/version.Version=next", "./cmd/skein-edge")
	build.Dir, build.Env = process.Root(), append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// TestRollingUpdate replaces every edge, as a Deployment with maxSurge 1 and
// maxUnavailable 0 does: a new one comes, then an old one goes.
func TestRollingUpdate(t *testing.T) {
	const clients, edges = 1500, 3
	program := nextVersion(t)
	f := plan{presenceFlags: levelling(arrivals), edgeFlags: []string{"--drain-delay=4s"}}.start(t)
	f.startEdges(t, edges)
	for range edges {
		f.newEdgeOf(t, program)
	}
	lb := haproxy(t, "http.cfg", f.hosts())
	lb.awaitWeights(t, "100", "100", "100")
	s := newSwarm(t, lb.listen, clients)
	f.awaitConnections(t, clients)

	peak := 0
	for i, old := range f.edges[:edges] {
		next := f.edges[edges+i]
		next.Start(t)
		process.Eventually(t, patience, "presence and HAProxy know "+next.ID, func() bool {
			_, known := f.counts(t)[next.ID]
			return known && lb.servers(t)[next.ID].status == "UP"
		})
		old.Stop(t)
		s.settle(t, clients)
		f.awaitConnections(t, clients)
		for _, count := range f.counts(t) {
			peak = max(peak, count)
		}
		t.Logf("%s has replaced %s: %v, %d reconnects so far", next.ID, old.ID, f.counts(t), s.tally().connects-clients)
	}
	f.awaitNoPlan(t)
	s.settle(t, clients)
	reconnects := float64(s.tally().connects-clients) / clients
	load := float64(peak) * edges / clients
	t.Logf("%.3f reconnects for each client, at most %.2f of the average on one edge", reconnects, load)
	if reconnects > mostReconnects || load > mostOnOne {
		t.Errorf("asked for are %.2f reconnects and %.2f of the average, at most", mostReconnects, mostOnOne)
	}
	s.nobodyRefused(t)
	s.closedOnly(t, closedForRestart)
}
