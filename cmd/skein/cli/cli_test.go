package cli

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/cmd/skein/golden"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// result of one run of the program.
type result struct {
	code           int
	stdout, stderr string
}

// skein runs the program with arguments, variables and an input.
func skein(t *testing.T, env map[string]string, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := Main(ctx, Env{
		Args: args, Getenv: func(name string) string { return env[name] },
		Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr,
	})
	return result{code, stdout.String(), stderr.String()}
}

// compare is [golden.Compare]; what differs from run to run is replaced first, as
// replace says.
func compare(t *testing.T, name, got string, replace ...string) {
	t.Helper()
	for i := 0; i+1 < len(replace); i += 2 {
		got = regexp.MustCompile(replace[i]).ReplaceAllString(got, replace[i+1])
	}
	golden.Compare(t, name, got)
}

// serve runs a gRPC server on the loopback until the test ends.
func serve(t *testing.T, register func(*grpc.Server)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(telemetry.Nop(), telemetry.Nop().Log)
	register(server)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// fakeRouter answers what its functions say.
type fakeRouter struct {
	adminv1.UnimplementedAdminServiceServer
	routerv1.UnimplementedRouterServiceServer

	members   func() (*adminv1.MembersResponse, error)
	topicInfo func(*routerv1.TopicInfoRequest) (*routerv1.TopicInfoResponse, error)
	publish   func(*routerv1.PublishRequest) (*routerv1.PublishResponse, error)
	subscribe func(*routerv1.SubscribeRequest, routerv1.RouterService_SubscribeServer) error
	kick      func(*routerv1.DisconnectRequest) (*routerv1.DisconnectResponse, error)
}

func (f *fakeRouter) Members(context.Context, *adminv1.MembersRequest) (*adminv1.MembersResponse, error) {
	return f.members()
}

func (f *fakeRouter) TopicInfo(_ context.Context, r *routerv1.TopicInfoRequest) (*routerv1.TopicInfoResponse, error) {
	return f.topicInfo(r)
}

func (f *fakeRouter) Publish(_ context.Context, r *routerv1.PublishRequest) (*routerv1.PublishResponse, error) {
	return f.publish(r)
}

func (f *fakeRouter) Subscribe(r *routerv1.SubscribeRequest, stream routerv1.RouterService_SubscribeServer) error {
	return f.subscribe(r, stream)
}

func (f *fakeRouter) Disconnect(_ context.Context, r *routerv1.DisconnectRequest) (*routerv1.DisconnectResponse, error) {
	return f.kick(r)
}

// routing runs a fake router and returns the variables that lead to it.
func routing(t *testing.T, f *fakeRouter) map[string]string {
	t.Helper()
	address := serve(t, func(s *grpc.Server) {
		adminv1.RegisterAdminServiceServer(s, f)
		routerv1.RegisterRouterServiceServer(s, f)
	})
	return map[string]string{"SKEIN_ROUTER": address}
}

// fakePresence sends what it is told to each watcher.
type fakePresence struct {
	presencev1.UnimplementedFleetServiceServer

	fleets []*presencev1.Fleet
}

func (f *fakePresence) List(context.Context, *presencev1.ListRequest) (*presencev1.ListResponse, error) {
	return &presencev1.ListResponse{Fleet: f.fleets[0]}, nil
}

func (f *fakePresence) Watch(_ *presencev1.WatchRequest, stream presencev1.FleetService_WatchServer) error {
	for _, fleet := range f.fleets {
		if err := stream.Send(&presencev1.WatchResponse{Fleet: fleet}); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return nil
}

// nobody is an address where nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestUsageErrorsExitTwo(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"pubish"}, `unknown command "pubish" (did you mean publish?)`},
		{[]string{"bench", "fan"}, `unknown command "fan" (did you mean fanout?)`},
		{[]string{"--nothing"}, "unknown flag: --nothing"},
		{[]string{"topic"}, "missing argument: TOPIC\nSee: skein topic --help"},
		{[]string{"topic", "a", "b"}, `unexpected argument "b"`},
		{[]string{"topic", "phoenix"}, "reserved for the protocol"},
		{[]string{"tail", ""}, "must be 1 to 1024 bytes"},
		{[]string{"members", "-o", "xml", "--timeout=-1s", "--router=", "--presence="}, "bad configuration, 4 problems:\n"},
		{[]string{"publish", "t", "phx_join", "[1]"}, "event: \"phx_join\" is reserved for the protocol\npayload: must be a JSON object"},
		{[]string{"publish", "t", "e", "{\"a\":"}, "payload: not JSON: unexpected end of JSON input at byte 5"},
		{[]string{"publish", "t", "e", "null"}, "payload: must be a JSON object"},
		{[]string{"publish", "t", "e", "{\"a\":\"\xff\"}"}, "payload: not UTF-8"},
		{[]string{"kick"}, "say whom: --user USER, --connection EDGE/ID or --topic TOPIC"},
		{[]string{"kick", "alice"}, `unexpected argument "alice"`},
		{[]string{"kick", "--connection", "e1", "--topic", "phoenix"}, "connection: \"e1\" is not EDGE/ID, such as edge-1/42\ntopic: "},
		{[]string{"kick", "--connection", "e1/0"}, `connection: "e1/0" is not EDGE/ID`},
		{[]string{"kick", "--connection", "/7"}, `connection: "/7" is not EDGE/ID`},
		{[]string{"rebalance", "plans"}, `unknown command "plans" (did you mean plan?)`},
		{[]string{"rebalance", "explain", "a", "b"}, `unexpected argument "b"`},
		{[]string{"drain"}, "missing argument: EDGE\nSee: skein drain --help"},
		{[]string{"rollout", "--from", "blue"}, "to: say which group: --to GROUP\nSee: skein rollout --help"},
		{[]string{"rollout", "--from=a b", "--to=c", "--rate=fast"}, "from: \"a b\" is not the name of a group: letters, digits, '-', '.' and '_'\nrate: \"fast\" is not a rate"},
		{[]string{"rollout", "--from=a", "--to=a"}, `from and to are the same group, "a"`},
		{[]string{"rollout", "stop"}, `unknown command "stop"`},
		{[]string{"config", "show", "edgy"}, `unknown service "edgy": want one of edge, router, presence, dev`},
		{[]string{"config", "show", "edge", "--config", "/nowhere"}, "/nowhere"},
		{[]string{"bench", "fanout", "--via=post", "--topics=0"}, "bad configuration, 2 problems:\n"},
		{[]string{"bench", "people", "--people=10", "--topics=6"}, "people: 10 are fewer than 2 in each of 6 topics"},
		{[]string{"dev", "--listen=x", "--grpc=y"}, "bad configuration, 2 problems:\n"},
	} {
		got := skein(t, nil, "", c.args...)
		if got.code != 2 || !strings.Contains(got.stderr, c.want) || got.stdout != "" {
			t.Errorf("%q: exit %d, want 2 with %q, got\n%s%s", c.args, got.code, c.want, got.stderr, got.stdout)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	first, second := nobody(t), nobody(t)
	env := map[string]string{"SKEIN_ROUTER": first + "," + second, "SKEIN_PRESENCE": first}
	for _, args := range [][]string{{"members"}, {"topic", "t"}, {"publish", "t", "e"}, {"tail", "t"}, {"kick", "--user", "u"}} {
		got := skein(t, env, "", args...)
		if got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "cannot reach a router at "+first+", "+second) ||
			!strings.Contains(got.stderr, "connection refused") || !strings.Contains(got.stderr, "--router HOST:PORT") {
			t.Errorf("%q: exit %d\n%s", args, got.code, got.stderr)
		}
	}
	for _, args := range [][]string{
		{"top"}, {"top", "--once"}, {"top", "-o", "json"}, {"rebalance", "plan"}, {"rebalance", "apply"}, {"rebalance", "pause"},
		{"rebalance", "explain"}, {"rebalance", "history"}, {"rebalance", "status"}, {"drain", "e"}, {"drain", "e", "--undo"},
		{"rollout", "--from=a", "--to=b"}, {"rollout", "abort"}, {"rollout", "status"},
	} {
		got := skein(t, env, "", args...)
		if got.code != 1 || !strings.Contains(got.stderr, "cannot reach a presence instance at "+first) || !strings.Contains(got.stderr, "--presence HOST:PORT") {
			t.Errorf("%q: exit %d\n%s", args, got.code, got.stderr)
		}
	}
}

func TestTheFirstThatAnswersIsAsked(t *testing.T) {
	env := routing(t, &fakeRouter{topicInfo: func(*routerv1.TopicInfoRequest) (*routerv1.TopicInfoResponse, error) {
		return &routerv1.TopicInfoResponse{Topic: "t", Owner: "r1"}, nil
	}})
	env["SKEIN_ROUTER"] = nobody(t) + "," + env["SKEIN_ROUTER"]
	if got := skein(t, env, "", "topic", "t"); got.code != 0 {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
}

func TestHelpVersionAndCompletion(t *testing.T) {
	for _, c := range []struct {
		want string
		args []string
	}{
		{"Available Commands:", nil},
		{"Available Commands:", []string{"bench"}},
		{"Available Commands:", []string{"config"}},
		{"Available Commands:", []string{"rebalance"}},
		{"Available Commands:", []string{"rollout"}},
		{"--interval duration", []string{"top", "--help"}},
		{"skein dev (go", []string{"version"}},
		{"skein dev\n", []string{"--version"}},
		{`"version": "dev"`, []string{"version", "-o", "json"}},
		{"bash completion", []string{"completion", "bash"}},
		{"presence", []string{"__complete", "config", "show", ""}},
	} {
		if got := skein(t, nil, "", c.args...); got.code != 0 || !strings.Contains(got.stdout, c.want) {
			t.Errorf("%q: exit %d, no %q in\n%s%s", c.args, got.code, c.want, got.stdout, got.stderr)
		}
	}
}

func TestConfig(t *testing.T) {
	docs := skein(t, nil, "", "config", "docs").stdout
	for _, want := range []string{"## skein-edge\n", "## skein-router\n", "## skein-presence\n", "## skein dev\n", "`--max-moves-per-second`", "| `--listen` | `SKEIN_LISTEN` | `listen` | `127.0.0.1:4000` |"} {
		if !strings.Contains(docs, want) {
			t.Errorf("no %q in\n%s", want, docs)
		}
	}
	file := filepath.Join(t.TempDir(), "edge.yaml")
	if err := os.WriteFile(file, []byte("id: e7\nagent: ''\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := skein(t, map[string]string{"PORT": "8080"}, "", "config", "show", "edge", "--config", file)
	for _, want := range []string{"\nlisten: \":8080\"\n", "\nid: \"e7\"\n", "\nagent: \"\"\n"} {
		if !strings.Contains("\n"+got.stdout, want) {
			t.Errorf("no %q in\n%s%s", want, got.stdout, got.stderr)
		}
	}
}
