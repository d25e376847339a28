package people_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/cluster"
	meshrpc "github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/edge/people"
	"github.com/skein-mesh/skein/services/edge/session"
	"github.com/skein-mesh/skein/services/presence"
)

// fleet is presence instances and edges on a network in memory.
type fleet struct {
	t        *testing.T
	registry *cluster.Registry

	mu        sync.Mutex
	instances map[string]*instance // by address
	lives     uint64
}

type instance struct {
	member   cluster.Member
	listener *bufconn.Listener
	kill     func() // at once
	stop     func() // in order
}

func inBubble(t *testing.T, f func(f *fleet)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		f(&fleet{t: t, registry: cluster.NewRegistry(), instances: map[string]*instance{}})
	})
}

func (f *fleet) dial(address string) (*grpc.ClientConn, error) {
	return meshrpc.Dial("passthrough:///"+address, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		f.mu.Lock()
		i := f.instances[address]
		f.mu.Unlock()
		if i == nil {
			return nil, errors.New("nobody listens")
		}
		return i.listener.DialContext(ctx)
	}))
}

// members are the instances as routers would report them.
func (f *fleet) members() (all []cluster.Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.instances {
		all = append(all, i.member)
	}
	cluster.Sort(all)
	return all
}

// presence starts an instance; it is ready when presence returns.
func (f *fleet) presence(id string) *instance {
	f.t.Helper()
	f.lives++
	member := cluster.Member{ID: id, Incarnation: f.lives, Role: cluster.RolePresence, State: cluster.StateJoining, Address: id + ":6000"}
	local := f.registry.Member(member)
	listener := bufconn.Listen(1 << 16)
	p, err := presence.New(presence.Deps{Listener: listener, Membership: local, Dial: f.dial, Telemetry: telemetry.Nop()})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	known, leave := context.WithCancel(f.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = local.Run(known) })
	running.Go(func() { _ = p.Run(ctx); leave() })
	synctest.Wait()
	member.State = cluster.StateReady
	i := &instance{member: member, listener: listener}
	i.stop = func() {
		f.mu.Lock()
		delete(f.instances, member.Address)
		f.mu.Unlock()
		cancel()
		running.Wait()
	}
	f.mu.Lock()
	f.instances[member.Address] = i
	f.mu.Unlock()
	return i
}

// edge is a tracker with the channels of its topics.
type edge struct {
	fleet   *fleet
	tracker *people.Tracker
	stop    func() // and wait
	reader  *sdkmetric.ManualReader

	mu       sync.Mutex
	channels map[string][]*channelOf // by topic
}

// channelOf is a channel; it keeps what it gets.
type channelOf struct {
	edge  *edge
	topic string
	got   []string
}

// Push implements [session.Watcher].
func (c *channelOf) Push(event string, payload []byte) {
	c.edge.mu.Lock()
	defer c.edge.mu.Unlock()
	c.got = append(c.got, short(event, payload))
}

func short(event string, payload []byte) string {
	return strings.TrimPrefix(event, "presence_") + " " + string(payload)
}

func (e *edge) deliver(b channel.Broadcast) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.channels[b.Topic] {
		c.got = append(c.got, short(b.Event, b.Payload))
	}
	return len(e.channels[b.Topic])
}

func (f *fleet) edge(id string) *edge {
	f.t.Helper()
	f.lives++
	e := &edge{fleet: f, reader: sdkmetric.NewManualReader(), channels: map[string][]*channelOf{}}
	cfg := people.Default(id, f.lives)
	if err := cfg.Validate(); err != nil {
		f.t.Fatal(err)
	}
	tel := telemetry.Nop()
	var err error
	e.tracker, err = people.New(cfg, people.Deps{
		Members: f.members, Dial: f.dial, Deliver: e.deliver, Log: tel.Log,
		Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(e.reader)).Meter("test"),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := e.tracker.Run(ctx); err != nil {
			f.t.Error(err)
		}
	})
	e.stop = func() { cancel(); running.Wait() }
	return e
}

func (e *edge) join(topic, key string) *channelOf {
	c := &channelOf{edge: e, topic: topic}
	e.mu.Lock()
	e.channels[topic] = append(e.channels[topic], c)
	e.mu.Unlock()
	var p *session.Person
	if key != "" {
		p = &session.Person{Key: key}
	}
	e.tracker.Enter(topic, c, 100, p)
	return c
}

func (e *edge) leave(c *channelOf) {
	e.mu.Lock()
	e.channels[c.topic] = slices.DeleteFunc(e.channels[c.topic], func(o *channelOf) bool { return o == c })
	e.mu.Unlock()
	e.tracker.Leave(c.topic, c)
}

// wait lets virtual time pass.
func wait(d time.Duration) {
	time.Sleep(d) // virtual time
	synctest.Wait()
}

