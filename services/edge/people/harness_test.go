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
	stop     func() // and wait
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
	p, err := presence.New(presence.Default(), presence.Deps{Listener: listener, Membership: local, Dial: f.dial, Telemetry: telemetry.Nop()})
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
	return f.narrowEdge(id, people.Default(id, 1).QueueBytes)
}

// narrowEdge is an edge that lets only so much wait for presence.
func (f *fleet) narrowEdge(id string, queueBytes int) *edge {
	f.t.Helper()
	f.lives++
	e := &edge{fleet: f, reader: sdkmetric.NewManualReader(), channels: map[string][]*channelOf{}}
	cfg := people.Default(id, f.lives)
	cfg.QueueBytes = queueBytes
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

func (e *edge) leave(c *channelOf) { e.gone(c, false) }

// move is the end of a channel whose client is expected on another edge.
func (e *edge) move(c *channelOf) { e.gone(c, true) }

func (e *edge) gone(c *channelOf, moving bool) {
	e.mu.Lock()
	e.channels[c.topic] = slices.DeleteFunc(e.channels[c.topic], func(o *channelOf) bool { return o == c })
	e.mu.Unlock()
	e.tracker.Leave(c.topic, c, moving)
}

// wait lets virtual time pass.
func wait(d time.Duration) {
	time.Sleep(d) // virtual time
	synctest.Wait()
}

// gets fails unless the channel got exactly this since the last time, refs aside.
func (c *channelOf) gets(want ...string) {
	c.edge.fleet.t.Helper()
	got := c.heard()
	if !slices.Equal(got, want) {
		c.edge.fleet.t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// heard is what came since the last time, with R for each ref.
func (c *channelOf) heard() []string {
	c.edge.mu.Lock()
	defer c.edge.mu.Unlock()
	got := make([]string, 0, len(c.got))
	for _, text := range c.got {
		got = append(got, refs.ReplaceAllString(text, `"$1":R`))
	}
	c.got = nil
	return got
}

func (c *channelOf) forget() {
	c.edge.mu.Lock()
	defer c.edge.mu.Unlock()
	c.got = nil
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
