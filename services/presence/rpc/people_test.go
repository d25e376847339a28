package rpc_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/pump"
	"github.com/skein-mesh/skein/pkg/telemetry"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/people"
)

// nobody is in reach.
func nobody(address string) (*grpc.ClientConn, error) {
	return nil, errors.New("no way to " + address)
}

// attached is an edge's stream of people.
type attached struct {
	i      *instance
	stream presencev1.PeopleService_AttachClient
}

func (i *instance) people() presencev1.PeopleServiceClient {
	return presencev1.NewPeopleServiceClient(i.operator())
}

// attach opens a stream and waits until it is taken.
func (i *instance) attach(hello *presencev1.PeopleHello, steps ...*presencev1.PeopleStep) *attached {
	i.t.Helper()
	stream, err := presencev1.NewPeopleServiceClient(i.dial()).Attach(i.t.Context())
	if err != nil {
		i.t.Fatal(err)
	}
	a := &attached{i, stream}
	a.say(&presencev1.PeopleServiceAttachRequest{Hello: hello, Steps: steps, Seq: uint64(len(steps))})
	synctest.Wait()
	return a
}

func (a *attached) say(m *presencev1.PeopleServiceAttachRequest) {
	a.i.t.Helper()
	if err := a.stream.Send(m); err != nil {
		a.i.t.Error(err)
	}
	synctest.Wait()
}

// updates returns what is said until one with an update, beats aside.
func (a *attached) updates() []*presencev1.PeopleUpdate {
	a.i.t.Helper()
	for {
		m, err := a.stream.Recv()
		if err != nil {
			a.i.t.Fatal(err)
		}
		if len(m.GetUpdates()) > 0 {
			return m.GetUpdates()
		}
	}
}

func (a *attached) ends(want codes.Code) {
	a.i.t.Helper()
	for {
		if _, err := a.stream.Recv(); err != nil {
			if status.Code(err) != want {
				a.i.t.Errorf("ended with %v, want %s", err, want)
			}
			return
		}
	}
}

func edgeA(incarnation uint64) *presencev1.PeopleHello {
	return &presencev1.PeopleHello{Edge: "a", Incarnation: incarnation}
}

func change(c *presencev1.PeopleChange) *presencev1.PeopleStep {
	c.Topic = "room"
	return &presencev1.PeopleStep{Step: &presencev1.PeopleStep_Change{Change: c}}
}

func announced() *presencev1.PeopleStep {
	return &presencev1.PeopleStep{Step: &presencev1.PeopleStep_Announced{Announced: 1}}
}

func put(refs ...string) []*presencev1.Person {
	var all []*presencev1.Person
	for _, ref := range refs {
		all = append(all, &presencev1.Person{Key: "key-" + ref, Ref: ref, Meta: `{}`})
	}
	return all
}

func TestAttachTakesInAndTells(t *testing.T) {
	inBubble(t, func(t *testing.T, i *instance) {
		a := i.attach(edgeA(1), change(&presencev1.PeopleChange{Watch: 3, MaxListed: 10, Put: put("a1")}), announced())
		first, err := a.stream.Recv()
		if err != nil || first.GetInstance() != "presence-1" {
			t.Errorf("first %v, %v", first, err)
		}
		second, err := a.stream.Recv()
		if err != nil || second.GetTaken() != 2 {
			t.Errorf("then %v, %v", second, err)
		}
		b := i.attach(&presencev1.PeopleHello{Edge: "b", Incarnation: 1}, change(&presencev1.PeopleChange{Put: put("b1")}), announced())
		time.Sleep(people.SettleTime + people.TickInterval) // virtual time
		u := a.updates()[0]
		if !u.GetReset_() || !u.GetComplete() || u.GetWatch() != 3 || len(u.GetPut()) != 1 || u.GetPut()[0].GetRef() != "b1" {
			t.Errorf("state %v", u)
		}
		b.say(&presencev1.PeopleServiceAttachRequest{Steps: []*presencev1.PeopleStep{change(&presencev1.PeopleChange{Gone: []string{"b1"}})}, Seq: 3})
		if u := a.updates()[0]; u.GetReset_() || !slices.Equal(u.GetGone(), []string{"b1"}) {
			t.Errorf("change %v", u)
		}
	})
}

