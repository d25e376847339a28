package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/cmd/skein/bench/pair"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// TestMain lets the test program be its own child, as skein is.
func TestMain(m *testing.M) {
	switch begins := func(command []string) bool {
		return len(os.Args) == len(command)+1 && slices.Equal(os.Args[1:len(command)], command[:len(command)-1])
	}; {
	case begins(FloorCommand(0)):
		coalesce, err := time.ParseDuration(os.Args[4])
		if err == nil {
			err = Floor(int(os.Stdin.Fd()), os.Stdout, coalesce)
		}
		ended(err)
	case begins(PairCommand("")):
		ended(pair.Serve(context.Background(), os.Stdin, os.Stdout, os.Stderr, os.Args[4]))
	}
	os.Exit(m.Run())
}

// ended ends a child.
func ended(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// target runs a floor server of its own as the fleet.
func target(t *testing.T, coalesce time.Duration) Common {
	t.Helper()
	common := defaultCommon()
	common.Settle = 0
	floor, err := startFloor(context.Background(), floorOptions{common, coalesce})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := floor.stop(); err != nil {
			t.Error(err)
		}
	})
	return floor.common
}

func TestConnectAndJoin(t *testing.T) {
	o := DefaultJoin()
	o.Common, o.Sockets, o.Topics, o.Joins, o.Floor = target(t, 0), 50, 10, 3, true
	report, err := Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*Result{"target": report.Target, "floor": report.Floor} {
		if r.Connect.Count != 50 || r.Join.Count != 150 || r.Sockets != 50 || r.Closed != 0 || r.Problem != "" {
			t.Errorf("%s: %+v, connect %+v, join %+v", name, r, r.Connect, r.Join)
		}
		if len(r.Processes) != 1 || r.Processes[0].Name != "floor" || r.Processes[0].RSSBytes == 0 {
			t.Errorf("%s: processes %+v", name, r.Processes)
		}
		if r.Join.Latency.P50 <= 0 || r.Join.Latency.Max < r.Join.Latency.P99 {
			t.Errorf("%s: latency %+v", name, r.Join.Latency)
		}
	}
	if report.Scenario != "join" || report.Ratios == nil || report.Failed() != "" {
		t.Errorf("report %+v: %s", report, report.Failed())
	}
}

func TestConnectAtARate(t *testing.T) {
	o := DefaultConnect()
	o.Common, o.Sockets = target(t, 0), 10
	o.ConnectRate = 100
	report, err := Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r := report.Target.Connect; r.Count != 10 || r.Seconds < 0.08 {
		t.Errorf("10 sockets at 100/s: %+v", r)
	}
}

func TestFanOut(t *testing.T) {
	common := target(t, 0)
	for name, change := range map[string]func(*FanoutOptions){
		"steady":         func(*FanoutOptions) {},
		"flat out":       func(o *FanoutOptions) { o.Rate, o.Publishers, o.Window = 0, 4, 8 },
		"coalesced":      func(o *FanoutOptions) { o.Common, o.Rate = target(t, 5*time.Millisecond), 0 },
		"largest":        func(o *FanoutOptions) { o.Payload = maxPayload },
		"every one does": func(o *FanoutOptions) { o.Publishers = 15 },
		"own edge":       func(o *FanoutOptions) { o.PublishEdge = o.Edge },
	} {
		o := DefaultFanout()
		o.Common, o.Topics, o.Sockets, o.Publishers, o.Rate, o.Duration = common, 3, 5, 3, 300, 300*time.Millisecond
		change(&o)
		if err := o.Validate(); err != nil {
			t.Fatal(err)
		}
		report, err := FanOut(t.Context(), o, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f := report.Target.Fanout
		if report.Failed() != "" || f.Unanswered != 0 || f.Refused != 0 || f.Delivered != f.Expected || f.Expected != 5*f.Published {
			t.Errorf("%s: %s: %+v", name, report.Failed(), f)
		}
		if o.Rate > 0 && f.Published != 90 {
			t.Errorf("%s: published %d, want 90", name, f.Published)
		}
	}
}

// fakeRouter publishes nothing: it answers every second message with a refusal.
type fakeRouter struct {
	routerv1.UnimplementedRouterServiceServer
}

func (fakeRouter) PublishStream(stream grpc.BidiStreamingServer[routerv1.PublishStreamRequest, routerv1.PublishStreamResponse]) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return nil //nolint:nilerr // the client is done
		}
		result := &routerv1.PublishResult{}
		if req.GetSeq()%2 == 1 {
			result.Code = int32(codes.ResourceExhausted)
		}
		if err := stream.Send(&routerv1.PublishStreamResponse{Seq: req.GetSeq(), Result: result}); err != nil {
			return err
		}
	}
}

func TestLossIsFound(t *testing.T) {
	listener := bufconn.Listen(1 << 16)
	server := rpc.NewServer(telemetry.Nop(), telemetry.Nop().Log)
	routerv1.RegisterRouterServiceServer(server, fakeRouter{})
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	router := func(context.Context) (*grpc.ClientConn, error) {
		return rpc.Dial("passthrough:///memory", grpc.WithContextDialer(
			func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	}
	o := DefaultFanout()
	o.Common, o.Sockets, o.Publishers, o.Via, o.Rate = target(t, 0), 4, 2, viaGRPC, 100
	o.Duration, o.Grace = 200*time.Millisecond, 100*time.Millisecond
	report, err := FanOut(t.Context(), o, router)
	if err != nil {
		t.Fatal(err)
	}
	f := report.Target.Fanout
	if f.Published != 10 || f.Refused != 10 || f.Lost != 40 || f.Delivered != 0 || report.Failed() == "" {
		t.Errorf("%q: %+v", report.Failed(), f)
	}
}

func TestNobodyListens(t *testing.T) {
	o := DefaultConnect()
	o.Edge = []string{"127.0.0.1:1"}
	if _, err := Connect(t.Context(), o); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
	o.Edge = []string{"nowhere"}
	if _, err := Connect(t.Context(), o); err == nil {
		t.Error("no error for an address without a port")
	}
}

func TestTooManySockets(t *testing.T) {
	o := DefaultConnect()
	o.Sockets = 1 << 30
	if _, err := Connect(t.Context(), o); err == nil || !strings.Contains(err.Error(), "ulimit") {
		t.Errorf("got %v", err)
	}
}

func TestUnknownProcess(t *testing.T) {
	o := DefaultConnect()
	o.Common, o.Pids = target(t, 0), []string{"999999999"}
	if _, err := Connect(t.Context(), o); err == nil {
		t.Error("no error")
	}
}

// answering runs a server that answers every connection with the same bytes.
func answering(t *testing.T, text string) []string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				c.Read(make([]byte, 4096))
				c.Write([]byte(text))
				c.Close()
			}()
		}
	}()
	return []string{listener.Addr().String()}
}

func TestServersThatRefuse(t *testing.T) {
	for text, want := range map[string]string{
		"HTTP/1.1 403 Forbidden\r\n\r\n":                               "upgrade refused: HTTP/1.1 403 Forbidden",
		"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: 0\r\n\r\n":          "wrong Sec-WebSocket-Accept",
		"HTTP/1.1 101 Yes\r\nX: " + strings.Repeat("x", 17<<10) + "\r": "endless answer",
		"": "closed without a close frame",
	} {
		o := DefaultConnect()
		o.Edge, o.Sockets = answering(t, text), 5
		if _, err := Connect(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := DefaultFanout()
	o.Common = target(t, 0)
	if _, err := FanOut(ctx, o, nil); err == nil {
		t.Error("no error")
	}
}
