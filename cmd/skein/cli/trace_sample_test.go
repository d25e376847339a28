package cli

import (
	"context"
	"strings"
	"sync"
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

// samplers are the routers r1 and r2, of which r1 has the edges e1 and e2.
type samplers struct {
	mu    sync.Mutex // guards the fields below
	asked map[string]*adminv1.SetSamplingRequest
	old   string // id of a process that does not know the call
}

// sampler is one of these routers.
type sampler struct {
	adminv1.UnimplementedAdminServiceServer
	*samplers

	id, other string   // address of the other
	topics    []string // that it owns
}

func (s *sampler) Members(context.Context, *adminv1.MembersRequest) (*adminv1.MembersResponse, error) {
	return &adminv1.MembersResponse{
		Self: s.id, Edges: []*adminv1.AttachedEdge{{Id: "e1"}, {Id: "e2"}},
		View: &meshv1.View{Members: []*meshv1.Member{
			{Id: "p1", Role: meshv1.Role_ROLE_PRESENCE, Address: "127.0.0.1:1"},
			{Id: "r1", Role: meshv1.Role_ROLE_ROUTER, Address: "127.0.0.1:1"}, // nobody may dial it: it was asked already
			{Id: "r2", Role: meshv1.Role_ROLE_ROUTER, Address: s.other},
		}},
	}, nil
}

func (s *sampler) Node(_ context.Context, r *adminv1.NodeRequest) (*adminv1.NodeResponse, error) {
	info := &meshv1.NodeInfo{Id: r.GetNode(), Sampling: &meshv1.Sampling{
		Exported: r.GetNode() != "e2", Ratio: 0.01, Topics: []*meshv1.TopicRatio{{Topics: "room:\x1b", Ratio: 0.5}},
	}}
	if r.GetNode() == s.old {
		info.Sampling = nil
	}
	return &adminv1.NodeResponse{Node: info}, nil
}

func (s *sampler) SetSampling(_ context.Context, r *adminv1.SetSamplingRequest) (*adminv1.SetSamplingResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.GetNode() == s.old {
		return nil, status.Error(codes.NotFound, "no edge "+s.old+" is attached")
	}
	s.asked[r.GetNode()+" of "+s.id] = r
	set := &meshv1.Sampling{Exported: true, Ratio: 0.01}
	if r.Ratio != nil {
		until := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
		set.Topics = []*meshv1.TopicRatio{{Topics: r.GetTopics(), Ratio: r.GetRatio(), Until: timestamppb.New(until)}}
	}
	return &adminv1.SetSamplingResponse{Node: r.GetNode(), Sampling: set}, nil
}

func (s *sampler) Topics(_ context.Context, r *adminv1.TopicsRequest) (*adminv1.TopicsResponse, error) {
	resp := &adminv1.TopicsResponse{}
	for _, topic := range s.topics {
		if strings.HasPrefix(topic, r.GetPrefix()) {
			resp.Topics = append(resp.Topics, topic)
		}
	}
	return resp, nil
}

// samplingFleet runs both routers and returns the variables that lead to the first.
func samplingFleet(t *testing.T) (*samplers, map[string]string) {
	t.Helper()
	all := &samplers{asked: map[string]*adminv1.SetSamplingRequest{}}
	run := func(s *sampler) string {
		return serve(t, func(server *grpc.Server) { adminv1.RegisterAdminServiceServer(server, s) })
	}
	second := run(&sampler{samplers: all, id: "r2", topics: []string{"room:2", "room:b", "room:$(reboot)", "-o"}})
	first := run(&sampler{samplers: all, id: "r1", other: second, topics: []string{"lobby", "room:1", "room:2", "room:a b", "raum:\u00fc"}})
	return all, map[string]string{"SKEIN_ROUTER": first}
}

func TestTraceSample(t *testing.T) {
	all, env := samplingFleet(t)
	compare(t, "sample.txt", skein(t, env, "", "trace", "sample", "room:1", "--ratio", "0.5", "--for", "1m").stdout)
	if len(all.asked) != 4 {
		t.Errorf("asked %v", all.asked)
	}
	for _, who := range []string{"r1 of r1", "r2 of r2", "e1 of r1", "e2 of r1"} {
		node, _, _ := strings.Cut(who, " ")
		want := &adminv1.SetSamplingRequest{Node: node, Topics: "room:1", Ratio: new(0.5), ForMs: 60_000}
		if !proto.Equal(all.asked[who], want) {
			t.Errorf("%s was asked %v", who, all.asked[who])
		}
	}
	clear(all.asked)
	got := skein(t, env, "", "trace", "unsample", "room:*", "--node", "r2")
	if want := (&adminv1.SetSamplingRequest{Node: "r2", Topics: "room:*"}); got.code != 0 || len(all.asked) != 1 || !proto.Equal(all.asked["r2 of r2"], want) {
		t.Errorf("exit %d, asked %v\n%s", got.code, all.asked, got.stderr)
	}
	compare(t, "unsample.txt", got.stdout)
	all.old = "e9"
	got = skein(t, env, "", "trace", "sample", "room:1", "--node", "e9")
	if got.code != 1 || !strings.Contains(got.stdout, "Failed at e9: no edge e9 is attached") {
		t.Errorf("exit %d\n%s", got.code, got.stdout)
	}
	got = skein(t, env, "", "trace", "sample", "room:1", "--node", "p1")
	if got.code != 1 || !strings.Contains(got.stderr, "p1 is a presence instance") {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
}

func TestTraceSampled(t *testing.T) {
	all, env := samplingFleet(t)
	all.old = "e1"
	compare(t, "sampled.txt", skein(t, env, "", "trace", "sampled").stdout)
	compare(t, "sampled.json", skein(t, env, "", "trace", "sampled", "--node", "e2", "-o", "json").stdout)
}

func TestTopicCompletion(t *testing.T) {
	_, env := samplingFleet(t)
	const rooms = "room:1\nroom:2\nroom:b\n:4\n"
	for _, args := range []string{
		"topic room:", "tail room:", "publish room:", "trace publish room:", "trace sample room:", "trace unsample room:",
		"kick --topic room:", "conns --topic room:",
	} {
		got := skein(t, env, "", append([]string{"__complete"}, strings.Fields(args)...)...)
		if got.stdout != rooms {
			t.Errorf("%s: offers\n%s%s", args, got.stdout, got.stderr)
		}
	}
	if got := skein(t, env, "", "__complete", "topic", "").stdout; got != "lobby\nraum:\u00fc\n"+rooms {
		t.Errorf("offers\n%s", got)
	}
	if got := skein(t, env, "", "__complete", "publish", "room:1", "").stdout; got != ":4\n" {
		t.Errorf("offers topics as events\n%s", got)
	}
	if got := skein(t, map[string]string{"SKEIN_ROUTER": nobody(t)}, "", "__complete", "topic", ""); got.stdout != ":1\n" {
		t.Errorf("without a router it offers\n%s", got.stdout)
	}
}
