package session_test

import (
	"slices"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/hub"
	"github.com/skein-mesh/skein/services/edge/session"
)

// mesh is one edge without sockets and routers: it remembers what it was asked,
// and the test answers.
type mesh struct {
	hub    *hub.Hub
	shared *session.Shared
	limits session.Limits
	deps   session.Deps

	mu      sync.Mutex
	wants   []string
	drops   []string
	pending []publish

	metrics metric.Reader
	world   func() bool // answers what else is asked, see settle; nil for nothing
}

type publish struct {
	broadcast channel.Broadcast
	done      func(error)
}

// newMesh returns one whose topics are all open and relayed. Limits that are 0
// and must not be, are large.
func newMesh(tb testing.TB, limits session.Limits) *mesh {
	tb.Helper()
	return newMeshOf(tb, limits, session.Deps{}, namespace.Namespace{Topics: "*"})
}

// newMeshOf returns one with namespaces and, in deps, what they need.
func newMeshOf(tb testing.TB, limits session.Limits, deps session.Deps, namespaces ...namespace.Namespace) *mesh {
	tb.Helper()
	m := &mesh{}
	m.metrics = metric.NewManualReader()
	deps.Meter = metric.NewMeterProvider(metric.WithReader(m.metrics)).Meter("test")
	deps.Mesh, deps.Edge = m, "edge-1"
	for i := range namespaces {
		namespaces[i].SetDefaults()
		if err := namespaces[i].Validate(); err != nil {
			tb.Fatal(err)
		}
	}
	var err error
	if deps.Namespaces, err = namespace.NewSet(namespaces); err != nil {
		tb.Fatal(err)
	}
	if m.hub, err = hub.New(m, "edge-1", deps.Meter); err != nil {
		tb.Fatal(err)
	}
	deps.Hub = m.hub
	if limits.Waiting == 0 {
		limits.Waiting = 1 << 20
	}
	m.limits, m.deps = limits, deps
	if m.shared, err = session.NewShared(deps, limits); err != nil {
		tb.Fatal(err)
	}
	return m
}

// counts returns how often each reason was counted, without those that never
// were.
func (m *mesh) counts(tb testing.TB) map[string]int64 {
	tb.Helper()
	var all metricdata.ResourceMetrics
	if err := m.metrics.Collect(tb.Context(), &all); err != nil {
		tb.Fatal(err)
	}
	got := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, instrument := range scope.Metrics {
			sum, ok := instrument.Data.(metricdata.Sum[int64])
			if !ok || instrument.Name != "skein.edge.protocol" {
				continue
			}
			for _, p := range sum.DataPoints {
				if reason, _ := p.Attributes.Value("reason"); p.Value > 0 {
					got[reason.AsString()] = p.Value
				}
			}
		}
	}
	return got
}

func (m *mesh) Want(topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wants = append(m.wants, topic)
}

func (m *mesh) Drop(topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drops = append(m.drops, topic)
}

func (m *mesh) Publish(b channel.Broadcast, done func(error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending = append(m.pending, publish{b, done})
}

// nextWant takes the oldest topic that waits for a Confirm.
func (m *mesh) nextWant() (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.wants) == 0 {
		return "", false
	}
	topic := m.wants[0]
	m.wants = m.wants[1:]
	return topic, true
}

// nextPublish takes the oldest publish without an answer.
func (m *mesh) nextPublish() (publish, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.pending) == 0 {
		return publish{}, false
	}
	p := m.pending[0]
	m.pending = slices.Delete(m.pending, 0, 1)
	return p, true
}

// settle answers everything with success until nothing moves.
func (m *mesh) settle(clients ...*client) {
	for moved := true; moved; {
		moved = false
		for _, c := range clients {
			moved = c.pump() || moved
		}
		for topic, ok := m.nextWant(); ok; topic, ok = m.nextWant() {
			m.hub.Confirm(topic, nil)
			moved = true
		}
		for p, ok := m.nextPublish(); ok; p, ok = m.nextPublish() {
			m.hub.Deliver(p.broadcast)
			p.done(nil)
			moved = true
		}
		if m.world != nil {
			moved = m.world() || moved
		}
	}
}

// client is a socket: what it says waits while it is paused.
type client struct {
	id      uint64
	session *session.Session

	mu     sync.Mutex
	woken  *sync.Cond
	in     []input
	out    []wsframe.Frame
	paused bool
	closed wsframe.Code
}

type input struct {
	op   wsframe.Opcode
	data string
}

func (m *mesh) client(id uint64) *client { return m.clientOf(id, session.Client{}) }

func (m *mesh) clientOf(id uint64, who session.Client) *client {
	c := &client{id: id}
	c.woken = sync.NewCond(&c.mu)
	c.session = session.New(c, m.shared, who)
	return c
}

func (c *client) ID() uint64 { return c.id }

func (c *client) Send(f wsframe.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == 0 {
		c.out = append(c.out, f)
	}
}

func (c *client) Close(code wsframe.Code, _ string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != 0 {
		return false
	}
	c.closed = code
	return true
}

func (c *client) Pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = true
}

func (c *client) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = false
	c.woken.Broadcast()
}

// say queues a message; pump hands it to the session.
func (c *client) say(op wsframe.Opcode, data string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = append(c.in, input{op, data})
}

func (c *client) text(data string) { c.say(wsframe.Text, data) }

// pump is the socket's reader. It reports whether it did anything.
func (c *client) pump() bool {
	moved := false
	for {
		c.mu.Lock()
		if c.paused || len(c.in) == 0 {
			c.mu.Unlock()
			return moved
		}
		next := c.in[0]
		c.in = c.in[1:]
		c.mu.Unlock()
		data := []byte(next.data)
		c.session.Message(next.op, data)
		clear(data) // a session that kept it would now show
		moved = true
	}
}

// take returns the frames that came since the last call.
func (c *client) take() []wsframe.Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.out
	c.out = nil
	return out
}

// hangUp is what the engine does when the socket is gone.
func (c *client) hangUp() {
	c.mu.Lock()
	c.in, c.closed = nil, wsframe.CodeAbnormal
	c.mu.Unlock()
	c.session.Closed()
}
