package callout

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
	"github.com/skein-mesh/skein/services/edge/session"
)

// router is a fake router. What it has no function for it accepts.
type router struct {
	handlerv1.UnimplementedChannelHandlerServer

	before  func(ctx context.Context, topic string) error // of every call
	join    *handlerv1.JoinResponse
	push    *handlerv1.PushResponse
	connect *handlerv1.ConnectResponse

	mu    sync.Mutex // guards the fields below
	asked []any      // requests in order
}

func (r *router) enter(ctx context.Context, topic string, req any) error {
	r.mu.Lock()
	r.asked = append(r.asked, req)
	r.mu.Unlock()
	if r.before == nil {
		return nil
	}
	return r.before(ctx, topic)
}

// take returns what was asked since the last time.
func (r *router) take() []any {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = nil
	return asked
}

func (r *router) Join(ctx context.Context, req *handlerv1.JoinRequest) (*handlerv1.JoinResponse, error) {
	if err := r.enter(ctx, req.GetCaller().GetTopic(), req); err != nil || r.join == nil {
		return &handlerv1.JoinResponse{}, err
	}
	return r.join, nil
}

func (r *router) Push(ctx context.Context, req *handlerv1.PushRequest) (*handlerv1.PushResponse, error) {
	if err := r.enter(ctx, req.GetCaller().GetTopic(), req); err != nil || r.push == nil {
		return &handlerv1.PushResponse{}, err
	}
	return r.push, nil
}

func (r *router) Leave(ctx context.Context, req *handlerv1.LeaveRequest) (*handlerv1.LeaveResponse, error) {
	return &handlerv1.LeaveResponse{}, r.enter(ctx, req.GetCaller().GetTopic(), req)
}

func (r *router) Connect(ctx context.Context, req *handlerv1.ConnectRequest) (*handlerv1.ConnectResponse, error) {
	if err := r.enter(ctx, "", req); err != nil || r.connect == nil {
		return &handlerv1.ConnectResponse{}, err
	}
	return r.connect, nil
}

func (r *router) CheckOrigin(ctx context.Context, req *handlerv1.CheckOriginRequest) (*handlerv1.CheckOriginResponse, error) {
	return &handlerv1.CheckOriginResponse{Allowed: true}, r.enter(ctx, "", req)
}

// stuck waits until the call is over.
func stuck(ctx context.Context, _ string) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// world is routers on an in-memory network, and a callout, in virtual time.
type world struct {
	*Callout

	t      *testing.T
	log    bytes.Buffer
	reader *sdkmetric.ManualReader
	stop   func() // ends the callout and waits

	mu        sync.Mutex // guards the fields below
	owner     string
	members   []cluster.Member
	listeners map[string]*bufconn.Listener
	servers   map[string]*grpc.Server
}

func inWorld(t *testing.T, cfg Config, test func(t *testing.T, w *world)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		w := &world{t: t, reader: sdkmetric.NewManualReader(), listeners: map[string]*bufconn.Listener{}, servers: map[string]*grpc.Server{}}
		var err error
		w.Callout, err = New(cfg, Deps{
			Routers: w, Dial: w.dial, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
			Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader)).Meter("test"),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		w.stop = sync.OnceFunc(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		test(t, w)
		w.stop()
		for _, s := range w.servers {
			s.Stop()
		}
	})
}

// Routers implements [Routers].
func (w *world) Routers() []cluster.Member {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.members)
}

// Owner implements [Routers].
func (w *world) Owner(string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.owner
}

func (w *world) dial(address string) (*grpc.ClientConn, error) {
	return rpc.Dial("passthrough:///"+address, grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		w.mu.Lock()
		l := w.listeners[address]
		w.mu.Unlock()
		if l == nil {
			return nil, errors.New("connection refused")
		}
		return l.DialContext(ctx)
	}))
}

