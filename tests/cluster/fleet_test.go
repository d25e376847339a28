package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/clustertest"
	"github.com/skein-mesh/skein/pkg/cluster/serf"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/ring"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/services/edge"
	"github.com/skein-mesh/skein/services/presence"
	"github.com/skein-mesh/skein/services/presence/balance"
	"github.com/skein-mesh/skein/services/router"
)

// TestMain opens and closes a socket outside of any bubble first: the web
// server below starts a clock for the whole process at its first connection.
func TestMain(m *testing.M) {
	if err := warmUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func warmUp() error {
	n := newNetwork(0)
	cfg := edge.Default()
	cfg.Delay, cfg.Routers = 0, []string{"127.0.0.1:1"}
	e, err := edge.New(cfg, edge.Deps{
		Clients: n.listen("10.0.0.1:4000"), Dial: n.dialer("10.0.0.1"), Usage: noUsage, Telemetry: telemetry.Nop(),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	c, err := n.dial(ctx, "10.9.9.9", "10.0.0.1:4000")
	if err != nil {
		return err
	}
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return err
	}
	c.Close()
	cancel()
	return <-done
}

func noUsage() (time.Duration, uint64, error) { return 0, 0, nil }

// dialer is the Dial of a process on a host.
func (n *network) dialer(host string) func(string) (*grpc.ClientConn, error) {
	return func(address string) (*grpc.ClientConn, error) {
		return rpc.Dial("passthrough:///"+address, grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return n.dial(ctx, host, address)
		}))
	}
}

// fleet is every process of one test.
type fleet struct {
	t        *testing.T
	network  *network
	gossip   *clustertest.Network
	size     size
	started  int
	hosts    int              // of edges so far
	delay    time.Duration    // from SIGTERM to the first socket that an edge closes
	planning balance.Settings // of presence instances
	routers  []*routerNode
	clients  []*client

	mu       sync.Mutex // guards the fields below, for those that are not the test
	edges    []*edgeNode
	presence []*presenceNode
}

// process is one node of the fleet.
type process struct {
	host   string
	cancel context.CancelFunc
	done   chan error
}

type routerNode struct {
	process
	*router.Router
	id     string
	grpc   string
	gossip *clustertest.Transport
	member *serf.Serf
}

type edgeNode struct {
	process
	*edge.Edge
	id      string
	clients string // address
	agent   string // address
}

type presenceNode struct {
	process
	id     string
	grpc   string // address
	gossip *clustertest.Transport
	member *serf.Serf
}

// size of a fleet.
type size struct {
	edges, routers, presence int
	seed                     uint64 // of latencies and losses
	directory                bool   // members and edges ask a directory where routers are, instead of knowing names

	planning *balance.Settings // of presence instances; nil for the defaults
	delay    time.Duration     // from SIGTERM to the first socket that an edge closes
}

// run starts a fleet in a bubble, waits until it is ready and runs f. Whatever
// runs at the end is stopped.
func run(t *testing.T, s size, f func(*fleet)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		c := &fleet{
			t: t, network: newNetwork(s.seed), size: s,
			planning: balance.Default(),
			gossip:   clustertest.NewNetwork(clustertest.Options{Loss: 0.02, Delay: time.Millisecond, Seed: s.seed}),
		}
		if c.delay = s.delay; s.planning != nil {
			c.planning = *s.planning
		}
		defer time.Sleep(time.Minute) // virtual time: serf does not wait for its goroutines
		defer c.network.end()
		defer c.stop()
		for i := range s.routers {
			c.addRouter(fmt.Sprint("r", i+1))
		}
		for range s.presence {
			c.addPresence()
		}
		c.settled(s.routers)
		for i := range s.edges {
			c.addEdge(fmt.Sprint("e", i+1))
		}
		for _, e := range c.edges {
			e.awaitReady(t)
		}
		f(c)
	})
}

// start runs components as one process.
func (c *fleet) start(host string, components ...lifecycle.Component) process {
	ctx, cancel := context.WithCancel(context.Background())
	p := process{host: host, cancel: cancel, done: make(chan error, 1)}
	go func() { p.done <- lifecycle.Run(ctx, components...) }()
	return p
}

// end stops a process as SIGTERM does, and waits.
func (p process) end(t *testing.T) {
	t.Helper()
	p.cancel()
	if err := <-p.done; err != nil {
		t.Error(err)
	}
	p.done <- nil
}

func (c *fleet) stop() {
	for _, cl := range c.clients {
		cl.stop()
	}
	for _, e := range c.edges {
		e.end(c.t)
	}
	for _, p := range c.presence {
		p.end(c.t)
	}
	for _, r := range slices.Backward(c.routers) {
		r.end(c.t)
	}
}

// incarnation is later for each process that starts.
func (c *fleet) incarnation() uint64 {
	c.started++
	return uint64(c.started)
}

func (c *fleet) join() (seeds []string) {
	for _, r := range c.routers {
		seeds = append(seeds, r.gossip.Address())
	}
	return seeds
}

