package callout

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/cluster"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
	"github.com/skein-mesh/skein/services/edge/session"
)

func TestTheOwnerIsAsked(t *testing.T) {
	inWorld(t, Default("e1"), func(t *testing.T, w *world) {
		owner, other := w.serve("a", &router{}), w.serve("b", &router{})
		owner.join = &handlerv1.JoinResponse{Reply: jsonOf(`{"x":1}`), Pushes: []*handlerv1.Event{{Name: "hi"}}, Presence: &handlerv1.Person{Key: "ann"}}
		var answer session.JoinAnswer
		done := make(chan error, 1)
		who := session.Caller{
			Connection: 7, Topic: "room:1", JoinRef: "3\xff", User: "ann", Claims: []byte(`{"sub":"ann"}`), Assigns: []byte(`{"a":1}`),
		}
		w.Join(room("room:*"), who, session.Payload{Data: []byte{1}, Binary: true}, func(a session.JoinAnswer, err error) { answer = a; done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := session.JoinAnswer{
			Reply:  session.Reply{Status: "ok", Payload: session.Payload{Data: []byte(`{"x":1}`)}},
			Pushes: []session.Event{{Name: "hi", Payload: session.Payload{Data: []byte("{}")}}}, Presence: &session.Person{Key: "ann"},
		}
		if !reflect.DeepEqual(answer, want) {
			t.Errorf("got %+v", answer)
		}
		asked := owner.take()
		wantAsked := &handlerv1.JoinRequest{
			Caller: &handlerv1.Caller{
				Socket: &handlerv1.Socket{Edge: "e1", Id: 7}, Topic: "room:1", JoinRef: "3\uFFFD", User: "ann",
				Claims: []byte(`{"sub":"ann"}`), Assigns: []byte(`{"a":1}`),
			},
			Params: &handlerv1.Payload{Kind: &handlerv1.Payload_Binary{Binary: []byte{1}}},
		}
		if len(asked) != 1 || !proto.Equal(asked[0].(proto.Message), wantAsked) || len(other.take()) != 0 {
			t.Errorf("asked %v", asked)
		}
		for range 4 {
			expect(t, w.push(room("room:*"), "room:1", "e"), nil, 0)
		}
		if len(owner.take()) != 4 || w.open() != 1 {
			t.Errorf("%d connections", w.open())
		}
		if n := w.running(); n != 0 {
			t.Errorf("%d workers while nothing is asked", n)
		}
		if got, want := w.outcomes(), map[string]int64{"join answered": 1, "push answered": 4}; !maps.Equal(got, want) {
			t.Errorf("counted %v", got)
		}
	})
}

func TestAnotherRouterIsAskedIfTheFirstCertainlyDidNot(t *testing.T) {
	for name, serve := range map[string]func(*world){
		"refused":      func(w *world) { w.know("a") },
		"unconfigured": func(w *world) { w.serve("a", &router{before: fails(codes.FailedPrecondition)}) },
		"too old":      func(w *world) { w.serve("a", nil) },
	} {
		inWorld(t, Default("e1"), func(t *testing.T, w *world) {
			serve(w)
			other := w.serve("b", &router{})
			expect(t, w.join(room("room:*"), "room:1"), nil, 0)
			expect(t, w.push(room("room:*"), "room:1", "e"), nil, 0)
			w.Leave(room("room:*"), session.Caller{Topic: "room:1"}, session.LeftKicked)
			time.Sleep(time.Millisecond) // virtual time
			for range 2 {
				if _, err := w.Connect(t.Context(), &empty, nil); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if asked := other.take(); len(asked) != 5 {
				t.Errorf("%s: the other was asked %v", name, asked)
			}
		})
	}
}

func fails(code codes.Code) func(context.Context, string) error {
	return func(context.Context, string) error { return status.Error(code, "no") }
}

func TestNobodyIsAskedTwice(t *testing.T) {
	inWorld(t, Default("e1"), func(t *testing.T, w *world) {
		owner, other := w.serve("a", &router{before: fails(codes.Unavailable)}), w.serve("b", &router{})
		expect(t, w.join(room("room:*"), "room:1"), channel.ErrUnavailable, 0)
		expect(t, w.push(room("room:*"), "room:1", "e"), channel.ErrUnavailable, 0)
		// A router that dies in the middle may have asked already.
		owner.before = func(ctx context.Context, topic string) error {
			go w.servers["a"].Stop()
			return stuck(ctx, topic)
		}
		expect(t, w.push(room("room:*"), "room:1", "e"), channel.ErrUnavailable, 0)
		if len(owner.take()) != 3 || len(other.take()) != 0 {
			t.Error("the other was asked")
		}
	})
}

func TestErrorsOfRouters(t *testing.T) {
	inWorld(t, Default("e1"), func(t *testing.T, w *world) {
		owner := w.serve("a", &router{})
		for code := codes.OK; code <= codes.Unauthenticated; code++ {
			want := channel.ErrCrashed
			switch code {
			case codes.OK:
				want = nil
			case codes.DeadlineExceeded:
				want = channel.ErrTimeout
			case codes.Unavailable, codes.Canceled, codes.FailedPrecondition, codes.Unimplemented:
				want = channel.ErrUnavailable
			case codes.ResourceExhausted:
				want = channel.ErrOverloaded
			}
			owner.before = fails(code)
			expect(t, w.join(room("room:*"), "room:1"), want, 0)
		}
		if got := strings.Count(w.log.String(), "no router could ask the handler"); got != 1 {
			t.Errorf("complained %d times at once", got)
		}
		want := map[string]int64{
			"join answered": 1, "join timeout": 1, "join unavailable": 2, "join overloaded": 1, "join unconfigured": 2, "join crashed": 10,
		}
		if got := w.outcomes(); !maps.Equal(got, want) {
			t.Errorf("counted %v", got)
		}
	})
}

func TestWithoutRouters(t *testing.T) {
	inWorld(t, Default("e1"), func(t *testing.T, w *world) {
		ns := room("room:*")
		expect(t, w.join(ns, "room:1"), channel.ErrUnavailable, ns.Timeout)
		w.know("a")
		w.know("b")
		expect(t, w.push(room("room:*"), "room:1", "e"), channel.ErrUnavailable, 0)
	})
}

// An edge that has just started takes sockets before it knows a router.
func TestACallWaitsForTheFirstRouter(t *testing.T) {
	inWorld(t, Default("e1"), func(t *testing.T, w *world) {
		early := w.join(room("room:*"), "room:1")
		time.Sleep(time.Second - time.Millisecond) // virtual time
		w.serve("a", &router{})
		expect(t, early, nil, time.Second)
	})
}

func TestAStuckNamespaceTakesNothingFromOthers(t *testing.T) {
	cfg := Default("e1")
	cfg.Calls, cfg.WaitBytes = 4, 5*(overhead+2)
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.serve("a", &router{before: func(ctx context.Context, topic string) error {
			if strings.HasPrefix(topic, "stuck:") {
				return stuck(ctx, topic)
			}
			return nil
		}})
		var waiting []<-chan result[session.PushAnswer]
		for range 9 { // four under way, five wait
			waiting = append(waiting, w.push(room("stuck:*"), "stuck:1", "e"))
		}
		expect(t, w.push(room("stuck:*"), "stuck:1", "e"), channel.ErrOverloaded, 0)
		for range 10 {
			expect(t, w.push(room("fast:*"), "fast:1", "e"), nil, 0)
			expect(t, w.join(room("fast:*"), "fast:1"), nil, 0)
		}
		if got := w.outcomes(); got["under_way"] != 4 || got["waiting"] != 5 {
			t.Errorf("counted %v", got)
		}
		for _, came := range waiting { // waiting counts
			expect(t, came, channel.ErrTimeout, 2*time.Second)
		}
		want := map[string]int64{"push timeout": 9, "push overloaded": 1, "push answered": 10, "join answered": 10}
		if got := w.outcomes(); !maps.Equal(got, want) {
			t.Errorf("counted %v", got)
		}
	})
}

func TestCallsThatWaitKeepTheirOrder(t *testing.T) {
	cfg := Default("e1")
	cfg.Calls = 1
	inWorld(t, cfg, func(t *testing.T, w *world) {
		owner := w.serve("a", &router{before: func(context.Context, string) error {
			time.Sleep(time.Millisecond) // virtual time
			return nil
		}})
		var waiting []<-chan result[session.PushAnswer]
		for i := range 20 {
			waiting = append(waiting, w.push(room("room:*"), "room:1", fmt.Sprint("e", i)))
		}
		for i, came := range waiting {
			expect(t, came, nil, time.Duration(i+1)*time.Millisecond)
		}
		for i, asked := range owner.take() {
			if got := asked.(*handlerv1.PushRequest).GetEvent(); got != fmt.Sprint("e", i) {
				t.Errorf("%d: %s", i, got)
			}
		}
	})
}

func TestLeavesHaveTheirOwnLane(t *testing.T) {
	inWorld(t, Default("e1"), func(t *testing.T, w *world) {
		w.serve("a", &router{before: stuck})
		ns := room("room:*")
		const fit = leaveWaitBytes / overhead
		for range leaveCalls + fit + 10 {
			w.Leave(ns, session.Caller{Topic: "room:1"}, session.LeftByClient)
		}
		if got := w.outcomes(); got["leave overloaded"] != 10 || got["waiting"]+got["under_way"] != leaveCalls+fit {
			t.Errorf("counted %v", got)
		}
		time.Sleep(time.Minute) // virtual time
		if got := w.outcomes(); got["leave timeout"] != leaveCalls+fit || w.running() != 0 {
			t.Errorf("counted %v", got)
		}
	})
}

func TestRoutersThatAreGoneAreGivenUp(t *testing.T) {
	inWorld(t, Default("e1"), func(t *testing.T, w *world) {
		release := make(chan struct{})
		w.serve("a", &router{before: func(context.Context, string) error { <-release; return nil }})
		w.serve("b", &router{})
		slow := w.join(room("room:*"), "room:1")
		time.Sleep(time.Millisecond) // virtual time
		for range 2 {
			_ = w.routers.candidates("")
		}
		w.forget("a")
		time.Sleep(1500 * time.Millisecond) // virtual time
		if w.open() != 0 {
			t.Error("a router that is gone is kept")
		}
		close(release) // what was under way is answered all the same
		expect(t, slow, nil, 1501*time.Millisecond)
		expect(t, w.join(room("room:*"), "room:1"), nil, 0)
		if w.open() != 1 {
			t.Errorf("%d connections", w.open())
		}
	})
}

func TestTheEndAnswersEverything(t *testing.T) {
	cfg := Default("e1")
	cfg.Calls = 1
	inWorld(t, cfg, func(t *testing.T, w *world) {
		owner := w.serve("a", &router{before: func(ctx context.Context, topic string) error {
			if strings.HasPrefix(topic, "stuck:") {
				return stuck(ctx, topic)
			}
			time.Sleep(300 * time.Millisecond) // virtual time
			return nil
		}})
		first, second := w.join(room("stuck:*"), "stuck:1"), w.join(room("stuck:*"), "stuck:2")
		quick := w.join(room("room:*"), "room:1")
		w.Leave(room("room:*"), session.Caller{Topic: "room:1"}, session.LeftClosed)
		w.stop()
		expect(t, first, channel.ErrUnavailable, flushTime)
		expect(t, second, channel.ErrUnavailable, flushTime)
		expect(t, quick, nil, 300*time.Millisecond)
		expect(t, w.join(room("room:*"), "room:1"), channel.ErrUnavailable, 0)
		expect(t, w.push(room("new:*"), "new:1", "e"), channel.ErrUnavailable, 0)
		if got := w.outcomes(); len(owner.take()) != 3 || got["leave answered"] != 1 || got["waiting"] != 0 || got["under_way"] != 0 {
			t.Errorf("counted %v", got)
		}
	})
}

func TestReadyRoutersComeFirst(t *testing.T) {
	w := &world{owner: "c", members: []cluster.Member{{ID: "a", State: cluster.StateJoining}, {ID: "b", State: cluster.StateReady}, {ID: "c", State: cluster.StateLeaving}, {ID: "d", State: cluster.StateReady}}}
	r := newRouters(w, nil)
	first := map[string]int{}
	for range 10 {
		got := r.candidates("")
		first[got[0].ID]++
		if len(got) != 2 || got[0].State != cluster.StateReady || got[1].State != cluster.StateReady {
			t.Errorf("got %v", got)
		}
	}
	for range 10 {
		if got := r.candidates("room:1"); got[0].ID != "c" || got[1].State != cluster.StateReady {
			t.Errorf("got %v", got)
		}
	}
	if first["b"] == 0 || first["d"] == 0 {
		t.Errorf("no rotation: %v", first)
	}
	w.members = w.members[:1]
	if got := r.candidates(""); len(got) != 1 || got[0].ID != "a" {
		t.Errorf("got %v", got)
	}
}