func TestAttachRefusesWhoIsNobody(t *testing.T) {
	inBubble(t, func(_ *testing.T, i *instance) {
		i.attach(nil, announced()).ends(codes.InvalidArgument)
		i.attach(&presencev1.PeopleHello{Edge: "a\n", Incarnation: 1}).ends(codes.InvalidArgument)
		later := i.attach(edgeA(2))
		i.attach(edgeA(1)).ends(codes.FailedPrecondition)
		i.attach(edgeA(2))
		later.ends(codes.Aborted)
	})
}

func TestFrozenEdgeIsGoneInTime(t *testing.T) {
	inBubble(t, func(t *testing.T, i *instance) {
		a := i.attach(edgeA(1), change(&presencev1.PeopleChange{Watch: 3, MaxListed: 10, Put: put("a1")}), announced())
		begin := time.Now()
		a.ends(codes.DeadlineExceeded)
		time.Sleep(people.ReturnTime + 2*people.TickInterval) // virtual time
		count, err := i.people().Count(t.Context(), &presencev1.PeopleServiceCountRequest{Topic: "room"})
		if err != nil || count.GetPeople() != 0 {
			t.Errorf("%v, %v", count, err)
		}
		if took := time.Since(begin); took > pump.Silence+pump.BeatInterval+people.ReturnTime+2*people.TickInterval {
			t.Errorf("took %s", took)
		}
	})
}

func TestBackendWatchesPeople(t *testing.T) {
	inBubble(t, func(t *testing.T, i *instance) {
		if _, err := i.people().List(t.Context(), &presencev1.PeopleServiceListRequest{Topic: "room"}); status.Code(err) != codes.Unavailable {
			t.Errorf("while edges may be about to attach: %v", err)
		}
		watch, err := i.people().Watch(t.Context(), &presencev1.PeopleServiceWatchRequest{Topic: "room"})
		if err != nil {
			t.Fatal(err)
		}
		a := i.attach(edgeA(1), change(&presencev1.PeopleChange{Watch: 1, MaxListed: 10, Put: put("a1")}), announced())
		state, err := watch.Recv()
		if err != nil || !state.GetState() || state.GetMore() || len(state.GetJoins()) != 1 {
			t.Errorf("state %v, %v", state, err)
		}
		a.say(&presencev1.PeopleServiceAttachRequest{Steps: []*presencev1.PeopleStep{
			change(&presencev1.PeopleChange{Gone: []string{"a1"}, Put: put("a2")}),
		}})
		update, err := watch.Recv()
		if err != nil || update.GetState() || len(update.GetJoins()) != 1 || len(update.GetLeaves()) != 1 {
			t.Errorf("change %v, %v", update, err)
		}
		i.stop()
		if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("at the end: %v", err)
		}
	})
}

func TestQuestionsThatMakeNoSense(t *testing.T) {
	inBubble(t, func(t *testing.T, i *instance) {
		time.Sleep(people.SettleTime) // virtual time
		_, err1 := i.people().List(t.Context(), &presencev1.PeopleServiceListRequest{})
		_, err2 := i.people().List(t.Context(), &presencev1.PeopleServiceListRequest{Topic: "room", Limit: people.MaxPage + 1})
		_, err3 := i.people().Count(t.Context(), &presencev1.PeopleServiceCountRequest{Topic: "phoenix"})
		_, err4 := i.people().IsOnline(t.Context(), &presencev1.PeopleServiceIsOnlineRequest{Keys: make([]string, 1001)})
		watch, err := i.people().Watch(t.Context(), &presencev1.PeopleServiceWatchRequest{Topic: "\xff"[:0]})
		if err != nil {
			t.Fatal(err)
		}
		_, err5 := watch.Recv()
		for n, err := range []error{err1, err2, err3, err4, err5} {
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("question %d: %v", n+1, err)
			}
		}
	})
}

// TestAnotherInstanceIsOutOfReach asks one of two about what the other owns.
func TestAnotherInstanceIsOutOfReach(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		other := instance1
		other.ID, other.Address = "presence-2", "presence-2:6000"
		i := start(t, self{instance1, other}, telemetry.Nop().Meter)
		defer i.stop()
		time.Sleep(people.SettleTime) // virtual time
		here, there := 0, 0
		for _, topic := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			_, err := i.people().Count(t.Context(), &presencev1.PeopleServiceCountRequest{Topic: topic})
			switch {
			case err == nil:
				here++
			case status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "ask presence-2 at presence-2:6000"):
				there++
			default:
				t.Errorf("%s: %v", topic, err)
			}
			if _, err := i.people().Count(t.Context(), &presencev1.PeopleServiceCountRequest{Topic: topic, Local: true}); err != nil {
				t.Errorf("%s: %v", topic, err)
			}
		}
		if here == 0 || there == 0 {
			t.Errorf("%d topics here, %d there", here, there)
		}
		if _, err := i.people().IsOnline(t.Context(), &presencev1.PeopleServiceIsOnlineRequest{Keys: []string{"x"}}); status.Code(err) != codes.Unavailable {
			t.Errorf("online: %v", err)
		}
	})
}

