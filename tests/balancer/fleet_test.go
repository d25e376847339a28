//go:build e2e

package balancer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/tests/process"
)

// plan is what a fleet begins with.
type plan struct {
	presence                              int
	routerFlags, presenceFlags, edgeFlags []string
}

// fleet is 3 routers, presence instances and edges. Its methods belong to the
// test's goroutine.
type fleet struct {
	plan

	routers  []string // their gRPC addresses
	gossip   []string
	presence []*presence
	edges    []*edge
}

// presence is one presence instance.
type presence struct {
	*process.Process
	conn *grpc.ClientConn
}

// edge is one edge at an address of its own.
type edge struct {
	*process.Process
	host string
}

// start starts routers and presence, and no edge.
func (p plan) start(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{plan: p, gossip: process.Addresses(t, 3)}
	var routers []*process.Process
	for i, own := range f.gossip {
		a := process.Addresses(t, 2)
		seeds := slices.DeleteFunc(slices.Clone(f.gossip), func(seed string) bool { return seed == own })
		r := start(t, fmt.Sprintf("router-%d", i+1), "skein-router", a[1], append(member(a[0], own, a[1], seeds), p.routerFlags...))
		routers, f.routers = append(routers, r), append(f.routers, a[0])
	}
	for _, r := range routers {
		r.AwaitReady(t)
	}
	for i := range p.presenceCount() {
		a := process.Addresses(t, 3)
		args := append(member(a[0], a[1], a[2], f.gossip), p.presenceFlags...)
		instance := &presence{Process: start(t, fmt.Sprintf("presence-%d", i+1), "skein-presence", a[2], args)}
		conn, err := grpc.NewClient("passthrough:///"+a[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		instance.conn = conn
		f.presence = append(f.presence, instance)
		instance.AwaitReady(t)
	}
	return f
}

func (p plan) presenceCount() int { return max(1, p.presence) }

func member(grpc, gossip, admin string, join []string) []string {
	return []string{"--grpc", grpc, "--gossip", gossip, "--admin", admin, "--join", strings.Join(join, ",")}
}

func start(t *testing.T, id, binary, admin string, args []string) *process.Process {
	t.Helper()
	p := process.New(t, id, process.Built(t, binary), admin, append([]string{"--id", id}, args...)...)
	p.Launch(t)
	return p
}

// newEdge prepares an edge; [process.Process.Start] starts it.
func (f *fleet) newEdge(t *testing.T) *edge {
	t.Helper()
	return f.newEdgeOf(t, process.Built(t, "skein-edge"))
}

// newEdgeOf prepares an edge of another program.
func (f *fleet) newEdgeOf(t *testing.T, program string) *edge {
	t.Helper()
	e := &edge{host: newHost()}
	id := fmt.Sprintf("edge-%d", len(f.edges)+1)
	args := []string{
		"--id", id, "--listen", e.host + ":" + clientPort, "--admin", e.host + ":" + adminPort, "--agent", e.host + ":" + agentPort,
		"--routers", strings.Join(f.routers, ","),
	}
	e.Process = process.New(t, id, program, e.host+":"+adminPort, append(args, f.edgeFlags...)...)
	f.edges = append(f.edges, e)
	return e
}

// startEdges prepares and starts some.
func (f *fleet) startEdges(t *testing.T, n int) {
	t.Helper()
	for range n {
		f.newEdge(t).Launch(t)
	}
	for _, e := range f.edges {
		e.AwaitReady(t)
	}
}

// hosts are the addresses of the edges so far.
func (f *fleet) hosts() (list []string) {
	for _, e := range f.edges {
		list = append(list, e.host)
	}
	return list
}

// look asks the first presence instance that answers for the fleet.
func (f *fleet) look(t *testing.T) *presencev1.Fleet {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var problem error
	for _, p := range f.presence {
		answer, err := presencev1.NewFleetServiceClient(p.conn).List(ctx, &presencev1.ListRequest{})
		if err == nil {
			return answer.GetFleet()
		}
		problem = err
	}
	t.Fatalf("no presence instance answers: %v", problem)
	return nil
}

// counts are the connections of each edge, as presence tells them.
func (f *fleet) counts(t *testing.T) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for _, e := range f.look(t).GetEdges() {
		counts[e.GetId()] = int(e.GetConnections())
	}
	return counts
}

// awaitConnections waits until presence knows of so many.
func (f *fleet) awaitConnections(t *testing.T, n int) {
	t.Helper()
	process.Eventually(t, patience, fmt.Sprintf("%d connections are known", n), func() bool {
		return f.look(t).GetConnections() == uint64(n)
	})
}
