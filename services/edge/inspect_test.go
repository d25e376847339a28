package edge

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// ask asks e as a router does.
func ask(t *testing.T, e *Edge, call *meshv1.EdgeCall) *meshv1.EdgeAnswer {
	t.Helper()
	return calls{e}.Call(t.Context(), call)
}

func inspecting(what *meshv1.Inspect) *meshv1.EdgeCall {
	return &meshv1.EdgeCall{Call: &meshv1.EdgeCall_Inspect{Inspect: what}}
}

func TestInspectFindsSocketsAndPolls(t *testing.T) {
	e := serving(t)
	connect(t, e)
	connect(t, e)
	status, _, _ := knock(t, http.MethodGet, "http://"+e.deps.Clients.Addr().String()+"/socket/longpoll?vsn=2.0.0")
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	for _, c := range []struct {
		what            *meshv1.Inspect
		matched, listed int
	}{
		{&meshv1.Inspect{Limit: 10}, 3, 3},
		{&meshv1.Inspect{Limit: 2}, 3, 2},
		{&meshv1.Inspect{}, 3, 0},
		{&meshv1.Inspect{Id: 2, Limit: 10}, 1, 1},
		{&meshv1.Inspect{Id: 9, Limit: 10}, 0, 0},
		{&meshv1.Inspect{User: "ada", Limit: 10}, 0, 0},
		{&meshv1.Inspect{Topic: "room:1", Limit: 10}, 0, 0},
		{&meshv1.Inspect{MinQueueBytes: 1 << 20, Limit: 10}, 0, 0},
	} {
		got := ask(t, e, inspecting(c.what)).GetInspected()
		if int(got.GetMatched()) != c.matched || len(got.GetConnections()) != c.listed {
			t.Errorf("%v: got %v", c.what, got)
		}
	}
	all := ask(t, e, inspecting(&meshv1.Inspect{Limit: 10, Topics: true})).GetInspected().GetConnections()
	for i, transport := range []string{"websocket", "websocket", "longpoll"} {
		c := all[i]
		if c.GetEdge() != "e1" || c.GetId() != uint64(i+1) || c.GetTransport() != transport || c.GetMount() != "/socket" ||
			c.GetAddress() != "127.0.0.1" || c.GetUser() != "" || c.GetChannels() != 0 || c.GetClosing() {
			t.Errorf("%d: %v", i, c)
		}
	}
}

func TestEdgeDescribesItselfAndChangesItsLogLevel(t *testing.T) {
	e := serving(t)
	node := ask(t, e, &meshv1.EdgeCall{Call: &meshv1.EdgeCall_Describe{Describe: true}}).GetNode()
	if node.GetId() != "e1" || node.GetService() != "edge" || node.GetClock() == nil || node.GetGossip() != nil {
		t.Errorf("described %v", node)
	}
	set := func(level string) *meshv1.LogLevel {
		return ask(t, e, &meshv1.EdgeCall{Call: &meshv1.EdgeCall_SetLogLevel{SetLogLevel: &meshv1.SetLogLevel{Level: level}}}).GetLogLevel()
	}
	if got := set("debug"); got.GetLevel() != "debug" || got.GetConfigured() != "info" || got.GetUntil() == nil {
		t.Errorf("got %v", got)
	}
	if got := set("of a later version"); got.GetLevel() != "debug" {
		t.Errorf("what makes no sense changed it: %v", got)
	}
	if got := set(""); !proto.Equal(got, &meshv1.LogLevel{Level: "info", Configured: "info"}) {
		t.Errorf("got %v", got)
	}
}

func TestEdgeChangesItsSampling(t *testing.T) {
	e := serving(t)
	set := func(what *meshv1.SetSampling) *meshv1.SamplingSet {
		return ask(t, e, &meshv1.EdgeCall{Call: &meshv1.EdgeCall_SetSampling{SetSampling: what}}).GetSamplingSet()
	}
	got := set(&meshv1.SetSampling{Topics: "room:*", Ratio: new(1.0)})
	if topics := got.GetSampling().GetTopics(); len(topics) != 1 || topics[0].GetRatio() != 1 || topics[0].GetUntil() == nil || got.GetRefused() != "" {
		t.Errorf("got %v", got)
	}
	node := ask(t, e, &meshv1.EdgeCall{Call: &meshv1.EdgeCall_Describe{Describe: true}}).GetNode()
	if !proto.Equal(node.GetSampling(), got.GetSampling()) {
		t.Errorf("described %v", node)
	}
	if got := set(&meshv1.SetSampling{Topics: "room:*", Ratio: new(2.0)}); !strings.Contains(got.GetRefused(), "2 is not between 0 and 1") {
		t.Errorf("got %v", got)
	}
	if got := set(&meshv1.SetSampling{Topics: "room:*"}); len(got.GetSampling().GetTopics()) != 0 {
		t.Errorf("got %v", got)
	}
}
