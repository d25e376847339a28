package presence_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
	meshrpc "github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence"
)

// instance is a presence instance on a membership and a network in memory.
type instance struct {
	*presence.Presence
	member *cluster.Local
	conn   *grpc.ClientConn
	stop   func() // and wait
}

func start(t *testing.T, registry *cluster.Registry, id string) *instance {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	member := registry.Member(cluster.Member{
		ID: id, Incarnation: 1, Role: cluster.RolePresence, State: cluster.StateJoining, Address: id + ":6000",
	})
	p, err := presence.New(presence.Default(), presence.Deps{Listener: listener, Membership: member, Telemetry: telemetry.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := meshrpc.Dial("passthrough:///"+id, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return listener.DialContext(ctx)
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	inFleet, leave := context.WithCancel(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	var member1, running sync.WaitGroup
	member1.Go(func() { _ = member.Run(inFleet) })
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return &instance{p, member, conn, func() { cancel(); running.Wait(); leave(); member1.Wait() }}
}

func (i *instance) elected(t *testing.T) string {
	t.Helper()
	synctest.Wait() // the news has arrived
	resp, err := presencev1.NewFleetServiceClient(i.conn).List(t.Context(), &presencev1.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetFleet().GetElected()
}

func TestLowestReadyInstancePlans(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		registry := cluster.NewRegistry()
		b := start(t, registry, "presence-b")
		if got := b.elected(t); got != "presence-b" {
			t.Errorf("alone: %q plans", got)
		}
		a := start(t, registry, "presence-a")
		if x, y := a.elected(t), b.elected(t); x != "presence-a" || y != "presence-a" {
			t.Errorf("two: %q and %q plan", x, y)
		}
		a.stop()
		if got := b.elected(t); got != "presence-b" {
			t.Errorf("alone again: %q plans", got)
		}
		b.stop()
	})
}

// Who is elected hints, and answers for the other, which does not.
func TestElectedInstancePlans(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		registry := cluster.NewRegistry()
		a, b := start(t, registry, "presence-a"), start(t, registry, "presence-b")
		defer b.stop()
		for _, i := range []*instance{a, b} {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stream, err := presencev1.NewPresenceServiceClient(i.conn).Report(ctx)
			if err != nil {
				t.Fatal(err)
			}
			edge := &presencev1.Edge{Id: "e", Incarnation: 1, State: presencev1.EdgeState_EDGE_STATE_READY, Connections: 1, Weight: 100}
			var answer *presencev1.ReportResponse
			for range 8 {
				if err := stream.Send(&presencev1.ReportRequest{Edge: edge}); err != nil {
					t.Fatal(err)
				}
				if answer, err = stream.Recv(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // virtual time
			}
			if hints := answer.GetHint().GetWeight() == 100; hints != (i == a) || answer.GetElected() != "presence-a" {
				t.Errorf("%s answered %v", answer.GetInstance(), answer)
			}
		}
		a.stop()
		if b.elected(t) != "presence-b" {
			t.Error("nobody plans")
		}
	})
}

func TestStatesAreTold(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		registry := cluster.NewRegistry()
		observer := registry.Member(cluster.Member{ID: "observer", Incarnation: 1, Role: cluster.RoleRouter, State: cluster.StateReady, Address: "x:1"})
		watching, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = observer.Run(watching) }()
		var seen []cluster.State
		p := start(t, registry, "presence-a")
		go func() {
			for {
				select {
				case <-watching.Done():
					return
				case <-observer.Changed():
					if ms := observer.Members(); len(ms) == 2 && !slices.Contains(seen, ms[0].State) {
						seen = append(seen, ms[0].State)
					}
				}
			}
		}()
		synctest.Wait()
		if err := p.Ready(); err != nil {
			t.Error(err)
		}
		p.stop()
		synctest.Wait()
		if err := p.Ready(); err == nil {
			t.Error("ready after its end")
		}
		if want := []cluster.State{cluster.StateReady, cluster.StateLeaving}; !slices.Equal(seen, want) && !slices.Equal(seen, want[:1]) {
			t.Errorf("others saw %v", seen)
		}
		if got := p.member.Self().State; got != cluster.StateLeaving {
			t.Errorf("ended as %s", got)
		}
	})
}

func TestReadyWaitsForSeeds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var joined bool
		member := cluster.NewRegistry().Member(cluster.Member{ID: "a", Incarnation: 1, Role: cluster.RolePresence, State: cluster.StateJoining, Address: "a:1"})
		p, err := presence.New(presence.Default(), presence.Deps{
			Listener: bufconn.Listen(1), Membership: member, Joined: func() bool { return joined }, Telemetry: telemetry.Nop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "not serving") {
			t.Errorf("before Run: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		synctest.Wait()
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "seed") {
			t.Errorf("before a seed was reached: %v", err)
		}
		joined = true
		if err := p.Ready(); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestHealth(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := start(t, cluster.NewRegistry(), "presence-a")
		defer p.stop()
		resp, err := healthv1.NewHealthClient(p.conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
		if err != nil || resp.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("got %v, %v", resp, err)
		}
	})
}

func TestStopIsQuickWithStreamsOpen(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := start(t, cluster.NewRegistry(), "presence-a")
		stream, err := presencev1.NewFleetServiceClient(p.conn).Watch(t.Context(), &presencev1.WatchRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		p.stop()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestConfig(t *testing.T) {
	if err := presence.Default().Validate(); err != nil {
		t.Error(err)
	}
	bad := presence.Default()
	bad.ID, bad.GRPC, bad.GRPCAdvertise, bad.Admin, bad.Gossip, bad.TraceRatio = "a b", "x", "y", "z", "0.0.0.0:1", 2
	bad.LeastMoves, bad.Arrivals = 0, -1
	err := bad.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`id "a b"`, `grpc: "x"`, `grpc-advertise: "y"`, `admin: "z"`, "gossip: 0.0.0.0:1", "trace-ratio", "least-moves", "max-arrivals"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in\n%s", want, err)
		}
	}
	open := presence.Default()
	open.GRPC = "0.0.0.0:6000"
	if err := open.Validate(); err == nil || !strings.Contains(err.Error(), "insecure") {
		t.Errorf("got %v", err)
	}
	open.Insecure = true
	if err := open.Validate(); err != nil {
		t.Error(err)
	}
}
