// Package handlers asks backends on behalf of edges. A router serves
// skein.handler.v1 itself; each call goes on to the backend that is named by
// the topic's namespace, or to the one that decides about sockets.
//
// Why a router stands between: it keeps few connections to each backend where
// every edge would keep its own, and it is where deadlines, retries, the circuit
// breaker and the checks of what backends answer are in one place. A backend
// that is slow holds nothing that belongs to another: each target has its own
// connection and its own bound of calls under way.
package handlers

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/namespace"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

// DefaultCalls is how many calls to one target may be under way unless told
// otherwise.
const DefaultCalls = 1024

// Config of a proxy.
type Config struct {
	namespace.Settings

	Calls int // most calls under way to one target; those beyond it are refused
}

// Deps are what a proxy needs of its process.
type Deps struct {
	Dial  func(target string) (*grpc.ClientConn, error) // see [Dial]
	Meter metric.Meter
}

// Proxy implements skein.handler.v1 by asking backends. All methods may be
// called concurrently, Run once. Its errors are DEADLINE_EXCEEDED, UNAVAILABLE
// and RESOURCE_EXHAUSTED for what may be tried again, INTERNAL for a backend that
// failed or answered rubbish, FAILED_PRECONDITION if no backend is configured,
// and CANCELLED if the caller went away.
type Proxy struct {
	handlerv1.UnimplementedChannelHandlerServer

	// Static after construction.
	namespaces     *namespace.Set
	backends       map[string]*backend // by target
	connectHandler string              // target; empty for none
	connectTimeout time.Duration
	metrics        *metrics
}

// New returns a proxy that connects to nothing until it is asked. cfg must be
// valid.
func New(cfg Config, deps Deps) (*Proxy, error) {
	set, err := namespace.NewSet(cfg.Namespaces)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(deps.Meter)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		namespaces: set, backends: map[string]*backend{},
		connectHandler: cfg.ConnectHandler, connectTimeout: cfg.ConnectTimeout, metrics: m,
	}
	add := func(target string) {
		if target != "" && p.backends[target] == nil {
			p.backends[target] = &backend{target: target, dial: deps.Dial, limit: cfg.Calls}
		}
	}
	add(cfg.ConnectHandler)
	for _, n := range set.All() {
		add(n.Handler)
	}
	return p, nil
}

// Run closes the connections to backends when ctx ends. Whoever serves the
// proxy should have stopped by then: calls that are under way fail, later ones
// are answered UNAVAILABLE.
func (p *Proxy) Run(ctx context.Context) error {
	<-ctx.Done()
	for _, b := range p.backends {
		b.close()
	}
	return nil
}

// Connect implements skein.handler.v1.
func (p *Proxy) Connect(ctx context.Context, req *handlerv1.ConnectRequest) (*handlerv1.ConnectResponse, error) {
	return ask(ctx, p.aboutSockets("connect"), req, handlerv1.ChannelHandlerClient.Connect, checkConnect)
}

// Join implements skein.handler.v1.
func (p *Proxy) Join(ctx context.Context, req *handlerv1.JoinRequest) (*handlerv1.JoinResponse, error) {
	return ask(ctx, p.about("join", req.GetCaller()), req, handlerv1.ChannelHandlerClient.Join, checkJoin)
}

// Push implements skein.handler.v1.
func (p *Proxy) Push(ctx context.Context, req *handlerv1.PushRequest) (*handlerv1.PushResponse, error) {
	return ask(ctx, p.about("push", req.GetCaller()), req, handlerv1.ChannelHandlerClient.Push, checkPush)
}

// Leave implements skein.handler.v1.
func (p *Proxy) Leave(ctx context.Context, req *handlerv1.LeaveRequest) (*handlerv1.LeaveResponse, error) {
	return ask(ctx, p.about("leave", req.GetCaller()), req, handlerv1.ChannelHandlerClient.Leave, nil)
}

// CheckOrigin implements skein.handler.v1.
func (p *Proxy) CheckOrigin(ctx context.Context, req *handlerv1.CheckOriginRequest) (*handlerv1.CheckOriginResponse, error) {
	return ask(ctx, p.aboutSockets("check_origin"), req, handlerv1.ChannelHandlerClient.CheckOrigin, nil)
}

// route is the way of one call.
type route struct {
	metrics *metrics
	method  string
	backend *backend // nil if there is none
	missing string   // what is not configured, if there is none
	timeout time.Duration
}

func (p *Proxy) aboutSockets(method string) route {
	return route{
		metrics: p.metrics, method: method, backend: p.backends[p.connectHandler],
		missing: "connect_handler", timeout: p.connectTimeout,
	}
}

func (p *Proxy) about(method string, c *handlerv1.Caller) route {
	r := route{metrics: p.metrics, method: method}
	if n := p.namespaces.Of(c.GetTopic()); n != nil {
		r.backend, r.timeout = p.backends[n.Handler], n.Timeout
	}
	if r.backend == nil {
		r.missing = fmt.Sprintf("a handler for topic %q", c.GetTopic())
	}
	return r
}

// ask calls the backend of a route: within the namespace's timeout, and within
// the caller's deadline if that is earlier. check, unless nil, finds rubbish in
// the answer.
func ask[Req, Resp any](
	ctx context.Context, r route, req *Req,
	call func(handlerv1.ChannelHandlerClient, context.Context, *Req, ...grpc.CallOption) (*Resp, error),
	check func(*Req, *Resp) error,
) (*Resp, error) {
	if r.backend == nil {
		r.metrics.count(ctx, r.method, "", unconfigured)
		return nil, status.Errorf(codes.FailedPrecondition,
			"this router has no %s: routers and edges need the same namespaces", r.missing)
	}
	client, err := r.backend.enter()
	if err != nil {
		r.metrics.count(ctx, r.method, r.backend.target, outcomeOf(ctx, err))
		return nil, err
	}
	defer r.backend.leave()
	done := r.metrics.begin(ctx, r.method, r.backend.target)
	within, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	resp, err := call(client, within, req)
	if err == nil && check != nil {
		err = check(req, resp)
	}
	outcome := outcomeOf(ctx, err)
	done(outcome)
	if err != nil {
		return nil, outcome.explain(r.backend.target, err)
	}
	return resp, nil
}
