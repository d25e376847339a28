package rpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	meshrpc "github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/balance"
	"github.com/skein-mesh/skein/services/presence/rpc"
)

// instance is a presence instance whose services are served in memory.
type instance struct {
	t        *testing.T
	service  *rpc.Service
	listener *bufconn.Listener
	stop     func() // and wait
	conn     *grpc.ClientConn
}

// self is the only member that an instance knows, unless it is told of others.
type self []cluster.Member

func (s self) Self() cluster.Member      { return s[0] }
func (s self) Members() []cluster.Member { return s }

var instance1 = cluster.Member{
	ID: "presence-1", Incarnation: 1, Role: cluster.RolePresence, State: cluster.StateReady, Address: "presence-1:6000",
}

// inBubble runs f with an instance in virtual time.
func inBubble(t *testing.T, f func(t *testing.T, i *instance)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		i := start(t, self{instance1}, telemetry.Nop().Meter)
		defer i.stop()
		f(t, i)
	})
}

func start(t *testing.T, members rpc.Members, meter metric.Meter) *instance {
	t.Helper()
	return startWith(t, rpc.Deps{Members: members, Meter: meter})
}

// startWith starts an instance; what it is not given is nothing, nobody, or the
// real planner.
func startWith(t *testing.T, deps rpc.Deps) *instance {
	t.Helper()
	if deps.Dial == nil {
		deps.Dial = nobody
	}
	if deps.Meter == nil {
		deps.Meter = telemetry.Nop().Meter
	}
	if deps.Log == nil {
		deps.Log = telemetry.Nop().Log
	}
	if deps.NewPlanner == nil {
		deps.NewPlanner = func() rpc.Planner { return balance.New(balance.Default(), deps.Members.Self().ID) }
	}
	service, err := rpc.New(deps)
	if err != nil {
		t.Fatal(err)
	}
	tel := telemetry.Nop()
	server := meshrpc.NewServer(tel, tel.Log)
	service.Register(server)
	listener := bufconn.Listen(1 << 16)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		serve := lifecycle.Func(func(ctx context.Context) error { return meshrpc.Serve(ctx, server, listener) })
		if err := lifecycle.Run(ctx, serve, service); err != nil {
			t.Error(err)
		}
	})
	return &instance{t: t, service: service, listener: listener, stop: func() { cancel(); running.Wait() }}
}

// dial returns a connection of its own, as each process has.
func (i *instance) dial() *grpc.ClientConn {
	i.t.Helper()
	conn, err := meshrpc.Dial("passthrough:///presence", grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return i.listener.DialContext(ctx)
	}))
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// operator returns the connection of one who looks on.
func (i *instance) operator() *grpc.ClientConn {
	i.t.Helper()
	if i.conn == nil {
		i.conn = i.dial()
	}
	return i.conn
}

func (i *instance) fleet() *presencev1.Fleet {
	i.t.Helper()
	resp, err := presencev1.NewFleetServiceClient(i.operator()).List(i.t.Context(), &presencev1.ListRequest{})
	if err != nil {
		i.t.Fatal(err)
	}
	return resp.GetFleet()
}

// has checks what the fleet adds up to.
func (i *instance) has(edges int, connections uint64) {
	i.t.Helper()
	if f := i.fleet(); len(f.GetEdges()) != edges || f.GetConnections() != connections {
		i.t.Errorf("%d edges with %d connections, want %d with %d", len(f.GetEdges()), f.GetConnections(), edges, connections)
	}
}

// edge is the reporting side of one stream.
type edge struct {
	t      *testing.T
	conn   *grpc.ClientConn
	stream grpc.BidiStreamingClient[presencev1.ReportRequest, presencev1.ReportResponse]
	cancel context.CancelFunc
}

func (i *instance) edge() *edge { return i.edgeOn(i.dial()) }

func (i *instance) edgeOn(conn *grpc.ClientConn) *edge {
	i.t.Helper()
	ctx, cancel := context.WithCancel(i.t.Context())
	i.t.Cleanup(cancel)
	stream, err := presencev1.NewPresenceServiceClient(conn).Report(ctx)
	if err != nil {
		i.t.Fatal(err)
	}
	return &edge{i.t, conn, stream, cancel}
}

// say reports and lets it arrive.
func (e *edge) say(sample *presencev1.Edge) {
	e.t.Helper()
	if err := e.stream.Send(&presencev1.ReportRequest{Edge: sample}); err != nil && !errors.Is(err, io.EOF) {
		e.t.Fatal(err)
	}
	synctest.Wait()
}

// ends reads until the stream ends and checks how.
func (e *edge) ends(want codes.Code) {
	e.t.Helper()
	for {
		_, err := e.stream.Recv()
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF) && want == codes.OK:
		case status.Code(err) != want:
			e.t.Errorf("the stream ended with %v, want %s", err, want)
		}
		return
	}
}

// reporting repeats a sample each second until stop is called.
func (e *edge) reporting(sample func() *presencev1.Edge) (stop func()) {
	ctx, cancel := context.WithCancel(e.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			_ = e.stream.Send(&presencev1.ReportRequest{Edge: sample()}) // the test sees what arrives
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	})
	return func() { cancel(); running.Wait() }
}

func sample(id string, incarnation, connections uint64) *presencev1.Edge {
	return &presencev1.Edge{
		Id: id, Incarnation: incarnation, Connections: connections, State: presencev1.EdgeState_EDGE_STATE_READY, Version: "v1",
	}
}

func draining(id string, incarnation, connections uint64) *presencev1.Edge {
	s := sample(id, incarnation, connections)
	s.State = presencev1.EdgeState_EDGE_STATE_DRAINING
	return s
}