// know adds a router that does not listen; the first one known is the owner.
func (w *world) know(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owner == "" {
		w.owner = id
	}
	w.members = append(w.members, cluster.Member{ID: id, Role: cluster.RoleRouter, State: cluster.StateReady, Address: id + ":1"})
}

// serve adds a router that listens.
func (w *world) serve(id string, r *router) *router {
	l, s := bufconn.Listen(1<<20), rpc.NewServer(telemetry.Nop(), slog.New(slog.DiscardHandler))
	if r != nil {
		handlerv1.RegisterChannelHandlerServer(s, r)
	}
	w.mu.Lock()
	w.listeners[id+":1"], w.servers[id] = l, s
	w.mu.Unlock()
	go s.Serve(l)
	w.know(id)
	return r
}

// forget takes a router away from those that are known.
func (w *world) forget(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members = slices.DeleteFunc(w.members, func(m cluster.Member) bool { return m.ID == id })
}

func (w *world) open() int {
	w.routers.mu.Lock()
	defer w.routers.mu.Unlock()
	return len(w.routers.ways)
}

func (w *world) running() int { // workers of all namespaces
	w.Callout.mu.Lock()
	defer w.Callout.mu.Unlock()
	n := 0
	for _, s := range w.spaces {
		for _, l := range []*lane{s.calls, s.leaves} {
			l.mu.Lock()
			n += l.working
			l.mu.Unlock()
		}
	}
	return n
}

// outcomes are how calls ended, by "method outcome"; besides, under "waiting"
// and "under way", how many there are.
func (w *world) outcomes() map[string]int64 {
	w.t.Helper()
	var all metricdata.ResourceMetrics
	if err := w.reader.Collect(w.t.Context(), &all); err != nil {
		w.t.Fatal(err)
	}
	found := map[string]int64{}
	for _, m := range all.ScopeMetrics[0].Metrics {
		sum, _ := m.Data.(metricdata.Sum[int64])
		for _, p := range sum.DataPoints {
			label := func(key attribute.Key) string { v, _ := p.Attributes.Value(key); return v.AsString() }
			switch {
			case m.Name == "skein.edge.handler.calls":
				found[label("method")+" "+label("outcome")] += p.Value
			case p.Value != 0:
				found[m.Name[len("skein.edge.handler."):]] += p.Value
			}
		}
	}
	return found
}

func room(topics string) *namespace.Namespace {
	n := &namespace.Namespace{Topics: topics, Join: namespace.JoinHandler, Push: namespace.PushHandler, Handler: "chat:1", Timeout: 2 * time.Second}
	n.SetDefaults()
	return n
}

// result of a call.
type result[Answer any] struct {
	answer Answer
	err    error
	took   time.Duration
}

func (w *world) join(ns *namespace.Namespace, topic string) <-chan result[session.JoinAnswer] {
	came, began := make(chan result[session.JoinAnswer], 2), time.Now()
	w.Join(ns, session.Caller{Topic: topic, Connection: 7}, session.Payload{Data: []byte("{}")}, func(a session.JoinAnswer, err error) {
		came <- result[session.JoinAnswer]{a, err, time.Since(began)}
	})
	return came
}

func (w *world) push(ns *namespace.Namespace, topic, event string) <-chan result[session.PushAnswer] {
	came, began := make(chan result[session.PushAnswer], 2), time.Now()
	w.Push(ns, session.Caller{Topic: topic, Connection: 7}, event, "1", session.Payload{Data: []byte("{}")}, func(a session.PushAnswer, err error) {
		came <- result[session.PushAnswer]{a, err, time.Since(began)}
	})
	return came
}

// expect waits for the answer of a call; it comes once.
func expect[Answer any](t *testing.T, came <-chan result[Answer], err error, took time.Duration) {
	t.Helper()
	r := <-came
	if !errors.Is(r.err, err) || err != nil && r.err.Error() != err.Error() || r.took != took {
		t.Errorf("got %v after %s, want %v after %s", r.err, r.took, err, took)
	}
	if len(came) != 0 {
		t.Error("answered twice")
	}
}