// membership attaches a new host to the gossip.
func (c *fleet) membership(id string, role cluster.Role, port int) (*serf.Serf, *clustertest.Transport, string) {
	c.t.Helper()
	host := c.gossip.Listen()
	address := net.JoinHostPort(host.Host(), fmt.Sprint(port))
	settings := serf.DefaultSettings(7946)
	settings.Join = c.join()
	m, err := serf.New(serf.Config{
		Settings: settings, Log: telemetry.Nop().Log, Meter: telemetry.Nop().Meter, Transport: host, Seeds: c.directory("7946"),
		Self: cluster.Member{
			ID: id, Incarnation: c.incarnation(), Role: role, State: cluster.StateJoining, Address: address, Version: "test",
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return m, host, address
}

func (c *fleet) addRouter(id string) *routerNode {
	c.t.Helper()
	m, host, address := c.membership(id, cluster.RoleRouter, 5000)
	r, err := router.New(router.Default(), router.Deps{
		Listener: c.network.listen(address), Membership: m, Joined: m.Joined, Dial: c.network.dialer(host.Host()), Telemetry: telemetry.Nop(),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	node := &routerNode{process: c.start(host.Host(), m, r), Router: r, id: id, grpc: address, gossip: host, member: m}
	c.routers = append(c.routers, node)
	c.name()
	return node
}

func (c *fleet) addPresence() *presenceNode {
	c.t.Helper()
	id := "p" + fmt.Sprint(c.started)
	m, host, address := c.membership(id, cluster.RolePresence, 6000)
	cfg := presence.Default()
	cfg.Settings = c.planning
	p, err := presence.New(cfg, presence.Deps{
		Listener: c.network.listen(address), Membership: m, Joined: m.Joined, Dial: c.network.dialer(host.Host()), Telemetry: telemetry.Nop(),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	node := &presenceNode{process: c.start(host.Host(), m, p), id: id, grpc: address, gossip: host, member: m}
	c.presence = append(c.presence, node)
	return node
}

func (e *edgeNode) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, 15*time.Second, "edge ready", func() bool { return e.Ready() == nil })
}

// settled waits until n routers are ready and know each other.
func (c *fleet) settled(n int) {
	c.t.Helper()
	eventually(c.t, 30*time.Second, fmt.Sprint(n, " routers ready"), func() bool {
		for _, r := range c.routers {
			ready := 0
			for _, m := range r.member.Members() {
				if m.Role == cluster.RoleRouter && m.State == cluster.StateReady {
					ready++
				}
			}
			if ready != n {
				return false
			}
		}
		return true
	})
	time.Sleep(time.Second) // virtual time: edges and links follow
}

// adopted waits until every edge adopted a view of n routers.
func (c *fleet) adopted(n int) {
	c.t.Helper()
	eventually(c.t, 30*time.Second, fmt.Sprint("views of ", n, " routers"), func() bool {
		for _, e := range c.edges {
			if len(e.View().Members()) != n || e.Ready() != nil {
				return false
			}
		}
		return true
	})
}

// kill ends a router as kill -9 does: its streams break at once, and nobody
// hears of its end.
func (c *fleet) kill(r *routerNode) {
	c.t.Helper()
	c.gossip.Isolate(r.gossip)
	c.network.kill(r.host)
	for _, other := range c.routers {
		if other != r {
			c.network.cut(r.host, other.host, true)
		}
	}
	c.forget(r)
	r.cancel()
	c.t.Cleanup(func() { <-r.done })
}

// forget takes a router off the list of those that run.
func (c *fleet) forget(r *routerNode) {
	c.routers = slices.DeleteFunc(c.routers, func(o *routerNode) bool { return o == r })
	c.name()
}

func (c *fleet) name() {
	var addresses []string
	for _, r := range c.routers {
		addresses = append(addresses, r.grpc)
	}
	c.network.name(addresses)
}

// restart drains a router and starts its next life on another host.
func (c *fleet) restart(r *routerNode) *routerNode {
	c.t.Helper()
	r.end(c.t)
	c.forget(r)
	return c.addRouter(r.id)
}

// owner is the router that owns a topic while all that run are ready.
func (c *fleet) owner(topic string) *routerNode {
	var members []ring.Member
	for _, r := range c.routers {
		members = append(members, ring.Member{ID: r.id, Incarnation: 1})
	}
	id := ring.New(members...).Owner(topic)
	for _, r := range c.routers {
		if r.id == id {
			return r
		}
	}
	c.t.Fatal("no owner")
	return nil
}

// partition cuts some routers off from the others.
func (c *fleet) partition(minority []*routerNode, yes bool) {
	for _, a := range minority {
		for _, b := range c.routers {
			if slices.Contains(minority, b) {
				continue
			}
			c.network.cut(a.host, b.host, yes)
			if yes {
				c.gossip.Cut([]*clustertest.Transport{a.gossip}, []*clustertest.Transport{b.gossip})
			} else {
				c.gossip.Heal([]*clustertest.Transport{a.gossip}, []*clustertest.Transport{b.gossip})
			}
		}
	}
}
