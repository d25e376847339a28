package router_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

func (n *node) admin() adminv1.AdminServiceClient { return adminv1.NewAdminServiceClient(n.conn) }

// holding answers as an edge with the given connections; their queues are their
// ids.
func holding(edge string, matched uint64, ids ...uint64) func(*meshv1.EdgeCall) *meshv1.EdgeAnswer {
	return func(call *meshv1.EdgeCall) *meshv1.EdgeAnswer {
		found := &meshv1.Inspected{Matched: matched}
		for _, id := range ids[:min(len(ids), int(call.GetInspect().GetLimit()))] {
			found.Connections = append(found.Connections, &meshv1.ConnectionInfo{Edge: edge, Id: id, QueueBytes: id})
		}
		return &meshv1.EdgeAnswer{Answer: &meshv1.EdgeAnswer_Inspected{Inspected: found}}
	}
}

func unknown(*meshv1.EdgeCall) *meshv1.EdgeAnswer { return &meshv1.EdgeAnswer{} }

func ids(connections []*meshv1.ConnectionInfo) string {
	var list []string
	for _, c := range connections {
		list = append(list, c.GetEdge()+"/"+string(rune('0'+c.GetId())))
	}
	return strings.Join(list, " ")
}

func TestConnectionsOfEveryEdge(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		e1, got := f.calledEdge("e1", holding("e1", 5, 1, 4))
		e2, _ := f.calledEdge("e2", holding("e2", 2, 2, 3))
		old, _ := f.calledEdge("old", unknown)
		mute, _ := f.calledEdge("mute", silent)
		for _, e := range []*edge{e1, e2, old, mute} {
			defer e.stop()
		}
		f.settle()
		began := time.Now()
		resp, err := f.nodes[1].admin().Connections(t.Context(), &adminv1.ConnectionsRequest{User: "u", MinQueueBytes: 1, Limit: 3})
		if err != nil || resp.GetMatched() != 7 || resp.GetEdges() != 2 || ids(resp.GetConnections()) != "e1/4 e2/3 e2/2" {
			t.Errorf("got %v, %v", resp, err)
		}
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("waited %s for the edge that does not answer", waited)
		}
		if s := resp.GetSilent(); len(s) != 2 || s[0].GetEdge() != "mute" || !strings.Contains(s[1].GetReason(), "does not know the call") {
			t.Errorf("silent %v", resp.GetSilent())
		}
		if asked := got.all()[0].GetInspect(); asked.GetUser() != "u" || asked.GetMinQueueBytes() != 1 || asked.GetLimit() != 3 {
			t.Errorf("asked %v", asked)
		}
		resp, err = f.nodes[0].admin().Connections(t.Context(), &adminv1.ConnectionsRequest{All: true, Limit: 1, Edge: "e2"})
		if err != nil || ids(resp.GetConnections()) != "e2/2" || resp.GetMatched() != 2 {
			t.Errorf("got %v, %v", resp, err)
		}
	})
}

func TestAdminCallsThatMakeNoSense(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		e, _ := f.calledEdge("e1", holding("e1", 0))
		defer e.stop()
		f.settle()
		admin := f.nodes[0].admin()
		for name, req := range map[string]*adminv1.ConnectionsRequest{
			"everybody":           {},
			"all without a bound": {All: true},
			"too many":            {User: "u", Limit: 1001},
			"long user":           {User: strings.Repeat("u", 1025)},
			"topic":               {Topic: "phoenix"},
			"edge":                {User: "u", Edge: "a b"},
		} {
			if _, err := admin.Connections(t.Context(), req); status.Code(err) != codes.InvalidArgument {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := admin.Connections(t.Context(), &adminv1.ConnectionsRequest{User: "u", Edge: "e9"})
		_, err1 := admin.Connection(t.Context(), &adminv1.ConnectionRequest{Edge: "e1", Id: 7})
		_, err2 := admin.Node(t.Context(), &adminv1.NodeRequest{Node: "e9"})
		for _, err := range []error{err, err1, err2} {
			if status.Code(err) != codes.NotFound {
				t.Error(err)
			}
		}
		_, err = admin.Connection(t.Context(), &adminv1.ConnectionRequest{Edge: "e1"})
		_, err1 = admin.SetLogLevel(t.Context(), &adminv1.SetLogLevelRequest{Level: "loud"})
		_, err2 = admin.TracePublish(t.Context(), &adminv1.TracePublishRequest{Topic: ""})
		for _, err := range []error{err, err1, err2} {
			if status.Code(err) != codes.InvalidArgument {
				t.Error(err)
			}
		}
	})
}

