package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// fakeAdmin is a router that knows the edges e1 and e2, and itself as r1.
type fakeAdmin struct {
	adminv1.UnimplementedAdminServiceServer

	asked proto.Message // last
}

func (f *fakeAdmin) Members(context.Context, *adminv1.MembersRequest) (*adminv1.MembersResponse, error) {
	return &adminv1.MembersResponse{
		Self: "r1", View: &meshv1.View{Members: []*meshv1.Member{{Id: "r1", Role: meshv1.Role_ROLE_ROUTER}}},
		Edges: []*adminv1.AttachedEdge{{Id: "e1"}, {Id: "e2"}},
	}, nil
}

func (f *fakeAdmin) Connections(_ context.Context, r *adminv1.ConnectionsRequest) (*adminv1.ConnectionsResponse, error) {
	f.asked = r
	if r.GetTopic() == "empty" {
		return &adminv1.ConnectionsResponse{Edges: 1}, nil
	}
	return &adminv1.ConnectionsResponse{
		Matched: 20, Edges: 2, Silent: []*adminv1.SilentEdge{{Edge: "e3", Reason: "it did not answer"}},
		Connections: []*meshv1.ConnectionInfo{aConnection(), {
			Edge: "e2", Id: 7, User: "eve\x1b[2J", Transport: "longpoll", Mount: "/socket", Address: "::1", AgeMs: 90_000_000, QueueBytes: 3,
		}},
	}, nil
}

func aConnection() *meshv1.ConnectionInfo {
	return &meshv1.ConnectionInfo{
		Edge: "e1", Id: 1009, Transport: "websocket", Mount: "/socket", Address: "10.0.0.9", AgeMs: 61_000, SilenceMs: 2_000,
		QueueBytes: 4096, Unanswered: 2, Closing: true, Channels: 2, Topics: []string{"room:1", "room:\x1b"},
	}
}

func (f *fakeAdmin) Connection(_ context.Context, r *adminv1.ConnectionRequest) (*adminv1.ConnectionResponse, error) {
	if r.GetId() != 1009 || r.GetEdge() != "e1" {
		return nil, status.Error(codes.NotFound, "it may have ended")
	}
	return &adminv1.ConnectionResponse{Connection: aConnection()}, nil
}

func (f *fakeAdmin) TracePublish(_ context.Context, r *adminv1.TracePublishRequest) (*adminv1.TracePublishResponse, error) {
	resp := &adminv1.TracePublishResponse{Topic: r.GetTopic(), Asked: "r1", Owner: "r2", View: 0xaa}
	if r.GetTopic() != "empty" {
		resp.Receivers = []*adminv1.TraceReceiver{
			{Id: "e1", Reason: adminv1.TraceReason_TRACE_REASON_ROW, Channels: 3},
			{Id: "e2", Reason: adminv1.TraceReason_TRACE_REASON_FLOOD, Problem: "it did not answer"},
			{Id: "e3", Reason: adminv1.TraceReason_TRACE_REASON_MISSED, Channels: 1},
			{Id: "r2", Reason: adminv1.TraceReason_TRACE_REASON_SUBSCRIPTION},
		}
	}
	return resp, nil
}

func (f *fakeAdmin) Node(_ context.Context, r *adminv1.NodeRequest) (*adminv1.NodeResponse, error) {
	return &adminv1.NodeResponse{Node: &meshv1.NodeInfo{Id: r.GetNode(), LogLevel: &meshv1.LogLevel{Level: "info", Configured: "info"}}}, nil
}

func (f *fakeAdmin) SetLogLevel(_ context.Context, r *adminv1.SetLogLevelRequest) (*adminv1.SetLogLevelResponse, error) {
	f.asked = r
	if r.GetNode() == "e9" {
		return nil, status.Error(codes.NotFound, `no edge "e9" is attached to router r1`)
	}
	until := timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local))
	return &adminv1.SetLogLevelResponse{Node: r.GetNode(), LogLevel: &meshv1.LogLevel{Level: r.GetLevel(), Configured: "info", Until: until}}, nil
}

// administering runs a fake router and returns the variables that lead to it.
func administering(t *testing.T) (*fakeAdmin, map[string]string) {
	t.Helper()
	f := &fakeAdmin{}
	return f, map[string]string{"SKEIN_ROUTER": serve(t, func(s *grpc.Server) { adminv1.RegisterAdminServiceServer(s, f) })}
}

func TestConns(t *testing.T) {
	f, env := administering(t)
	for _, c := range []struct {
		args string
		want *adminv1.ConnectionsRequest
	}{
		{"--user u --edge e1", &adminv1.ConnectionsRequest{User: "u", Edge: "e1"}},
		{"--slow", &adminv1.ConnectionsRequest{MinQueueBytes: 1}},
		{"--slow=65536 --topic room:1", &adminv1.ConnectionsRequest{MinQueueBytes: 65536, Topic: "room:1"}},
		{"--all --limit 2", &adminv1.ConnectionsRequest{All: true, Limit: 2}},
	} {
		got := skein(t, env, "", append([]string{"conns"}, strings.Fields(c.args)...)...)
		if got.code != 0 || !proto.Equal(f.asked, c.want) {
			t.Errorf("%s: exit %d, asked %v\n%s", c.args, got.code, f.asked, got.stderr)
		}
	}
	compare(t, "conns.txt", skein(t, env, "", "conns", "--slow").stdout+"\n"+skein(t, env, "", "conns", "--topic", "empty").stdout)
	compare(t, "conns.json", skein(t, env, "", "conns", "--slow", "-o", "json").stdout)
}

