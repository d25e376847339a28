package handlers

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/telemetry"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

// fake is a backend. What it has no function for it accepts.
type fake struct {
	handlerv1.UnimplementedChannelHandlerServer

	before func(ctx context.Context, method string) error // of every call
	join   func(*handlerv1.JoinRequest) *handlerv1.JoinResponse
	push   func(*handlerv1.PushRequest) *handlerv1.PushResponse

	mu    sync.Mutex // guards the fields below
	calls map[string]int
}

func (f *fake) enter(ctx context.Context, method string) error {
	f.mu.Lock()
	if f.calls == nil {
		f.calls = map[string]int{}
	}
	f.calls[method]++
	f.mu.Unlock()
	if f.before == nil {
		return nil
	}
	return f.before(ctx, method)
}

func (f *fake) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

func (f *fake) Connect(ctx context.Context, _ *handlerv1.ConnectRequest) (*handlerv1.ConnectResponse, error) {
	return &handlerv1.ConnectResponse{User: "ann"}, f.enter(ctx, "connect")
}

func (f *fake) CheckOrigin(ctx context.Context, _ *handlerv1.CheckOriginRequest) (*handlerv1.CheckOriginResponse, error) {
	return &handlerv1.CheckOriginResponse{Allowed: true}, f.enter(ctx, "check_origin")
}

func (f *fake) Leave(ctx context.Context, _ *handlerv1.LeaveRequest) (*handlerv1.LeaveResponse, error) {
	return &handlerv1.LeaveResponse{}, f.enter(ctx, "leave")
}

func (f *fake) Join(ctx context.Context, req *handlerv1.JoinRequest) (*handlerv1.JoinResponse, error) {
	err := f.enter(ctx, "join")
	if f.join == nil {
		return &handlerv1.JoinResponse{}, err
	}
	return f.join(req), err
}

func (f *fake) Push(ctx context.Context, req *handlerv1.PushRequest) (*handlerv1.PushResponse, error) {
	err := f.enter(ctx, "push")
	if f.push == nil {
		return &handlerv1.PushResponse{}, err
	}
	return f.push(req), err
}

// stuck waits until the call is over.
func stuck(ctx context.Context, _ string) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// world is backends on an in-memory network, and a proxy, in virtual time.
type world struct {
	*Proxy

	t      *testing.T
	reader *sdkmetric.ManualReader

	mu        sync.Mutex // guards the fields below
	listeners map[string]*bufconn.Listener
	servers   map[string]*grpc.Server
}

// The target of two instances, at one:1 and two:1.
const pair = "pair:///chat"

// inWorld runs a test in a bubble, with a proxy for the namespaces.
func inWorld(t *testing.T, calls int, all []namespace.Namespace, test func(t *testing.T, w *world)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		w := &world{t: t, reader: sdkmetric.NewManualReader(), listeners: map[string]*bufconn.Listener{}, servers: map[string]*grpc.Server{}}
		instances := manual.NewBuilderWithScheme("pair")
		instances.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: "one:1"}, {Addr: "two:1"}}})
		for i := range all {
			all[i].SetDefaults()
		}
		var err error
		w.Proxy, err = New(Config{
			Settings: namespace.Settings{Namespaces: all, ConnectHandler: "passthrough:///gate:1", ConnectTimeout: time.Second},
			Calls:    calls,
		}, Deps{
			Dial:  Dial(telemetry.Nop(), grpc.WithContextDialer(w.dial), grpc.WithResolvers(instances)),
			Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader)).Meter("test"),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		test(t, w)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for _, s := range w.servers {
			s.Stop()
		}
	})
}

func chat(target string) []namespace.Namespace {
	return []namespace.Namespace{{Topics: "room:*", Join: namespace.JoinHandler, Handler: target, Timeout: 2 * time.Second}}
}

func (w *world) dial(ctx context.Context, address string) (net.Conn, error) {
	w.mu.Lock()
	l := w.listeners[address]
	w.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	return l.DialContext(ctx)
}

// serve starts a backend; register adds services beside it.
func (w *world) serve(address string, f *fake, register ...func(grpc.ServiceRegistrar)) {
	l, s := bufconn.Listen(1<<20), grpc.NewServer(grpc.MaxSendMsgSize(64<<20))
	handlerv1.RegisterChannelHandlerServer(s, f)
	for _, r := range register {
		r(s)
	}
	w.mu.Lock()
	w.listeners[address], w.servers[address] = l, s
	w.mu.Unlock()
	go s.Serve(l)
}

// kill cuts a backend off.
func (w *world) kill(address string) {
	w.mu.Lock()
	s := w.servers[address]
	delete(w.listeners, address)
	delete(w.servers, address)
	w.mu.Unlock()
	s.Stop()
}

func caller(topic string) *handlerv1.Caller { return &handlerv1.Caller{Topic: topic, User: "ann"} }

// ask makes one call of a method about a topic.
func (w *world) ask(ctx context.Context, method, topic string) error {
	var err error
	switch method {
	case "connect":
		_, err = w.Connect(ctx, &handlerv1.ConnectRequest{})
	case "check_origin":
		_, err = w.CheckOrigin(ctx, &handlerv1.CheckOriginRequest{})
	case "join":
		_, err = w.Join(ctx, &handlerv1.JoinRequest{Caller: caller(topic)})
	case "push":
		_, err = w.Push(ctx, &handlerv1.PushRequest{Caller: caller(topic), Event: "e"})
	case "leave":
		_, err = w.Leave(ctx, &handlerv1.LeaveRequest{Caller: caller(topic)})
	}
	return err
}

var methods = []string{"connect", "check_origin", "join", "push", "leave"}

func (w *world) expect(err error, code codes.Code) {
	w.t.Helper()
	if status.Code(err) != code {
		w.t.Errorf("got %v, want %s", err, code)
	}
}

// outcomes are how calls ended, by "method outcome", and the calls under way.
func (w *world) outcomes() (calls map[string]int64, underWay int64) {
	w.t.Helper()
	var all metricdata.ResourceMetrics
	if err := w.reader.Collect(w.t.Context(), &all); err != nil {
		w.t.Fatal(err)
	}
	calls = map[string]int64{}
	for _, m := range all.ScopeMetrics[0].Metrics {
		sum, ok := m.Data.(metricdata.Sum[int64])
		for _, p := range sum.DataPoints {
			if label := func(key attribute.Key) string { v, _ := p.Attributes.Value(key); return v.AsString() }; m.Name == "skein.router.handler.calls" {
				calls[label("method")+" "+label("outcome")] += p.Value
			} else if ok {
				underWay += p.Value
			}
		}
	}
	return calls, underWay
}