func TestNodeAndItsLogLevel(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		e, got := f.calledEdge("e1", func(call *meshv1.EdgeCall) *meshv1.EdgeAnswer {
			if call.GetDescribe() {
				return &meshv1.EdgeAnswer{Answer: &meshv1.EdgeAnswer_Node{Node: &meshv1.NodeInfo{Id: "e1", Service: "edge"}}}
			}
			return &meshv1.EdgeAnswer{Answer: &meshv1.EdgeAnswer_LogLevel{LogLevel: &meshv1.LogLevel{Level: call.GetSetLogLevel().GetLevel()}}}
		})
		defer e.stop()
		f.settle()
		admin := f.nodes[0].admin()
		own, err := admin.Node(t.Context(), &adminv1.NodeRequest{})
		if err != nil || own.GetNode().GetId() != "r1" || own.GetNode().GetService() != "router" || !own.GetNode().GetClock().AsTime().Equal(time.Now()) {
			t.Errorf("got %v, %v", own, err)
		}
		of, err := admin.Node(t.Context(), &adminv1.NodeRequest{Node: "e1"})
		if err != nil || of.GetNode().GetService() != "edge" {
			t.Errorf("got %v, %v", of, err)
		}
		level, err := admin.SetLogLevel(t.Context(), &adminv1.SetLogLevelRequest{Node: "e1", Level: "debug", ForMs: 60_000})
		asked := got.all()[1].GetSetLogLevel()
		if err != nil || level.GetNode() != "e1" || level.GetLogLevel().GetLevel() != "debug" || asked.GetForMs() != 60_000 || asked.GetBy() == "" {
			t.Errorf("got %v, %v; asked %v", level, err, asked)
		}
		level, err = admin.SetLogLevel(t.Context(), &adminv1.SetLogLevelRequest{Node: "r1", Level: "debug", ForMs: 60_000})
		if err != nil || level.GetLogLevel().GetLevel() != "debug" {
			t.Errorf("got %v, %v", level, err)
		}
		time.Sleep(61 * time.Second) // virtual time
		if own, err = admin.Node(t.Context(), &adminv1.NodeRequest{}); err != nil || own.GetNode().GetLogLevel().GetLevel() != "info" {
			t.Errorf("after its time: %v, %v", own, err)
		}
	})
}

