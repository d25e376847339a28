package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/client"
	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/services/router"
)

// network is a network in memory, on which routers are names.
type network struct {
	mu        sync.Mutex // guards the fields below
	listeners map[string]*bufconn.Listener
	conns     map[string][]net.Conn // to cut
}

func newNetwork() *network {
	return &network{listeners: map[string]*bufconn.Listener{}, conns: map[string][]net.Conn{}}
}

func (n *network) listen(name string) *bufconn.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[name] = bufconn.Listen(1 << 20)
	return n.listeners[name]
}

func (n *network) dialer() grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, name string) (net.Conn, error) {
		n.mu.Lock()
		listener := n.listeners[name]
		n.mu.Unlock()
		if listener == nil {
			return nil, errors.New("connection refused")
		}
		conn, err := listener.DialContext(ctx)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.conns[name] = append(n.conns[name], conn)
		return conn, nil
	})
}

// cut breaks every connection to a router, and refuses new ones if it is gone.
func (n *network) cut(name string, gone bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if gone {
		delete(n.listeners, name)
	}
	for _, c := range n.conns[name] {
		_ = c.Close() // it may be closed
	}
}

// client returns a client of some names; it is closed by the test.
func (n *network) client(t *testing.T, o client.Options, names ...string) *client.Client {
	t.Helper()
	var addresses []string
	for _, name := range names {
		addresses = append(addresses, "passthrough:///"+name)
	}
	o.Dial = append(o.Dial, n.dialer())
	c, err := client.New(addresses, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fleet is some real routers on a network.
type fleet struct {
	*network

	registry *cluster.Registry
	started  uint64
	nodes    map[string]*node
}

type node struct {
	member *cluster.Local
	cancel context.CancelFunc
	done   chan error
}

func newFleet() *fleet {
	return &fleet{network: newNetwork(), registry: cluster.NewRegistry(), nodes: map[string]*node{}}
}

// start runs a router with an id until stop or kill.
func (f *fleet) start(ctx context.Context, id string) error {
	f.started++
	n := &node{done: make(chan error, 1), member: f.registry.Member(cluster.Member{
		ID: id, Incarnation: f.started, Role: cluster.RoleRouter, State: cluster.StateJoining, Address: id, Version: "test",
	})}
	dial := func(address string) (*grpc.ClientConn, error) { return rpc.Dial("passthrough:///"+address, f.dialer()) }
	r, err := router.New(router.Default(), router.Deps{Listener: f.listen(id), Membership: n.member, Dial: dial, Telemetry: telemetry.Nop()})
	if err != nil {
		return err
	}
	ctx, n.cancel = context.WithCancel(ctx)
	go func() { n.done <- lifecycle.Run(ctx, n.member, r) }()
	f.nodes[id] = n
	return nil
}

// stop ends a router as SIGTERM does.
func (f *fleet) stop(id string) error {
	f.nodes[id].cancel()
	err := <-f.nodes[id].done
	delete(f.nodes, id)
	return err
}

// kill ends a router as kill -9 does.
func (f *fleet) kill(ctx context.Context, id string) {
	f.cut(id, true)
	_ = f.nodes[id].member.Leave(ctx)
	_ = f.stop(id) // it lost everybody
}

// settle lets everything that is under way come to its end.
func settle() { time.Sleep(5 * time.Second) } // virtual time

// inFleet runs a test with the routers r1, r2, ... in virtual time.
func inFleet(t *testing.T, routers int, test func(t *testing.T, f *fleet)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		f := newFleet()
		for i := range routers {
			if err := f.start(t.Context(), fmt.Sprint("r", i+1)); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		test(t, f)
		for id := range f.nodes {
			if err := f.stop(id); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute) // virtual time: gRPC's timers end
	})
}

// fake is a router that answers as it is told.
type fake struct {
	routerv1.UnimplementedRouterServiceServer

	publish   func(context.Context, *routerv1.PublishRequest) (*routerv1.PublishResponse, error)
	batch     func(context.Context, *routerv1.PublishBatchRequest) (*routerv1.PublishBatchResponse, error)
	subscribe func(routerv1.RouterService_SubscribeServer) error
}

func (f *fake) Publish(ctx context.Context, req *routerv1.PublishRequest) (*routerv1.PublishResponse, error) {
	return f.publish(ctx, req)
}

func (f *fake) PublishBatch(ctx context.Context, req *routerv1.PublishBatchRequest) (*routerv1.PublishBatchResponse, error) {
	return f.batch(ctx, req)
}

func (f *fake) Subscribe(_ *routerv1.SubscribeRequest, stream routerv1.RouterService_SubscribeServer) error {
	return f.subscribe(stream)
}

// withFakes runs a test with fakes, by their names, in virtual time.
func withFakes(t *testing.T, fakes map[string]*fake, test func(t *testing.T, n *network)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		n := newNetwork()
		var serving sync.WaitGroup
		var servers []*grpc.Server
		for name, f := range fakes {
			server, listener := grpc.NewServer(), n.listen(name)
			routerv1.RegisterRouterServiceServer(server, f)
			serving.Go(func() { _ = server.Serve(listener) }) // it ends when the server is stopped
			servers = append(servers, server)
		}
		test(t, n)
		for _, s := range servers {
			s.Stop()
		}
		serving.Wait()
		time.Sleep(time.Minute) // virtual time: gRPC's timers end
	})
}