// gets fails unless the channel got exactly this since the last time, refs aside.
func (c *channelOf) gets(want ...string) {
	c.edge.fleet.t.Helper()
	c.edge.mu.Lock()
	defer c.edge.mu.Unlock()
	got := make([]string, 0, len(c.got))
	for _, text := range c.got {
		got = append(got, refs.ReplaceAllString(text, `"$1":R`))
	}
	c.got = nil
	if !slices.Equal(got, want) {
		c.edge.fleet.t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (c *channelOf) forget() {
	c.edge.mu.Lock()
	defer c.edge.mu.Unlock()
	c.got = nil
}

func TestTwoEdgesSeeEachOther(t *testing.T) {
	inBubble(t, func(f *fleet) {
		p := f.presence("p")
		a, b := f.edge("a"), f.edge("b")
		wait(5 * time.Second)
		ann := a.join("room", "ann")
		wait(time.Second)
		ann.gets(`diff `+joined("ann"), `state `+list("ann"))
		bob := b.join("room", "bob")
		wait(time.Second)
		ann.gets(`diff ` + joined("bob"))
		bob.gets(`diff `+joined("bob"), `state `+list("ann", "bob"))
		b.tracker.Track("room", bob, session.Person{Key: "bob", Meta: []byte(`{"typing": true}`)})
		wait(time.Second)
		update := `diff {"joins":{"bob":{"metas":[{"phx_ref":R,"phx_ref_prev":R,"typing":true}]}},"leaves":{"bob":{"metas":[{"phx_ref":R}]}}}`
		ann.gets(update)
		bob.gets(update)
		b.tracker.Untrack("room", bob)
		wait(time.Second)
		ann.gets(`diff {"joins":{},"leaves":{"bob":{"metas":[{"phx_ref":R,"phx_ref_prev":R,"typing":true}]}}}`)
		bob.forget()
		a.leave(ann)
		wait(time.Second)
		bob.gets(`diff ` + left("ann"))
		a.stop()
		b.stop()
		p.stop()
	})
}

func TestWithoutPresence(t *testing.T) {
	inBubble(t, func(f *fleet) {
		a := f.edge("a")
		ann := a.join("room", "ann")
		wait(time.Second)
		ann.gets(`state `+list("ann"), `diff `+joined("ann"))
		bob := a.join("room", "bob")
		wait(time.Second)
		ann.gets(`diff ` + joined("bob"))
		bob.gets(`state `+list("ann", "bob"), `diff `+joined("bob"))
		a.stop()
	})
}

func TestRestartOfPresenceIsNotNoticed(t *testing.T) {
	inBubble(t, func(f *fleet) {
		p, q := f.presence("p"), f.presence("q")
		a, b := f.edge("a"), f.edge("b")
		wait(5 * time.Second)
		var anns, bobs []*channelOf
		for _, topic := range []string{"one", "two", "three", "four", "five"} {
			anns, bobs = append(anns, a.join(topic, "ann")), append(bobs, b.join(topic, "bob"))
		}
		wait(time.Second)
		for _, c := range append(anns, bobs...) {
			c.forget()
		}
		p.stop()
		wait(5 * time.Second)
		p = f.presence("p")
		wait(100 * time.Millisecond)
		a.leave(anns[0])
		wait(5 * time.Second)
		bobs[0].gets(`diff ` + left("ann"))
		q.stop()
		p.stop()
		wait(3 * time.Second)
		cid := a.join("two", "cid")
		wait(3 * time.Second)
		cid.gets(`state `+list("ann", "bob", "cid"), `diff `+joined("cid"))
		a.leave(anns[1])
		wait(time.Second)
		cid.gets(`diff ` + left("ann"))
		p = f.presence("p")
		wait(5 * time.Second)
		bobs[1].gets(`diff {"joins":{` + person("cid") + `},"leaves":{` + person("ann") + `}}`)
		for _, c := range append(anns[2:], bobs[2:]...) {
			c.gets()
		}
		a.stop()
		b.stop()
		p.stop()
	})
}

func TestPersonWhoMovesDoesNotLeave(t *testing.T) {
	inBubble(t, func(f *fleet) {
		p := f.presence("p")
		a, b := f.edge("a"), f.edge("b")
		wait(5 * time.Second)
		ann, bob, cid := a.join("room", "ann"), b.join("room", "bob"), b.join("room", "cid")
		wait(time.Second)
		ann.forget()
		b.tracker.Moving()
		b.leave(bob)
		b.leave(cid)
		b.stop()
		wait(5 * time.Second)
		ann.gets()
		c := f.edge("c")
		wait(time.Second)
		again := c.join("room", "bob")
		wait(time.Second)
		ann.gets(`diff {"joins":{"bob":{"metas":[{"phx_ref":R,"phx_ref_prev":R}]}},"leaves":{` + person("bob") + `}}`)
		again.gets(`diff `+joined("bob"), `state `+list("ann", "bob", "cid"))
		wait(10 * time.Second)
		ann.gets(`diff ` + left("cid"))
		a.stop()
		c.stop()
		p.stop()
	})
}

func TestChangesAreShownTogether(t *testing.T) {
	inBubble(t, func(f *fleet) {
		a := f.edge("a")
		ann := a.join("room", "")
		wait(time.Second)
		ann.gets(`state {}`)
		bob := a.join("room", "bob")
		wait(10 * time.Millisecond)
		ann.gets(`diff ` + joined("bob"))
		cid := a.join("room", "cid")
		dan := a.join("room", "dan")
		wait(10 * time.Millisecond)
		a.leave(bob)
		a.leave(cid)
		wait(time.Second)
		// Dan got a state with cid, so that everybody is told that cid left.
		ann.gets(`diff {"joins":{` + person("dan") + `},"leaves":{` + person("bob") + `,` + person("cid") + `}}`)
		dan.gets(`state `+list("bob", "cid", "dan"), `diff {"joins":{`+person("dan")+`},"leaves":{`+person("bob")+`,`+person("cid")+`}}`)
		a.tracker.Track("room", ann, session.Person{Key: "ann"})
		wait(10 * time.Millisecond)
		ann.forget()
		a.tracker.Track("room", dan, session.Person{Key: "don"})
		a.tracker.Track("room", dan, session.Person{Key: "dan"})
		wait(time.Second)
		ann.gets(`diff {"joins":{` + person("dan") + `},"leaves":{` + person("dan") + `}}`)
		a.stop()
		if got := a.metrics(); got["skein.edge.people.coalesced undone"] != 0 {
			t.Errorf("metrics outlive Run: %v", got)
		}
	})
}

func TestMetricsAndRefusals(t *testing.T) {
	inBubble(t, func(f *fleet) {
		a := f.edge("a")
		ann := a.join("room", strings.Repeat("x", 256))
		a.tracker.Track("room", ann, session.Person{Key: "ann", Meta: []byte(`[]`)})
		a.tracker.Track("other", ann, session.Person{Key: "ann"})
		wait(time.Second)
		ann.gets(`state {}`)
		a.tracker.Track("room", ann, session.Person{Key: "ann"})
		wait(time.Second)
		ann.gets(`diff ` + joined("ann"))
		got := a.metrics()
		for name, want := range map[string]int64{
			"skein.edge.people.rows": 1, "skein.edge.people.topics": 1,
			"skein.edge.people.refused key": 1, "skein.edge.people.refused meta": 1,
			"skein.edge.people.sent presence_state": 1, "skein.edge.people.sent presence_diff": 1,
		} {
			if got[name] != want {
				t.Errorf("%s is %d, want %d", name, got[name], want)
			}
		}
		a.stop()
	})
}

// metrics are the values by name and label.
func (e *edge) metrics() map[string]int64 {
	var all metricdata.ResourceMetrics
	if err := e.reader.Collect(e.fleet.t.Context(), &all); err != nil {
		e.fleet.t.Fatal(err)
	}
	got := map[string]int64{}
	note := func(name string, points []metricdata.DataPoint[int64]) {
		for _, p := range points {
			key := name
			for _, label := range p.Attributes.ToSlice() {
				key += " " + label.Value.AsString()
			}
			got[key] = p.Value
		}
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				note(m.Name, data.DataPoints)
			case metricdata.Sum[int64]:
				note(m.Name, data.DataPoints)
			}
		}
	}
	return got
}

