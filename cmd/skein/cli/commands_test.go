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
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// fleetOfThree runs routers that believe in the given views, one each; a view
// of 0 means that the router does not answer.
func fleetOfThree(t *testing.T, views ...uint64) map[string]string {
	t.Helper()
	started := time.Now().Add(-50*time.Hour - 30*time.Minute)
	hours := uint64(started.UnixMilli())
	view := &meshv1.View{Members: []*meshv1.Member{{
		Id: "p1", Incarnation: 7, Role: meshv1.Role_ROLE_PRESENCE, State: meshv1.State_STATE_READY, Address: "10.0.0.9:6000", Version: "1.2.0",
	}}}
	var addresses []string
	for i, hash := range views {
		id := "r" + string(rune('1'+i))
		edges := []*adminv1.AttachedEdge{
			{Id: "edge-b", Incarnation: hours, Version: "1.2.0", Synced: i != 1, Rows: 10},
			{Id: "edge-a", Incarnation: hours, Version: "1.3.0", Synced: true, Rows: uint64(i)},
		}
		f := &fakeRouter{members: func() (*adminv1.MembersResponse, error) {
			if hash == 0 {
				return nil, status.Error(codes.Unavailable, "router is stopping")
			}
			return &adminv1.MembersResponse{Self: id, View: &meshv1.View{Hash: hash, Members: view.GetMembers()}, Edges: edges[i/2:]}, nil
		}}
		addresses = append(addresses, routing(t, f)["SKEIN_ROUTER"])
		view.Members = append(view.Members, &meshv1.Member{
			Id: id, Incarnation: hours, Role: meshv1.Role_ROLE_ROUTER, State: meshv1.State(i%3) + 1, Address: addresses[i], Version: "1.2.0",
		})
	}
	return map[string]string{"SKEIN_ROUTER": strings.Join(addresses, ",")}
}

func TestMembers(t *testing.T) {
	ports := []string{`127\.0\.0\.1:\d{4,5} *`, "127.0.0.1:PORT  ", `"incarnation": \d{9,}`, `"incarnation": N`}
	for name, views := range map[string][]uint64{
		"agree":    {0xaa, 0xaa, 0xaa},
		"disagree": {0xaa, 0xbb, 0xaa},
		"silent":   {0xaa, 0, 0xaa},
		"alone":    {0xaa},
	} {
		env := fleetOfThree(t, views...)
		got := skein(t, env, "", "members")
		if got.code != 0 {
			t.Errorf("%s: exit %d\n%s", name, got.code, got.stderr)
		}
		compare(t, "members-"+name+".txt", got.stdout, ports...)
		if name == "disagree" {
			compare(t, "members.json", skein(t, env, "", "members", "-o", "json").stdout, ports...)
		}
	}
}