func TestSamplingOfRouterAndEdge(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		refused := ""
		e, got := f.calledEdge("e1", func(call *meshv1.EdgeCall) *meshv1.EdgeAnswer {
			return &meshv1.EdgeAnswer{Answer: &meshv1.EdgeAnswer_SamplingSet{SamplingSet: &meshv1.SamplingSet{
				Sampling: &meshv1.Sampling{Ratio: call.GetSetSampling().GetRatio()}, Refused: refused,
			}}}
		})
		defer e.stop()
		f.settle()
		admin := f.nodes[0].admin()
		set := &adminv1.SetSamplingRequest{Node: "e1", Topics: "room:1", Ratio: new(0.5), ForMs: 60_000}
		resp, err := admin.SetSampling(t.Context(), set)
		asked := got.all()[0].GetSetSampling()
		if err != nil || resp.GetNode() != "e1" || resp.GetSampling().GetRatio() != 0.5 || asked.GetForMs() != 60_000 || asked.GetBy() == "" {
			t.Errorf("got %v, %v; asked %v", resp, err, asked)
		}
		refused = "it has enough"
		if _, err = admin.SetSampling(t.Context(), set); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), refused) {
			t.Error(err)
		}
		set.Node = "r1"
		resp, err = admin.SetSampling(t.Context(), set)
		if topics := resp.GetSampling().GetTopics(); err != nil || len(topics) != 1 || topics[0].GetRatio() != 0.5 || topics[0].GetUntil() == nil {
			t.Errorf("got %v, %v", resp, err)
		}
		time.Sleep(time.Minute) // virtual time
		if own, err := admin.Node(t.Context(), &adminv1.NodeRequest{}); err != nil || len(own.GetNode().GetSampling().GetTopics()) != 0 {
			t.Errorf("after its time: %v, %v", own, err)
		}
		for i := range 100 {
			set.Topics = fmt.Sprint(i)
			if _, err := admin.SetSampling(t.Context(), set); err != nil {
				t.Fatal(err)
			}
		}
		set.Topics = "more"
		_, err1 := admin.SetSampling(t.Context(), set)
		_, err2 := admin.SetSampling(t.Context(), &adminv1.SetSamplingRequest{Node: "e1", Topics: "a", Ratio: new(2.0)})
		_, err3 := admin.SetSampling(t.Context(), &adminv1.SetSamplingRequest{Node: "e9", Topics: "a"})
		for i, want := range []codes.Code{codes.ResourceExhausted, codes.InvalidArgument, codes.NotFound} {
			if err := []error{err1, err2, err3}[i]; status.Code(err) != want {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}

func TestTopicsAreListedByTheirOwners(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		all := []string{"other", "room:1", "room:2", "room:3", "room:4"}
		e := f.start(&edge{hello: &meshv1.Hello{Id: "e1", Incarnation: 1}, topics: all})
		f.settle()
		var listed []string
		for _, n := range f.nodes {
			resp, err := n.admin().Topics(t.Context(), &adminv1.TopicsRequest{})
			if err != nil || resp.GetMore() {
				t.Fatalf("got %v, %v", resp, err)
			}
			for _, topic := range resp.GetTopics() {
				if f.owner(topic) != n {
					t.Errorf("%s lists %s", n.id, topic)
				}
			}
			listed = append(listed, resp.GetTopics()...)
		}
		if slices.Sort(listed); !slices.Equal(listed, all) {
			t.Errorf("listed %q", listed)
		}
		_, err1 := f.nodes[0].admin().Topics(t.Context(), &adminv1.TopicsRequest{Limit: 1001})
		_, err2 := f.nodes[0].admin().Topics(t.Context(), &adminv1.TopicsRequest{Prefix: strings.Repeat("a", 1025)})
		for _, err := range []error{err1, err2} {
			if status.Code(err) != codes.InvalidArgument {
				t.Error(err)
			}
		}
		e.stop()
		f.settle()
		if resp, err := f.nodes[0].admin().Topics(t.Context(), &adminv1.TopicsRequest{}); err != nil || len(resp.GetTopics()) != 0 {
			t.Errorf("of an edge that has gone: %v, %v", resp, err)
		}
	})
}

func TestTracePublishCountsAndPublishesNothing(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, f *fleet) {
		has := func(n uint64) func(*meshv1.EdgeCall) *meshv1.EdgeAnswer { return holding("", n) }
		e1, _ := f.calledEdge("e1", has(2)) // has them, but announces no row
		e2, _ := f.calledEdge("e2", has(0))
		e3 := f.start(&edge{hello: &meshv1.Hello{Id: "e3", Incarnation: 1}, topics: []string{"room:1"}, called: has(3)})
		for _, e := range []*edge{e1, e2, e3} {
			defer e.stop()
		}
		f.settle()
		owner := f.owner("room:1")
		for _, n := range f.nodes {
			got, err := n.admin().TracePublish(t.Context(), &adminv1.TracePublishRequest{Topic: "room:1"})
			if err != nil || got.GetOwner() != owner.id || got.GetAsked() != n.id || len(got.GetReceivers()) != 2 {
				t.Fatalf("got %v, %v", got, err)
			}
			missed, row := got.GetReceivers()[0], got.GetReceivers()[1]
			if missed.GetId() != "e1" || missed.GetReason() != adminv1.TraceReason_TRACE_REASON_MISSED || missed.GetChannels() != 2 ||
				row.GetId() != "e3" || row.GetReason() != adminv1.TraceReason_TRACE_REASON_ROW || row.GetChannels() != 3 {
				t.Errorf("got %v", got.GetReceivers())
			}
		}
		if got := e3.received("room:1"); len(got) > 0 {
			t.Errorf("published %q", got)
		}
	})
}
