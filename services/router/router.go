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
	"github.com/skein-mesh/skein/pkg/node"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/services/router/admin"
	"github.com/skein-mesh/skein/services/router/api"
	"github.com/skein-mesh/skein/services/router/attach"
	"github.com/skein-mesh/skein/services/router/exchange"
	"github.com/skein-mesh/skein/services/router/handlers"
	"github.com/skein-mesh/skein/services/router/httpapi"
	"github.com/skein-mesh/skein/services/router/mesh"
)

// Deps are what a router is given.
type Deps struct {
	Listener net.Listener // of the gRPC services
	HTTP     net.Listener // of the same for backends, as JSON over HTTP; nil for none
	// Membership knows the fleet. Who made it also runs it, and stops it after
	// the router. If it has a method Leave(context.Context) error, the router
	// calls it before it ends its streams.
	Membership cluster.Membership
	Joined     func() bool                                    // whether the membership found its seeds; nil means that it has none
	Dial       func(address string) (*grpc.ClientConn, error) // of other routers; nil for [rpc.Dial]
	Handlers   func(target string) (*grpc.ClientConn, error)  // dials backends; nil for [handlers.Dial]
	Security   rpc.Security                                   // of the gRPC services and of what the default of Dial makes
	Register   func(grpc.ServiceRegistrar)                    // adds services about the process; nil for none
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
	http     *httpapi.Server // nil without a listener
	health   *health.Server
	ready    atomic.Bool
}

// New returns a router that does nothing until Run. Its id and incarnation are
// those of the membership's self.
func New(cfg Config, deps Deps) (*Router, error) {
	if err := errors.Join(cfg.Settings.Validate(), cfg.Limits.Validate()); err != nil {
		return nil, err
	}
	deps, err := deps.complete(cfg)
	if err != nil {
		return nil, err
	}
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
	further := []grpc.ServerOption{grpc.ChainStreamInterceptor(r.streams.intercept), rpc.Audited(tel.Log, audited)}
	r.server, r.health = rpc.NewServerWithHealth(tel, tel.Log, append(deps.Security.Server(access()), further...)...)
	r.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	r.backends = api.New(x, m, edges, tel.Tracer, api.Config{ID: self.ID, QueueBytes: cfg.SubscriberBytes})
	routerv1.RegisterRouterServiceServer(r.server, r.backends)
	adminv1.RegisterAdminServiceServer(r.server, admin.New(node.New(node.Options{
		ID: self.ID, Incarnation: self.Incarnation, Service: "router", Version: self.Version, Telemetry: tel, Entered: true, Membership: deps.Membership,
	}), x, edges, r.backends))
	handlerv1.RegisterChannelHandlerServer(r.server, r.handlers)
	meshv1.RegisterMeshServiceServer(r.server, &meshService{id: self.ID, edges: edges, peers: m})
	if deps.HTTP != nil {
		if r.http, err = httpapi.New(deps.HTTP, r.backends, tel, append(deps.Security.Gate(access()), further...)...); err != nil {
			return nil, err
		}
	}
	deps.Register(r.server)
	return r, nil
}

// audited says which calls are logged with who made them: those that change
// something, and those that show clients. Members and Node are asked all the time.
func audited(method string) bool {
	switch method {
	case adminv1.AdminService_Connections_FullMethodName, adminv1.AdminService_Connection_FullMethodName,
		adminv1.AdminService_TracePublish_FullMethodName, adminv1.AdminService_SetLogLevel_FullMethodName,
		adminv1.AdminService_SetSampling_FullMethodName, routerv1.RouterService_Disconnect_FullMethodName:
		return true
	}
	return false
}

// complete fills in what may be left out.
func (d Deps) complete(cfg Config) (_ Deps, err error) {
	if d.Joined == nil {
		d.Joined = func() bool { return true }
	}
	if d.Dial == nil {
		d.Dial = d.Security.Dialer(d.Telemetry)
	}
	if d.Register == nil {
		d.Register = func(grpc.ServiceRegistrar) {}
	}
	if d.Handlers == nil {
		d.Handlers, err = d.toHandlers(cfg)
	}
	return d, err
}

// toHandlers returns what dials backends: with TLS if their authority is known.
// They may then ask for this router's own certificate.
func (d Deps) toHandlers(cfg Config, extra ...grpc.DialOption) (func(target string) (*grpc.ClientConn, error), error) {
	if cfg.HandlerCA != "" {
		files, err := tlsfiles.Load(tlsfiles.TLS{Cert: cfg.Cert, Key: cfg.Key, CA: cfg.HandlerCA}, d.Telemetry.Log)
		if err != nil {
			return nil, fmt.Errorf("handler-tls-ca: %w", err)
		}
		extra = append(extra, grpc.WithTransportCredentials(files.ClientCredentials(d.Security.Refusals())))
	}
	return handlers.Dial(d.Telemetry, extra...), nil
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
	components := []lifecycle.Component{lifecycle.Func(r.clock), r.handlers, lifecycle.Func(r.serve)}
	if r.http != nil {
		components = append(components, r.http)
	}
	return lifecycle.Run(ctx, append(components, r.mesh, r.streams, lifecycle.Func(r.live))...)
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