func TestAgo(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	for d, want := range map[time.Duration]string{
		-time.Second: "-", 5 * time.Second: "5s", 65 * time.Second: "1m05s", 25 * time.Hour: "25h00m", 50 * time.Hour: "2d02h",
	} {
		if got := ago(uint64(now.Add(-d).UnixMilli()), now); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
	if ago(7, now) != "-" {
		t.Error("an incarnation that is no time")
	}
}

func TestTopic(t *testing.T) {
	env := routing(t, &fakeRouter{topicInfo: func(r *routerv1.TopicInfoRequest) (*routerv1.TopicInfoResponse, error) {
		info := &routerv1.TopicInfoResponse{Topic: r.GetTopic(), Owner: "r2", View: 0xaa}
		switch r.GetTopic() {
		case "room:1":
			info.Receivers = []*routerv1.Receiver{
				{Id: "edge-a", Reason: routerv1.Reason_REASON_ROW}, {Id: "edge-b", Reason: routerv1.Reason_REASON_FLOOD},
				{Id: "r3", Reason: routerv1.Reason_REASON_SUBSCRIPTION}, {Id: "x", Reason: 99},
			}
		case "broken":
			return nil, status.Error(codes.Unavailable, "no router owns the topic")
		}
		return info, nil
	}})
	compare(t, "topic.txt", skein(t, env, "", "topic", "room:1").stdout+"\n"+skein(t, env, "", "topic", "empty").stdout)
	compare(t, "topic.json", skein(t, env, "", "topic", "room:1", "-o", "json").stdout)
	if got := skein(t, env, "", "topic", "broken"); got.code != 1 || !strings.HasSuffix(got.stderr, `about "broken": no router owns the topic`+"\n") {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
}

func TestPublish(t *testing.T) {
	var seen *routerv1.Message
	env := routing(t, &fakeRouter{publish: func(r *routerv1.PublishRequest) (*routerv1.PublishResponse, error) {
		seen = r.GetMessage()
		if seen.GetTopic() == "full" {
			return nil, status.Error(codes.ResourceExhausted, "a queue is full")
		}
		return &routerv1.PublishResponse{Owner: "r2"}, nil
	}})
	for _, c := range []struct {
		args       []string
		stdin      string
		json, text string
		binary     string
	}{
		{args: []string{"room:1", "new_msg", `{"a": 1}`}, json: `{"a": 1}`, text: "Published \"new_msg\" on \"room:1\"; ordered by r2.\n"},
		{args: []string{"room:1", "new_msg", "-"}, stdin: "{\n}\n", json: "{\n}\n"},
		{args: []string{"room:1", "new_msg"}},
		{args: []string{"room:1", "new_msg", "-", "--binary"}, stdin: "\x00\xff", binary: "\x00\xff"},
		{args: []string{"room:1", "new_msg", "-o", "json"}, text: "{\n  \"event\": \"new_msg\",\n  \"owner\": \"r2\",\n  \"topic\": \"room:1\"\n}\n"},
	} {
		got := skein(t, env, c.stdin, append([]string{"publish"}, c.args...)...)
		if got.code != 0 || c.text != "" && got.stdout != c.text {
			t.Errorf("%q: exit %d\n%s%s", c.args, got.code, got.stdout, got.stderr)
		}
		if seen.GetTopic() != "room:1" || seen.GetEvent() != "new_msg" || seen.GetJson() != c.json || string(seen.GetBinary()) != c.binary {
			t.Errorf("%q: published %v", c.args, seen)
		}
	}
	if got := skein(t, env, "", "publish", "full", "e"); got.code != 1 || !strings.Contains(got.stderr, `publish "e" on "full": a queue is full`) {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
	if got := skein(t, env, strings.Repeat(" ", maxPayload+1), "publish", "t", "e", "-"); got.code != 2 || !strings.Contains(got.stderr, "more than") {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
}

func TestTail(t *testing.T) {
	messages := []*routerv1.Message{
		{Topic: "room:1", Event: "new_msg", Payload: &routerv1.Message_Json{Json: `{"body":"<hi>"}`}},
		{Topic: "room:2\x1b[2J", Event: "blob", Payload: &routerv1.Message_Binary{Binary: []byte{1, 2, 3}}},
		{Topic: "room:3", Event: "bare"},
	}
	env := routing(t, &fakeRouter{subscribe: func(r *routerv1.SubscribeRequest, stream routerv1.RouterService_SubscribeServer) error {
		first := &routerv1.SubscribeResponse{Kind: &routerv1.SubscribeResponse_Subscribed{Subscribed: &routerv1.Subscribed{Router: "r1"}}}
		if err := stream.Send(first); err != nil {
			return err
		}
		for _, m := range messages {
			if _, prefix := r.GetFilter().(*routerv1.SubscribeRequest_Prefix); !prefix && m.GetTopic() != r.GetTopic() {
				continue
			}
			if err := stream.Send(&routerv1.SubscribeResponse{Kind: &routerv1.SubscribeResponse_Message{Message: m}}); err != nil {
				return err
			}
		}
		return nil
	}})
	clock := []string{`\d\d:\d\d:\d\d\.\d{3}`, "12:00:00.000", `"time":"[^"]*"`, `"time":"T"`}
	got := skein(t, env, "", "tail", "--prefix", "", "--count", "3")
	if got.code != 0 || got.stderr != "Listening through r1; ctrl-C ends.\n" {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
	compare(t, "tail.txt", got.stdout, clock...)
	compare(t, "tail.json", skein(t, env, "", "tail", "--prefix", "room:", "--count", "3", "-o", "json").stdout, clock...)
	got = skein(t, env, "", "tail", "room:1")
	if got.code != 1 || strings.Count(got.stdout, "\n") != 1 || !strings.Contains(got.stderr, "ended the subscription") {
		t.Errorf("a router that stops: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

func TestTailEndsWithoutError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	env := routing(t, &fakeRouter{subscribe: func(_ *routerv1.SubscribeRequest, stream routerv1.RouterService_SubscribeServer) error {
		cancel() // the user presses ctrl-C
		<-stream.Context().Done()
		return nil
	}})
	var out strings.Builder
	code := Main(ctx, Env{Args: []string{"tail", "t"}, Getenv: func(name string) string { return env[name] }, Stdout: &out, Stderr: &out})
	if code != 0 {
		t.Errorf("exit %d\n%s", code, out.String())
	}
}

func TestTop(t *testing.T) {
	env := fleetOfThree(t, 0xaa)
	at := func(second uint64) *presencev1.Fleet {
		return &presencev1.Fleet{Connections: 1200, Elected: "p1", Instance: "p1", Edges: []*presencev1.Edge{{
			Id: "edge-a", Incarnation: 1, Version: "1.2.0", State: presencev1.EdgeState_EDGE_STATE_READY, Address: "10.0.0.1:4000",
			Connections: 1200, Channels: 1300, Topics: 9, Cpu: 0.5, Memory: 32 << 20, Deliveries: 5000 * second, Publishes: 10 * second,
			Taken: timestamppb.New(time.Unix(1_800_000_000+int64(second), 0)),
		}}}
	}
	env["SKEIN_PRESENCE"] = serve(t, func(s *grpc.Server) {
		presencev1.RegisterFleetServiceServer(s, &fakePresence{fleets: []*presencev1.Fleet{at(1), at(2), at(3)}})
	})
	got := skein(t, env, "", "top", "--once", "--timeout=2s")
	for _, want := range []string{"1 edge   1200 connections   in 10/s   out 5000/s", "routers r1 (joining)", "presence p1", "View 00000000000000aa: 1 router, alone.", "edge-a          ready"} {
		if got.code != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("exit %d, no %q in\n%s%s", got.code, want, got.stdout, got.stderr)
		}
	}
	got = skein(t, env, "", "top", "-o", "json")
	for _, want := range []string{`"connections"`, `"1200"`, `"EDGE_STATE_READY"`, `"elected"`} {
		if got.code != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("exit %d, no %q in\n%s%s", got.code, want, got.stdout, got.stderr)
		}
	}
}

func TestKick(t *testing.T) {
	var seen *routerv1.DisconnectRequest
	env := routing(t, &fakeRouter{kick: func(r *routerv1.DisconnectRequest) (*routerv1.DisconnectResponse, error) {
		seen = r
		if r.GetUser() == "stuck" {
			return nil, status.Error(codes.Unavailable, "1 of 2 edges did not answer, try again: e2 (context deadline exceeded)")
		}
		return &routerv1.DisconnectResponse{Connections: 1, Channels: 3, Edges: 2}, nil
	}})
	for _, c := range []struct {
		args []string
		want *routerv1.DisconnectRequest
	}{
		{[]string{"--user", "u"}, &routerv1.DisconnectRequest{User: "u"}},
		{[]string{"--topic", "room:1", "--user=u"}, &routerv1.DisconnectRequest{User: "u", Topic: "room:1"}},
		{[]string{"--connection", "a/b/7"}, &routerv1.DisconnectRequest{Connection: &routerv1.Connection{Edge: "a/b", Id: 7}}},
	} {
		got := skein(t, env, "", append([]string{"kick"}, c.args...)...)
		if got.code != 0 || got.stdout != "Closed 1 connection and ended 3 channels on 2 edges.\n" || !proto.Equal(seen, c.want) {
			t.Errorf("%q: exit %d, asked %v\n%s%s", c.args, got.code, seen, got.stdout, got.stderr)
		}
	}
	if got := skein(t, env, "", "kick", "--user", "u", "-o", "json").stdout; got != "{\n  \"connections\": 1,\n  \"channels\": 3,\n  \"edges\": 2\n}\n" {
		t.Error(got)
	}
	if got := skein(t, env, "", "kick", "--user", "stuck"); got.code != 1 || !strings.Contains(got.stderr, "disconnect: 1 of 2 edges did not answer") {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
}
