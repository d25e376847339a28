//go:build e2e

package observability

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/tests/process"
	"github.com/skein-mesh/skein/tests/wsclient"
)

// member is a process and where it serves.
type member struct {
	*process.Process
	serves string // gRPC, or clients
}

// fleet is two routers, a presence instance and two edges, which begin no trace
// unless they are told to.
type fleet struct {
	routers, edges []*member
	presence       *member
}

// startFleet starts one that ends with the test. otlp is where traces go; config
// is a file for routers and edges, or "".
func startFleet(t *testing.T, otlp, config string) *fleet {
	t.Helper()
	tracing := []string{"--trace-ratio", "0", "--otlp-endpoint", otlp}
	var configured []string
	if config != "" {
		configured = []string{"--config", config}
	}
	f := &fleet{}
	start := func(program, id, admin, serves string, args ...string) *member {
		args = slices.Concat([]string{"--id", id, "--admin", admin}, args, tracing)
		m := &member{process.New(t, id, process.Built(t, program), admin, args...).With("OTEL_BSP_SCHEDULE_DELAY=100"), serves}
		m.Launch(t)
		return m
	}
	gossip := process.Addresses(t, 3)
	join := strings.Join(gossip[:2], ",")
	var grpc []string
	for i, id := range []string{"router-1", "router-2"} {
		a := process.Addresses(t, 2)
		grpc = append(grpc, a[0])
		args := append([]string{"--grpc", a[0], "--gossip", gossip[i], "--join", join}, configured...)
		f.routers = append(f.routers, start("skein-router", id, a[1], a[0], args...))
	}
	a := process.Addresses(t, 2)
	f.presence = start("skein-presence", "presence-1", a[1], a[0], "--grpc", a[0], "--gossip", gossip[2], "--join", join)
	for _, id := range []string{"edge-a", "edge-b"} {
		a := process.Addresses(t, 2)
		args := append([]string{"--listen", a[0], "--agent", "", "--routers", strings.Join(grpc, ","), "--trace-clients"}, configured...)
		f.edges = append(f.edges, start("skein-edge", id, a[1], a[0], args...))
	}
	for _, m := range f.all() {
		m.AwaitReady(t)
	}
	return f
}

func (f *fleet) all() []*member { return slices.Concat(f.routers, []*member{f.presence}, f.edges) }

// client is a backend's client of a router.
func (m *member) client(t *testing.T) routerv1.RouterServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+m.serves, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the test is over
	return routerv1.NewRouterServiceClient(conn)
}

// owner returns the router that owns a topic, and the one that does not.
func (f *fleet) owner(t *testing.T, topic string) (owner, other *member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	info, err := f.routers[0].client(t).TopicInfo(ctx, &routerv1.TopicInfoRequest{Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	if info.GetOwner() == f.routers[0].ID {
		return f.routers[0], f.routers[1]
	}
	return f.routers[1], f.routers[0]
}

// sample has the command line change the sampling of a topic, everywhere, and
// checks what each router and edge says then: how many topics have a ratio of their
// own.
func (f *fleet) sample(t *testing.T, command, topic string, own int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	skein := exec.CommandContext(ctx, process.Built(t, "skein"), "trace", command, topic,
		"--router", f.routers[0].serves, "--timeout", "20s", "-o", "json")
	out, err := skein.Output()
	if err != nil {
		t.Fatalf("skein trace %s: %v\n%s", command, err, out)
	}
	var said struct {
		Nodes []struct {
			Node     string
			Exported bool
			Topics   []struct{ Topics string }
		}
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	var nodes []string
	for _, n := range said.Nodes {
		nodes = append(nodes, n.Node)
		if !n.Exported || len(n.Topics) != own {
			t.Errorf("%s says %+v", n.Node, n)
		}
	}
	if slices.Sort(nodes); !slices.Equal(nodes, []string{"edge-a", "edge-b", "router-1", "router-2"}) {
		t.Errorf("skein trace %s reached %q", command, nodes)
	}
}

// get asks a member's admin port.
func (m *member) get(t *testing.T, path string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.Admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() // only read
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s of %s: %d %s, %v", path, m.ID, resp.StatusCode, body, err)
	}
	return string(body)
}

// browser is a socket that joined a topic.
type browser struct {
	*wsclient.Conn
	topic string
}

// open connects to an edge and joins a topic. query is added to the address.
func open(t *testing.T, edge *member, topic, query string) browser {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, _, err := wsclient.Upgrade(ctx, edge.serves, "/socket/websocket?vsn=2.0.0"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the test is over
	b := browser{conn, topic}
	b.send(t, "1", "phx_join")
	b.await(t, `"status":"ok"`)
	return b
}

func (b browser) send(t *testing.T, ref, event string) {
	t.Helper()
	if err := b.Text(fmt.Sprintf(`["1",%q,%q,%q,{}]`, ref, b.topic, event)); err != nil {
		t.Fatal(err)
	}
}

// await reads until a frame has the text.
func (b browser) await(t *testing.T, text string) {
	t.Helper()
	if err := b.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		_, data, err := b.Read()
		if err != nil {
			t.Fatalf("%s did not come: %v", text, err)
		}
		if strings.Contains(string(data), text) {
			return
		}
	}
}
