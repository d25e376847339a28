package router_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

func TestEveryRouterTakesAPublish(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, f *fleet) {
		a, b := f.edge("a", "room:1", "room:2", "room:3"), f.edge("b", "room:1", "room:2", "room:3")
		defer a.stop()
		defer b.stop()
		f.settle()
		want := map[string][]string{}
		for i := range 30 {
			topic, event := fmt.Sprintf("room:%d", 1+i%3), fmt.Sprint("e", i)
			want[topic] = append(want[topic], event)
			if err := f.nodes[i/3%3].publish(t, topic, event); err != nil {
				t.Fatal(err)
			}
		}
		f.settle()
		for topic, events := range want {
			for _, e := range []*edge{a, b} {
				if got := e.received(topic); !slices.Equal(got, events) {
					t.Errorf("%s got %v on %s, want %v", e.hello.GetId(), got, topic, events)
				}
			}
		}
		for _, edge := range f.nodes[0].members(t).GetEdges() {
			if !edge.GetSynced() {
				t.Errorf("%s is not synced", edge.GetId())
			}
		}
	})
}

func TestPublishOfAnEdgeIsAcknowledgedByAnyRouter(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, f *fleet) {
		e := f.edge("a", "room:1")
		defer e.stop()
		f.settle()
		for i, n := range f.nodes {
			e.publish(n.id, uint64(i+1), "room:1", fmt.Sprint("e", i))
			f.settle()
		}
		if got := e.received("room:1"); !slices.Equal(got, []string{"e0", "e1", "e2"}) {
			t.Errorf("got %v", got)
		}
		if len(e.acks) != 3 || e.acks[1] != 0 || e.acks[2] != 0 || e.acks[3] != 0 {
			t.Errorf("acks %v", e.acks)
		}
	})
}

// While routers come and go as planned, every accepted message arrives once,
// in the order of its publisher.
func TestRollingRestartLosesNothing(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, f *fleet) {
		topics := []string{"room:1", "room:2", "room:3", "room:4", "room:5"}
		a, b := f.edge("a", topics...), f.edge("b", topics...)
		defer a.stop()
		defer b.stop()
		f.settle()
		keep := f.nodes[0]
		want, stop, done := map[string][]string{}, make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				topic, event := topics[i%len(topics)], fmt.Sprint("e", i)
				if err := keep.publish(t, topic, event); err != nil {
					t.Errorf("%s on %s: %v", event, topic, err)
					return
				}
				want[topic] = append(want[topic], event)
				time.Sleep(5 * time.Millisecond) // virtual time
			}
		}()
		for _, n := range slices.Clone(f.nodes[1:]) {
			f.stop(n)
			time.Sleep(time.Second) // virtual time
			f.add()
			f.settle()
		}
		close(stop)
		<-done
		f.settle()
		for topic, events := range want {
			for _, e := range []*edge{a, b} {
				compare(t, e.hello.GetId()+" on "+topic, e.received(topic), events)
			}
		}
	})
}

// compare reports the first difference of two long lists.
func compare(t *testing.T, who string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("%s differs at %d of %d and %d: got %v, want %v", who, i, len(got), len(want),
				got[min(i, len(got)):min(i+5, len(got))], want[min(i, len(want)):min(i+5, len(want))])
			return
		}
	}
}

func TestCrashOfTheOwner(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, f *fleet) {
		e := f.edge("a", "room:1")
		defer e.stop()
		f.settle()
		victim := f.owner("room:1")
		f.kill(victim)
		began := time.Now()
		for f.nodes[0].publish(t, "room:1", "after") != nil {
			time.Sleep(10 * time.Millisecond) // virtual time
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("delivery resumed after %s", took)
		}
		f.settle()
		if got := e.received("room:1"); !slices.Equal(got, []string{"after"}) {
			t.Errorf("got %v", got)
		}
		if n := len(f.nodes[1].members(t).GetView().GetMembers()); n != 2 {
			t.Errorf("%d members", n)
		}
	})
}

func TestSlowEdgeDisturbsNobody(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		f.stop(f.nodes[0])
		f.config.EdgeBytes = 1 << 20
		n := f.add()
		quick := f.edge("quick", "room:1")
		slow := f.start(&edge{
			hello: &meshv1.Hello{Id: "slow", Incarnation: 1}, topics: []string{"room:1"}, stall: make(chan struct{}),
		})
		defer slow.stop()
		defer quick.stop()
		defer close(slow.stall)
		f.settle()
		payload := `{"x":"` + strings.Repeat("x", 16<<10) + `"}`
		const messages = 500
		for i := range messages {
			_, err := n.api.Publish(t.Context(), &routerv1.PublishRequest{Message: &routerv1.Message{
				Topic: "room:1", Event: fmt.Sprint("e", i), Payload: &routerv1.Message_Json{Json: payload},
			}})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // virtual time
		}
		f.settle()
		if got := len(quick.received("room:1")); got != messages {
			t.Errorf("the quick edge got %d of %d", got, messages)
		}
		if n.Stats().Drops[exchange.DropEdgeQueueFull] == 0 {
			t.Error("nothing was dropped for the slow edge")
		}
	})
}

