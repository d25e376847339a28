//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/tests/process"
)

// fleet is routers, edges and a presence instance.
type fleet struct {
	routers  []*router
	edges    []*edge
	presence *presence
}

type router struct {
	*process.Process
	grpc string
	dial []grpc.DialOption // how backends connect
}

type presence struct {
	*process.Process
	grpc string
}

type edge struct {
	*process.Process
	listen string
	tls    *tls.Config // how clients connect; nil for plain TCP
}

// plan is what a fleet is made of.
type plan struct {
	routers, edges         int
	routerFlags, edgeFlags []string
	flags                  func(id string) []string // of each process; may be nil
}

// startFleet starts 3 routers and 2 edges, which get the flags.
func startFleet(t *testing.T, edgeFlags ...string) *fleet {
	t.Helper()
	return plan{routers: 3, edges: 2, edgeFlags: edgeFlags}.start(t)
}

// start starts a fleet that ends with the test.
func (p plan) start(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{}
	if p.flags == nil {
		p.flags = func(string) []string { return nil }
	}
	// Every router knows all seeds, so that each may be restarted.
	gossip := process.Addresses(t, p.routers)
	for i, own := range gossip {
		id := fmt.Sprintf("router-%d", i+1)
		a := process.Addresses(t, 2)
		seeds := slices.DeleteFunc(slices.Clone(gossip), func(seed string) bool { return seed == own })
		args := slices.Concat(member(id, []string{a[0], own, a[1]}, seeds), p.routerFlags, p.flags(id))
		r := &router{newProcess(t, id, "skein-router", a[1], args...), a[0], plain()}
		f.routers = append(f.routers, r)
		r.Launch(t)
	}
	for _, r := range f.routers {
		r.AwaitReady(t)
	}
	a := process.Addresses(t, 3)
	f.presence = &presence{newProcess(t, "presence-1", "skein-presence", a[2], append(member("presence-1", a, gossip), p.flags("presence-1")...)...), a[0]}
	f.presence.Start(t)
	for _, id := range []string{"edge-a", "edge-b"}[:p.edges] {
		a := process.Addresses(t, 3)
		args := []string{"--id", id, "--listen", a[0], "--admin", a[1], "--agent", a[2], "--routers", strings.Join(f.grpc(), ","), "--drain-delay", "100ms"}
		e := &edge{newProcess(t, id, "skein-edge", a[1], slices.Concat(args, p.edgeFlags, p.flags(id))...), a[0], nil}
		f.edges = append(f.edges, e)
		e.Start(t)
	}
	return f
}

func member(id string, addresses, join []string) []string {
	return []string{"--id", id, "--grpc", addresses[0], "--gossip", addresses[1], "--admin", addresses[2], "--join", strings.Join(join, ",")}
}

// grpc returns the addresses of the routers.
func (f *fleet) grpc() []string {
	var list []string
	for _, r := range f.routers {
		list = append(list, r.grpc)
	}
	return list
}

// plain is how backends connect without TLS.
func plain() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
}

// client returns a backend's client of one router.
func (r *router) client(t *testing.T) routerv1.RouterServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+r.grpc, r.dial...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return routerv1.NewRouterServiceClient(conn)
}

// owner finds the router that owns a topic.
func (f *fleet) owner(t *testing.T, topic string) *router {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	info, err := f.routers[0].client(t).TopicInfo(ctx, &routerv1.TopicInfoRequest{Topic: topic})
	if err != nil {
		t.Fatalf("who owns %s: %v", topic, err)
	}
	for _, r := range f.routers {
		if r.ID == info.GetOwner() {
			return r
		}
	}
	t.Fatalf("%s is owned by %q, which is no router of this fleet", topic, info.GetOwner())
	return nil
}

// ownedBy finds n topics that begin with a prefix and belong to a router.
func (f *fleet) ownedBy(t *testing.T, r *router, prefix string, n int) []string {
	t.Helper()
	var topics []string
	for i := range 1000 {
		if len(topics) == n {
			return topics
		}
		if topic := fmt.Sprintf("%s-%d", prefix, i); f.owner(t, topic) == r {
			topics = append(topics, topic)
		}
	}
	t.Fatalf("%s owns hardly a topic", r.ID)
	return nil
}