func TestConn(t *testing.T) {
	_, env := administering(t)
	compare(t, "conn.txt", skein(t, env, "", "conn", "e1/1009").stdout)
	compare(t, "conn.json", skein(t, env, "", "conn", "e1/1009", "-o", "json").stdout)
	if got := skein(t, env, "", "conn", "e1/7"); got.code != 1 || !strings.Contains(got.stderr, "it may have ended") {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
}

func TestTrace(t *testing.T) {
	_, env := administering(t)
	at := func(args ...string) string {
		return skein(t, env, "", append([]string{"trace", "publish"}, args...)...).stdout
	}
	compare(t, "trace.txt", at("room:1", "--dry-run")+"\n"+at("empty", "--dry-run"))
	compare(t, "trace.json", at("room:1", "--dry-run", "-o", "json"))
}

func TestLogLevel(t *testing.T) {
	f, env := administering(t)
	for args, want := range map[string]string{
		"e1":                  "e1 logs from level info.\n",
		"r1":                  "r1 logs from level info.\n",
		"e1 debug":            "e1 logs from level debug until 03:04:05, then from info again.\n",
		"e1 debug --for 1h":   "e1 logs from level debug until 03:04:05, then from info again.\n",
		"e1 warn -o json":     `"level": "warn"`,
		"e1 reset --for 1m1s": "e1 logs from level",
	} {
		got := skein(t, env, "", append([]string{"log-level"}, strings.Fields(args)...)...)
		if got.code != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("%s: exit %d, got %s%s", args, got.code, got.stdout, got.stderr)
		}
	}
	skein(t, env, "", "log-level", "e1", "debug", "--for", "1h")
	if want := (&adminv1.SetLogLevelRequest{Node: "e1", Level: "debug", ForMs: 3_600_000}); !proto.Equal(f.asked, want) {
		t.Errorf("asked %v", f.asked)
	}
	if got := skein(t, env, "", "log-level", "e9", "debug"); got.code != 1 || !strings.Contains(got.stderr, `no edge "e9" is attached`) {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
}

func TestAdminUsageErrors(t *testing.T) {
	for args, want := range map[string]string{
		"conns":                          "say which: --topic TOPIC, --user USER or --slow, or --all with --limit N",
		"conns --edge e1":                "say which",
		"conns --all":                    "say how many, with --limit N",
		"conns --user u --limit 1001":    "at most 1000",
		"conns --topic phoenix":          "reserved for the protocol",
		"conn e1":                        `"e1" is not EDGE/ID`,
		"conn e1/0":                      `"e1/0" is not EDGE/ID`,
		"trace publish room:1":           "say --dry-run",
		"trace publis":                   `unknown command "publis" (did you mean publish?)`,
		"trace sample phoenix --ratio 2": "reserved for the protocol\nratio: must be 0 to 1, got 2",
		"trace sample room:1 --for 25h":  "for: must be 1s to 24h0m0s",
		"trace unsample phoenix":         "reserved for the protocol",
		"log-level e1 loud --for 1ms":    "level: \"loud\" is none of debug, info, warn, error and reset\nfor: must be",
		"doctor --patience=-1s":          "patience: must not be negative",
	} {
		got := skein(t, nil, "", strings.Fields(args)...)
		if got.code != 2 || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("%q: exit %d, want 2 with %q, got\n%s%s", args, got.code, want, got.stderr, got.stdout)
		}
	}
}

func TestAdminCompletion(t *testing.T) {
	_, env := administering(t)
	if got := skein(t, env, "", "__complete", "log-level", ""); !strings.HasPrefix(got.stdout, "r1\ne1\ne2\n") {
		t.Errorf("offers\n%s%s", got.stdout, got.stderr)
	}
	if got := skein(t, env, "", "__complete", "log-level", "e1", ""); !strings.HasPrefix(got.stdout, "debug\n") {
		t.Errorf("offers\n%s", got.stdout)
	}
}

func TestWatchShowsItAgain(t *testing.T) {
	_, env := administering(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &afterLines{n: 3, then: cancel}
	code := Main(ctx, Env{
		Args: []string{"conns", "--slow", "-o", "json", "--watch", "--interval", "1ms"}, Getenv: func(name string) string { return env[name] },
		Stdout: out, Stderr: out,
	})
	if code != 0 || !strings.HasPrefix(out.text.String(), `{"matched":20,`) {
		t.Errorf("exit %d\n%s", code, out.text.String())
	}
}

// afterLines calls then when it has got n lines.
type afterLines struct {
	text strings.Builder
	n    int
	then func()
}

// Write implements [io.Writer].
func (a *afterLines) Write(p []byte) (int, error) {
	a.text.Write(p)
	if strings.Count(a.text.String(), "\n") >= a.n {
		a.then()
	}
	return len(p), nil
}