func TestLaterStreamOfAnEdgeReplacesTheEarlier(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		first := f.edge("a", "room:1")
		f.settle()
		second := f.start(&edge{hello: &meshv1.Hello{Id: "a", Incarnation: 2}, topics: []string{"room:1"}})
		defer second.stop()
		first.cancel() // would come back for ever
		first.running.Wait()
		f.settle()
		if err := f.nodes[0].publish(t, "room:1", "e"); err != nil {
			t.Fatal(err)
		}
		f.settle()
		if got := second.received("room:1"); !slices.Equal(got, []string{"e"}) {
			t.Errorf("the second got %v", got)
		}
		if edges := f.nodes[0].members(t).GetEdges(); len(edges) != 1 || edges[0].GetIncarnation() != 2 {
			t.Errorf("edges %v", edges)
		}
	})
}

func TestSubscribeByPrefixThroughAnyRouter(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, f *fleet) {
		sub, err := f.nodes[0].api.Subscribe(t.Context(), &routerv1.SubscribeRequest{
			Filter: &routerv1.SubscribeRequest_Prefix{Prefix: "room:"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if first, err := sub.Recv(); err != nil || first.GetSubscribed().GetRouter() != f.nodes[0].id {
			t.Fatal(first, err)
		}
		for i := range 9 {
			if err := f.nodes[i%3].publish(t, fmt.Sprint("room:", i), "e"); err != nil {
				t.Fatal(err)
			}
			if err := f.nodes[i%3].publish(t, fmt.Sprint("lobby:", i), "e"); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for range 9 {
			m, err := sub.Recv()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.GetMessage().GetTopic())
		}
		slices.Sort(got)
		if len(slices.Compact(got)) != 9 || got[0] != "room:0" {
			t.Errorf("got %v", got)
		}
		info, err := f.nodes[1].api.TopicInfo(t.Context(), &routerv1.TopicInfoRequest{Topic: "room:1"})
		want := &routerv1.Receiver{Id: f.nodes[0].id, Reason: routerv1.Reason_REASON_SUBSCRIPTION}
		if err != nil || len(info.GetReceivers()) != 1 || info.GetReceivers()[0].GetId() != want.GetId() ||
			info.GetReceivers()[0].GetReason() != want.GetReason() {
			t.Errorf("%v, %v", info, err)
		}
	})
}

func TestSlowSubscriberIsCutOff(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		f.stop(f.nodes[0])
		f.config.SubscriberBytes = 64 << 10
		n := f.add()
		f.settle()
		sub, err := n.api.Subscribe(t.Context(), &routerv1.SubscribeRequest{Filter: &routerv1.SubscribeRequest_Topic{Topic: "room:1"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sub.Recv(); err != nil {
			t.Fatal(err)
		}
		payload := `{"x":"` + strings.Repeat("x", 32<<10) + `"}`
		for range 200 {
			_, err := n.api.Publish(t.Context(), &routerv1.PublishRequest{Message: &routerv1.Message{
				Topic: "room:1", Event: "e", Payload: &routerv1.Message_Json{Json: payload},
			}})
			if err != nil {
				t.Fatal(err)
			}
		}
		for err == nil {
			_, err = sub.Recv()
		}
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestPublishStreamAnswersEach(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		stream, err := f.nodes[0].api.PublishStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(100) {
			m := message(fmt.Sprint("room:", i), "e")
			if i == 50 {
				m.Event = "phx_reply"
			}
			if err := stream.Send(&routerv1.PublishStreamRequest{Seq: i, Message: m}); err != nil {
				t.Fatal(err)
			}
		}
		_ = stream.CloseSend()
		answered := map[uint64]codes.Code{}
		for {
			resp, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			answered[resp.GetSeq()] = codes.Code(resp.GetResult().GetCode())
		}
		for i := range uint64(100) {
			want := codes.OK
			if i == 50 {
				want = codes.InvalidArgument
			}
			if code, ok := answered[i]; !ok || code != want {
				t.Errorf("%d: %v, answered %v", i, code, ok)
			}
		}
	})
}

func TestHealthFollowsTheState(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		n := f.nodes[0]
		resp, err := healthv1.NewHealthClient(n.conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
		if err != nil || resp.GetStatus() != healthv1.HealthCheckResponse_SERVING || n.Ready() != nil {
			t.Error(resp, err, n.Ready())
		}
		f.stop(n)
		if n.Ready() == nil {
			t.Error("ready after its end")
		}
	})
}

func TestJoiningRouterWaitsForEdges(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		e := f.edge("a", "room:1")
		defer e.stop()
		f.settle()
		n := f.add()
		for n.Ready() != nil {
			time.Sleep(time.Millisecond) // virtual time
		}
		if edges := n.members(t).GetEdges(); len(edges) != 1 {
			t.Errorf("ready with edges %v", edges)
		}
		for _, m := range n.members(t).GetView().GetMembers() {
			if m.GetRole() != meshv1.Role_ROLE_ROUTER {
				t.Errorf("%v", m)
			}
		}
	})
}
