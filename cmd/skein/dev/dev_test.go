package dev

import (
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/cmd/skein/bench"
	"github.com/skein-mesh/skein/pkg/rpc"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
)

// fleet is a running process.
type fleet struct {
	banner string
	stop   func() (output string, err error)
}

// start runs a fleet until the test ends, and waits for its greeting.
func start(t *testing.T, change func(*Config)) fleet {
	t.Helper()
	cfg := Default()
	cfg.Listen = "127.0.0.1:0"
	change(&cfg)
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Run(ctx, &cfg, w, io.Discard)
		w.CloseWithError(io.EOF)
		done <- err
	}()
	text := make([]byte, 4096)
	n, err := r.Read(text) // the banner is one write
	if err != nil {
		t.Fatalf("no greeting: %v", <-done)
	}
	stop := func() (string, error) {
		cancel()
		rest, _ := io.ReadAll(r)
		return string(rest), <-done
	}
	return fleet{string(text[:n]), stop}
}

// find returns what a pattern's group matches in the banner.
func (f fleet) find(t *testing.T, pattern string) string {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(f.banner)
	if match == nil {
		t.Fatalf("no %s in\n%s", pattern, f.banner)
	}
	return match[1]
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestMessagesCrossOneProcess(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"only the public port": func(*Config) {},
		"every port": func(c *Config) {
			c.GRPC, c.PresenceGRPC, c.Admin = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		},
	} {
		f := start(t, change)
		clients := f.find(t, `Demo +http://(\S+)`)
		o := bench.DefaultFanout()
		o.Edge, o.Topics, o.Sockets, o.Publishers = []string{clients}, 2, 3, 2
		o.Rate, o.Duration, o.Settle = 100, 300*time.Millisecond, 0
		router := func(context.Context) (*grpc.ClientConn, error) { return rpc.Dial(f.find(t, `Backends +gRPC at (\S+)`)) }
		if name == "every port" {
			o.Via = "grpc"
		}
		report, err := bench.FanOut(t.Context(), o, router)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if report.Failed() != "" || report.Target.Fanout.Delivered != 90 {
			t.Errorf("%s: %s: %+v", name, report.Failed(), report.Target.Fanout)
		}
		if _, page := get(t, "http://"+clients+"/demo.json"); !strings.Contains(page, `"edge":"dev-edge"`) {
			t.Errorf("%s: the demo says %s", name, page)
		}
		output, err := f.stop()
		if err != nil || output != "Stopped.\n" {
			t.Errorf("%s: stopping: %q, %v", name, output, err)
		}
	}
}

func TestTheAPIsAreOpen(t *testing.T) {
	f := start(t, func(c *Config) {
		c.GRPC, c.HTTP, c.PresenceGRPC, c.Admin = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	})
	defer f.stop()
	conn, err := rpc.Dial(f.find(t, `Backends +gRPC at (\S+)`))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	members, err := adminv1.NewAdminServiceClient(conn).Members(t.Context(), &adminv1.MembersRequest{})
	if err != nil || members.GetSelf() != routerID || len(members.GetEdges()) != 1 || len(members.GetView().GetMembers()) != 2 {
		t.Errorf("got %v, %v", members, err)
	}
	if code, body := get(t, "http://"+f.find(t, `Backends +http://(\S+)`)+"/v1/topic?topic=room:1"); code != 200 || !strings.Contains(body, routerID) {
		t.Errorf("over HTTP: %d %s", code, body)
	}
	admin := f.find(t, `Admin +http://(\S+)/metrics`)
	if code, body := get(t, "http://"+admin+"/readyz"); code != 200 {
		t.Errorf("ready: %d %s", code, body)
	}
	if _, body := get(t, "http://"+admin+"/metrics"); !strings.Contains(body, "skein_") {
		t.Errorf("no metrics of ours in\n%s", body)
	}
}

func TestBusyPorts(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	busy := listener.Addr().String()
	for flag, change := range map[string]func(*Config){
		"--listen":        func(c *Config) { c.Listen = busy },
		"--grpc":          func(c *Config) { c.GRPC = busy },
		"--http":          func(c *Config) { c.HTTP = busy },
		"--presence-grpc": func(c *Config) { c.PresenceGRPC = busy },
		"--admin":         func(c *Config) { c.Admin = busy },
	} {
		cfg := Default()
		cfg.Listen = "127.0.0.1:0"
		change(&cfg)
		err := Run(t.Context(), &cfg, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), busy+" is taken") || !strings.Contains(err.Error(), flag+" HOST:PORT") {
			t.Errorf("%s: got %v", flag, err)
		}
	}
}

func TestStoppedBeforeItIsReady(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := Default()
	cfg.Listen = "127.0.0.1:0"
	if err := Run(ctx, &cfg, io.Discard, io.Discard); err != nil {
		t.Error(err)
	}
}

func TestBanner(t *testing.T) {
	address := func(a string) net.Listener { return fakeListener{addr: tcp(t, a)} }
	n := &network{clients: address("0.0.0.0:4000"), router: port{address: usualGRPC}, presence: port{address: "127.0.0.1:6001"}}
	quietBanner := banner(&Config{}, n)
	if !strings.Contains(quietBanner, "http://localhost:4000 ") || !strings.Contains(quietBanner, "skein dev --grpc") {
		t.Errorf("got\n%s", quietBanner)
	}
	full := banner(&Config{GRPC: usualGRPC, PresenceGRPC: "127.0.0.1:6001"}, n)
	if !strings.Contains(full, "skein tail --prefix room:\n") || !strings.Contains(full, "skein top --presence 127.0.0.1:6001\n") {
		t.Errorf("got\n%s", full)
	}
}

func tcp(t *testing.T, address string) net.Addr {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type fakeListener struct {
	net.Listener
	addr net.Addr
}

func (f fakeListener) Addr() net.Addr { return f.addr }
