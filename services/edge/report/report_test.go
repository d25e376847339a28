package report

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// instance is a presence instance that only listens.
type instance struct {
	presencev1.UnimplementedPresenceServiceServer
	mu      sync.Mutex
	reports []*presencev1.Edge
	id      string // that it gives; empty for none
}

func (i *instance) Report(stream grpc.BidiStreamingServer[presencev1.ReportRequest, presencev1.ReportResponse]) error {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		i.mu.Lock()
		i.reports = append(i.reports, m.GetEdge())
		i.mu.Unlock()
		if err := stream.Send(&presencev1.ReportResponse{LeaseMs: 3000, Instance: i.id}); err != nil {
			return err
		}
	}
}

func (i *instance) take() []*presencev1.Edge {
	i.mu.Lock()
	defer i.mu.Unlock()
	taken := i.reports
	i.reports = nil
	return taken
}

// fleet is presence instances by address.
type fleet struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
	members   []cluster.Member
}

func (f *fleet) serve(address string) (*instance, *grpc.Server) { return f.serveAs(address, "") }

func (f *fleet) serveAs(address, id string) (*instance, *grpc.Server) {
	i, listener, server := &instance{id: id}, bufconn.Listen(1<<16), grpc.NewServer()
	presencev1.RegisterPresenceServiceServer(server, i)
	go server.Serve(listener) // ends with Stop
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listeners[address] = listener
	f.members = append(f.members, cluster.Member{ID: "p-" + address, Role: cluster.RolePresence, Address: address})
	return i, server
}

func (f *fleet) list() []cluster.Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members
}

func (f *fleet) dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			f.mu.Lock()
			l := f.listeners[address]
			f.mu.Unlock()
			return l.DialContext(ctx)
		}))
}

func TestReportsEachSecondToEveryInstance(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		f := &fleet{listeners: map[string]*bufconn.Listener{}}
		one, first := f.serve("one")
		defer first.Stop()
		var used time.Duration
		answers := map[string]int{}
		var mu sync.Mutex
		r := New(Deps{
			Members: f.list, Dial: f.dial, Log: slog.New(slog.DiscardHandler), Memory: 1 << 30,
			Take: func(from string, m *presencev1.ReportResponse) {
				mu.Lock()
				defer mu.Unlock()
				if m.GetLeaseMs() == 3000 {
					answers[from]++
				}
			},
			Sample: func() *presencev1.Edge { return &presencev1.Edge{Id: "e1", Connections: 7} },
			Usage: func() (time.Duration, uint64, error) {
				used += 250 * time.Millisecond
				return used, 42, nil
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(10*time.Second + Interval/2) // virtual time
		got := one.take()
		if n := len(got); n < 10 || n > 12 {
			t.Errorf("%d reports in 10 s", n)
		}
		last := got[len(got)-1]
		if last.GetId() != "e1" || last.GetConnections() != 7 || last.GetCpu() != 0.25 || last.GetMemory() != 42 || last.GetTaken() == nil {
			t.Errorf("got %v", last)
		}
		if last.GetCpuLimit() < 1 || last.GetMemoryLimit() != 1<<30 {
			t.Errorf("got limits %v and %d", last.GetCpuLimit(), last.GetMemoryLimit())
		}

		two, second := f.serveAs("two", "second")
		time.Sleep(3 * Interval) // virtual time
		if len(two.take()) == 0 {
			t.Error("an instance that came gets no reports")
		}
		second.Stop()
		two, second = f.serveAs("two", "second") // it comes back at the same address
		defer second.Stop()
		time.Sleep(3 * Interval) // virtual time
		if len(two.take()) == 0 {
			t.Error("an instance that came back gets no reports")
		}

		mu.Lock()
		if answers["p-one"] == 0 || answers["second"] == 0 || len(answers) != 2 {
			t.Errorf("answers %v", answers)
		}
		mu.Unlock()
		one.take()
		r.Changed()
		synctest.Wait()
		if n := len(one.take()); n != 1 {
			t.Errorf("%d reports of a change", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestProcessUsesSomething(t *testing.T) {
	read, err := Process()
	if err != nil {
		t.Fatal(err)
	}
	cpu, memory, err := read()
	if err != nil || cpu < 0 || memory == 0 {
		t.Errorf("%v, %d, %v", cpu, memory, err)
	}
}

func TestMeterReportsRates(t *testing.T) {
	cpu, failure := time.Second, error(nil)
	m := meter{read: func() (time.Duration, uint64, error) { return cpu, 1, failure }}
	now := time.Unix(1000, 0)
	if u, err := m.measure(now); err != nil || u.cpu != 0 {
		t.Errorf("first: %v, %v", u, err)
	}
	cpu += 3 * time.Second
	if u, err := m.measure(now.Add(2 * time.Second)); err != nil || u.cpu != 1.5 {
		t.Errorf("second: %v, %v", u, err)
	}
	failure = errors.New("no")
	if _, err := m.measure(now.Add(3 * time.Second)); err == nil {
		t.Error("no error")
	}
}