// changing are members that change.
type changing struct {
	all atomic.Pointer[[]cluster.Member]
}

func (c *changing) Self() cluster.Member      { return instance1 }
func (c *changing) Members() []cluster.Member { return *c.all.Load() }

func TestWatchEndsWhenTheOwnerChanges(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var members changing
		members.all.Store(&[]cluster.Member{instance1})
		i := start(t, &members, telemetry.Nop().Meter)
		defer i.stop()
		time.Sleep(people.SettleTime) // virtual time
		var watches []presencev1.PeopleService_WatchClient
		for _, topic := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			watch, err := i.people().Watch(t.Context(), &presencev1.PeopleServiceWatchRequest{Topic: topic})
			if err != nil {
				t.Fatal(err)
			}
			if r, err := watch.Recv(); err != nil || !r.GetState() {
				t.Fatal(r, err)
			}
			watches = append(watches, watch)
		}
		other := instance1
		other.ID, other.Address = "presence-2", "presence-2:6000"
		members.all.Store(&[]cluster.Member{instance1, other})
		synctest.Wait()
		i.service.MembersChanged()
		synctest.Wait()
		i.stop()
		moved := 0
		for _, watch := range watches {
			_, err := watch.Recv()
			if status.Code(err) != codes.Unavailable {
				t.Error(err)
			}
			if strings.Contains(err.Error(), "watch again") {
				moved++
			}
		}
		if moved == 0 || moved == len(watches) {
			t.Errorf("%d of %d ended", moved, len(watches))
		}
	})
}

func TestWhoIsTooFarBehindIsCutOff(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		i := start(t, self{instance1}, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test"))
		defer i.stop()
		i.service.SetQueues(1000, 1000)
		a := i.attach(edgeA(1), announced())
		time.Sleep(people.SettleTime) // virtual time
		b := i.attach(&presencev1.PeopleHello{Edge: "b", Incarnation: 1}, change(&presencev1.PeopleChange{Watch: 1, MaxListed: 10}), announced())
		watch, err := i.people().Watch(t.Context(), &presencev1.PeopleServiceWatchRequest{Topic: "room"})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		m := &presencev1.PeopleServiceAttachRequest{} // more at once than fits
		for range 100 {
			m.Steps = append(m.Steps, change(&presencev1.PeopleChange{Put: put("a1")}), change(&presencev1.PeopleChange{Gone: []string{"a1"}}))
		}
		a.say(m)
		b.ends(codes.ResourceExhausted)
		for err == nil {
			_, err = watch.Recv()
		}
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("watch: %v", err)
		}
		var all metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		who := map[string]int64{}
		for _, m := range all.ScopeMetrics[0].Metrics {
			if m.Name == "skein.presence.people.cut" {
				for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
					value, _ := p.Attributes.Value("who")
					who[value.AsString()] = p.Value
				}
			}
		}
		if who["edge"] != 1 || who["backend"] != 1 {
			t.Errorf("cut off %v", who)
		}
	})
}

func TestPeopleMetrics(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		i := start(t, self{instance1}, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test"))
		defer i.stop()
		bad := put("b1")
		bad[0].Meta = "[]"
		i.attach(edgeA(1), change(&presencev1.PeopleChange{Watch: 1, MaxListed: 10, Put: append(bad, put("a1", "a2")...)}), announced())
		time.Sleep(people.SettleTime + people.TickInterval) // virtual time
		synctest.Wait()
		var all metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		got := map[string]int64{}
		for _, m := range all.ScopeMetrics[0].Metrics {
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				got[m.Name] = data.DataPoints[0].Value
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					got[m.Name] += p.Value
				}
			case metricdata.Sum[float64]:
				if s := data.DataPoints[0].Value; s != people.SettleTime.Seconds() {
					t.Errorf("settled after %f s", s)
				}
			}
		}
		for name, want := range map[string]int64{"rows": 2, "held": 0, "topics": 1, "updates": 1, "settled": 1, "refused": 1} {
			if name = "skein.presence.people." + name; got[name] != want {
				t.Errorf("%s is %d, want %d", name, got[name], want)
			}
		}
	})
}