func TestBackendAsksAnyInstance(t *testing.T) {
	inBubble(t, func(f *fleet) {
		p, q := f.presence("p"), f.presence("q")
		a := f.edge("a")
		wait(5 * time.Second)
		for _, topic := range []string{"one", "two", "three", "four"} {
			a.join(topic, "ann")
			a.join(topic, topic)
		}
		wait(time.Second)
		for _, i := range []*instance{p, q} {
			conn, err := f.dial(i.member.Address)
			if err != nil {
				t.Fatal(err)
			}
			client := presencev1.NewPeopleServiceClient(conn)
			for _, topic := range []string{"one", "two", "three", "four"} {
				list, err := client.List(f.t.Context(), &presencev1.PeopleServiceListRequest{Topic: topic})
				if err != nil || len(list.GetPeople()) != 2 {
					t.Errorf("%s of %s: %v, %v", topic, i.member.ID, list, err)
				}
				count, err := client.Count(f.t.Context(), &presencev1.PeopleServiceCountRequest{Topic: topic})
				if err != nil || count.GetPeople() != 2 || count.GetKeys() != 2 {
					t.Errorf("%s of %s: %v, %v", topic, i.member.ID, count, err)
				}
			}
			online, err := client.IsOnline(f.t.Context(), &presencev1.PeopleServiceIsOnlineRequest{Keys: []string{"four", "nobody", "one", "ann", "two", "three"}})
			if want := []string{"four", "one", "ann", "two", "three"}; err != nil || !slices.Equal(online.GetOnline(), want) {
				t.Errorf("%s: %v, %v", i.member.ID, online, err)
			}
			_ = conn.Close()
		}
		a.stop()
		p.stop()
		q.stop()
	})
}
