package router_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/services/router"
	"github.com/skein-mesh/skein/services/router/handlers"
)

// fleet is some routers and edges in one bubble of virtual time.
type fleet struct {
	t        *testing.T
	registry *cluster.Registry
	config   router.Config
	security rpc.Security
	started  uint64
	nodes    []*node

	mu        sync.Mutex // guards the fields below
	listeners map[string]*bufconn.Listener
	conns     map[string][]net.Conn // by address, to cut
}

// node is one router.
type node struct {
	*router.Router

	id     string
	member *cluster.Local
	cancel context.CancelFunc
	done   chan error
	conn   *grpc.ClientConn
	api    routerv1.RouterServiceClient
}

// inFleet runs a test with n routers that are ready.
func inFleet(t *testing.T, n int, test func(t *testing.T, f *fleet)) {
	t.Helper()
	inSecureFleet(t, n, nil, test)
}

// inSecureFleet runs a test with n routers that are ready, protected as secure
// says, which is called inside of the bubble.
func inSecureFleet(t *testing.T, n int, secure func(t *testing.T) rpc.Security, test func(t *testing.T, f *fleet)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		f := &fleet{
			t: t, registry: cluster.NewRegistry(), config: router.Default(),
			listeners: map[string]*bufconn.Listener{}, conns: map[string][]net.Conn{},
		}
		if secure != nil {
			f.security = secure(t)
		}
		for range n {
			f.add()
		}
		f.settle()
		test(t, f)
		for _, r := range slices.Clone(f.nodes) {
			f.stop(r)
		}
		time.Sleep(time.Minute) // virtual time: gRPC's timers end
	})
}

// settle lets everything that is under way come to its end.
func (f *fleet) settle() { time.Sleep(5 * time.Second) } // virtual time

func (f *fleet) add() *node {
	f.t.Helper()
	f.started++
	id := fmt.Sprintf("r%d", f.started)
	listener := bufconn.Listen(1 << 20)
	f.mu.Lock()
	f.listeners[id] = listener
	f.mu.Unlock()
	member := f.registry.Member(cluster.Member{
		ID: id, Incarnation: f.started, Role: cluster.RoleRouter, State: cluster.StateJoining, Address: id, Version: "test",
	})
	r, err := router.New(f.config, router.Deps{Listener: listener, Membership: member, Dial: f.dial, Handlers: f.handlers(), Security: f.security, Telemetry: telemetry.Nop()})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	n := &node{Router: r, id: id, member: member, cancel: cancel, done: make(chan error, 1)}
	go func() { n.done <- lifecycle.Run(ctx, member, r) }()
	n.conn, err = f.dial(id)
	if err != nil {
		f.t.Fatal(err)
	}
	n.api = routerv1.NewRouterServiceClient(n.conn)
	f.nodes = append(f.nodes, n)
	return n
}

func (f *fleet) dial(address string) (*grpc.ClientConn, error) {
	return rpc.Dial("passthrough:///"+address, append(f.security.Client(), f.dialer())...)
}

// handlers dials backends, which listen beside the routers.
func (f *fleet) handlers() func(target string) (*grpc.ClientConn, error) {
	return handlers.Dial(telemetry.Nop(), f.dialer())
}

func (f *fleet) dialer() grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		f.mu.Lock()
		listener := f.listeners[address]
		f.mu.Unlock()
		if listener == nil {
			return nil, errors.New("connection refused")
		}
		conn, err := listener.DialContext(ctx)
		if err != nil {
			return nil, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.conns[address] = append(f.conns[address], conn)
		return conn, nil
	})
}

// stop ends a router as SIGTERM does.
func (f *fleet) stop(n *node) {
	f.t.Helper()
	f.forget(n)
	n.cancel()
	if err := <-n.done; err != nil {
		f.t.Error(err)
	}
	_ = n.conn.Close()
}

// kill ends a router as kill -9 does: its streams break without a word.
func (f *fleet) kill(n *node) {
	f.t.Helper()
	f.forget(n)
	f.mu.Lock()
	delete(f.listeners, n.id)
	for _, c := range f.conns[n.id] {
		_ = c.Close()
	}
	f.mu.Unlock()
	_ = n.member.Leave(f.t.Context())
	n.cancel()
	<-n.done
	_ = n.conn.Close()
}

func (f *fleet) forget(n *node) {
	f.nodes = slices.DeleteFunc(f.nodes, func(o *node) bool { return o == n })
}

func (n *node) members(t *testing.T) *adminv1.MembersResponse {
	t.Helper()
	resp, err := adminv1.NewAdminServiceClient(n.conn).Members(t.Context(), &adminv1.MembersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func (n *node) publish(t *testing.T, topic, event string) error {
	t.Helper()
	_, err := n.api.Publish(t.Context(), &routerv1.PublishRequest{Message: message(topic, event)})
	return err
}

func message(topic, event string) *routerv1.Message {
	return &routerv1.Message{Topic: topic, Event: event, Payload: &routerv1.Message_Json{Json: `{"n":1}`}}
}

func (f *fleet) owner(topic string) *node {
	f.t.Helper()
	info, err := f.nodes[0].api.TopicInfo(f.t.Context(), &routerv1.TopicInfoRequest{Topic: topic})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, n := range f.nodes {
		if n.id == info.GetOwner() {
			return n
		}
	}
	f.t.Fatalf("nobody is %q, the owner of %s", info.GetOwner(), topic)
	return nil
}
