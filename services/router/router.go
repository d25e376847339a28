package router

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/services/router/api"
	"github.com/skein-mesh/skein/services/router/attach"
	"github.com/skein-mesh/skein/services/router/exchange"
	"github.com/skein-mesh/skein/services/router/handlers"
	"github.com/skein-mesh/skein/services/router/mesh"
)

// Deps are what a router is given.
type Deps struct {
	Listener net.Listener // of the gRPC services
	// Membership knows the fleet. Who made it also runs it, and stops it after
	// the router. If it has a method Leave(context.Context) error, the router
	// calls it before it ends its streams.
	Membership cluster.Membership
	Joined     func() bool                                    // whether the membership found its seeds; nil means that it has none
	Dial       func(address string) (*grpc.ClientConn, error) // of other routers; nil for [rpc.Dial]
	Handlers   func(target string) (*grpc.ClientConn, error)  // dials backends; nil for [handlers.Dial]
	Telemetry  *telemetry.Telemetry
}

// Router is one router.
type Router struct {
	deps     Deps
	exchange *exchange.Exchange
	mesh     *mesh.Mesh
	streams  *streams
	edges    *attach.Server
	backends *api.Server
	handlers *handlers.Proxy
	server   *grpc.Server
	health   *health.Server
	ready    atomic.Bool
}

// New returns a router that does nothing until Run. Its id and incarnation are
// those of the membership's self.
func New(cfg Config, deps Deps) (*Router, error) {
	if err := errors.Join(cfg.Settings.Validate(), cfg.Limits.Validate()); err != nil {
		return nil, err
	}
	deps = deps.complete()
	self, tel := deps.Membership.Self(), deps.Telemetry
	x := exchange.New(exchange.Options{ID: self.ID, Now: time.Now, Held: cfg.HoldBytes, Trace: spans{tel.Tracer}})
	hello := &meshv1.Hello{Id: self.ID, Incarnation: self.Incarnation, Version: self.Version}
	m := mesh.New(x, mesh.Config{Self: hello, QueueBytes: cfg.PeerBytes, Membership: deps.Membership, Dial: deps.Dial, Log: tel.Log})
	proxy, err := handlers.New(handlers.Config{Settings: cfg.Settings, Calls: cfg.HandlerCalls}, handlers.Deps{Dial: deps.Handlers, Meter: tel.Meter})
	if err != nil {
		return nil, err
	}
	edges := attach.New(x, hello, cfg.EdgeBytes, tel.Log)
	if err := observe(tel.Meter, x, edges, m); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	r := &Router{deps: deps, exchange: x, mesh: m, edges: edges, streams: newStreams(), handlers: proxy}
	r.server, r.health = rpc.NewServerWithHealth(tel, tel.Log, grpc.ChainStreamInterceptor(r.streams.intercept))
	r.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	r.backends = api.New(x, m, edges, tel.Tracer, api.Config{ID: self.ID, QueueBytes: cfg.SubscriberBytes})
	routerv1.RegisterRouterServiceServer(r.server, r.backends)
	adminv1.RegisterAdminServiceServer(r.server, r.backends)
	handlerv1.RegisterChannelHandlerServer(r.server, r.handlers)
	meshv1.RegisterMeshServiceServer(r.server, &meshService{id: self.ID, edges: edges, peers: m})
	return r, nil
}

// complete fills in what may be left out.
func (d Deps) complete() Deps {
	if d.Joined == nil {
		d.Joined = func() bool { return true }
	}
	if d.Dial == nil {
		d.Dial = func(address string) (*grpc.ClientConn, error) { return rpc.Dial(address, rpc.Traced(d.Telemetry)) }
	}
	if d.Handlers == nil {
		d.Handlers = handlers.Dial(d.Telemetry)
	}
	return d
}

// meshService serves edges and peers.
type meshService struct {
	meshv1.UnimplementedMeshServiceServer

	id    string // of this router
	edges *attach.Server
	peers *mesh.Mesh
}

// Attach implements skein.mesh.v1.
func (s *meshService) Attach(stream meshv1.MeshService_AttachServer) error {
	return s.edges.Attach(stream)
}

// Peer implements skein.mesh.v1.
func (s *meshService) Peer(stream meshv1.MeshService_PeerServer) error { return s.peers.Peer(stream) }

// Run routes until ctx ends; then it leaves as planned. The membership must
// outlive it.
func (r *Router) Run(ctx context.Context) error {
	return lifecycle.Run(ctx,
		lifecycle.Func(r.clock), r.handlers, lifecycle.Func(r.serve), r.mesh, r.streams, lifecycle.Func(r.live))
}

// Ready says why this router should not be asked yet, or any more.
func (r *Router) Ready() error {
	if !r.ready.Load() {
		return errors.New("router: " + string(r.deps.Membership.Self().State))
	}
	return nil
}

func (r *Router) serve(ctx context.Context) error { return rpc.Serve(ctx, r.server, r.deps.Listener) }

// clock lets time pass in the exchange while something waits there.
func (r *Router) clock(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.exchange.Alarm():
		}
		for r.exchange.Tick() {
			if !sleep(ctx, exchange.TickInterval) {
				return nil
			}
		}
	}
}

// sleep waits; false means that ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Stats are the counts of this router's exchange.
func (r *Router) Stats() exchange.Stats { return r.exchange.Stats() }
