package router_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/skein-mesh/skein/pkg/pump"
	"github.com/skein-mesh/skein/pkg/queue"
	"github.com/skein-mesh/skein/pkg/ring"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// edge is the least that an edge must do: a stream to every router, rows at the
// owners under the view that it heard last, an answer to each fence.
type edge struct {
	fleet   *fleet
	hello   *meshv1.Hello
	topics  []string
	running sync.WaitGroup
	cancel  context.CancelFunc
	ctx     context.Context
	stall   chan struct{}                             // if set, deliveries are not taken in until it is closed
	called  func(*meshv1.EdgeCall) *meshv1.EdgeAnswer // nil, and what it returns nil for, is not answered

	mu      sync.Mutex // guards the fields below
	view    *meshv1.View
	ring    ring.Ring
	streams map[string]*attached
	got     map[string][]string
	acks    map[uint64]meshv1.PublishError
}

// attached is the stream to one router.
type attached struct {
	edge   *edge
	router string
	out    *queue.Queue[*meshv1.AttachRequest]
	seq    uint64
	ended  error // why, once it has
}

func (f *fleet) edge(id string, topics ...string) *edge {
	return f.start(&edge{hello: &meshv1.Hello{Id: id, Incarnation: 1}, topics: topics})
}

func (f *fleet) start(e *edge) *edge {
	e.fleet = f
	e.ctx, e.cancel = context.WithCancel(f.t.Context())
	e.streams, e.got, e.acks = map[string]*attached{}, map[string][]string{}, map[uint64]meshv1.PublishError{}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range f.nodes {
		e.attach(n.id)
	}
	return e
}

func (e *edge) stop() {
	e.cancel()
	e.running.Wait()
}

// attach opens a stream and keeps it open while the view names the router. The
// caller holds mu.
func (e *edge) attach(router string) {
	if e.streams[router] != nil || e.ctx.Err() != nil {
		return
	}
	e.open(router)
	e.running.Go(func() {
		for e.ctx.Err() == nil {
			e.run(router)
			e.mu.Lock()
			known := e.view == nil || slices.ContainsFunc(e.view.GetMembers(), func(m *meshv1.Member) bool { return m.GetId() == router })
			if !known || e.ctx.Err() != nil {
				delete(e.streams, router)
				e.mu.Unlock()
				return
			}
			e.open(router)
			e.mu.Unlock()
			time.Sleep(100 * time.Millisecond) // virtual time
		}
	})
}

func (e *edge) open(router string) {
	a := &attached{edge: e, router: router, out: queue.New(1<<20, func(*meshv1.AttachRequest) int { return 1 })}
	e.streams[router] = a
	if e.view != nil {
		a.announce()
	}
}

func (e *edge) run(router string) {
	conn, err := e.fleet.dial(router)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	e.mu.Lock()
	a := e.streams[router]
	e.mu.Unlock()
	err = pump.Stream[*meshv1.AttachRequest, meshv1.AttachRequest, meshv1.AttachResponse]{
		First:  &meshv1.AttachRequest{Hello: e.hello},
		Queue:  a.out,
		Size:   func(*meshv1.AttachRequest) int { return pump.MaxBatchBytes + 1 }, // each alone
		Pack:   func(items []*meshv1.AttachRequest) *meshv1.AttachRequest { return items[0] },
		Beat:   func() *meshv1.AttachRequest { return &meshv1.AttachRequest{Beat: true} },
		Handle: a.handle,
	}.Client(e.ctx, meshv1.NewMeshServiceClient(conn).Attach)
	e.mu.Lock()
	a.ended = err
	e.mu.Unlock()
}

func (a *attached) handle(m *meshv1.AttachResponse) error {
	if a.edge.stall != nil && len(m.GetDeliveries()) > 0 {
		<-a.edge.stall
	}
	a.edge.mu.Lock()
	defer a.edge.mu.Unlock()
	if m.GetView() != nil {
		a.edge.adopt(m.GetView())
	}
	for _, b := range m.GetDeliveries() {
		if slices.Contains(a.edge.topics, b.GetTopic()) {
			a.edge.got[b.GetTopic()] = append(a.edge.got[b.GetTopic()], b.GetEvent())
		}
	}
	for _, ack := range m.GetAcks() {
		a.edge.acks[ack.GetSeq()] = ack.GetError()
	}
	if m.GetFence() != 0 {
		_ = a.out.Push(&meshv1.AttachRequest{Fenced: m.GetFence()})
	}
	for _, call := range m.GetCalls() {
		a.call(call)
	}
	return nil
}

func (a *attached) call(call *meshv1.EdgeCall) {
	if a.edge.called == nil {
		return
	}
	if answer := a.edge.called(call); answer != nil {
		answer.Seq = call.GetSeq()
		_ = a.out.Push(&meshv1.AttachRequest{Answers: []*meshv1.EdgeAnswer{answer}})
	}
}

func (e *edge) adopt(v *meshv1.View) {
	e.view = v
	var ready []ring.Member
	for _, m := range v.GetMembers() {
		if m.GetRole() != meshv1.Role_ROLE_ROUTER {
			continue
		}
		e.attach(m.GetId())
		if m.GetState() == meshv1.State_STATE_READY {
			ready = append(ready, ring.Member{ID: m.GetId(), Incarnation: m.GetIncarnation()})
		}
	}
	e.ring = ring.New(ready...)
	for _, a := range e.streams {
		a.announce()
	}
}

func (a *attached) announce() {
	step := &meshv1.Interest{View: a.edge.ring.Hash(), Reset_: true, Complete: true}
	for _, topic := range a.edge.topics {
		if a.edge.ring.Owner(topic) == a.router {
			step.Add = append(step.Add, topic)
		}
	}
	a.seq++
	step.Seq = a.seq
	_ = a.out.Push(&meshv1.AttachRequest{Interest: []*meshv1.Interest{step}})
}

// publish sends through a router that need not be the owner.
func (e *edge) publish(router string, seq uint64, topic, event string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.streams[router].out.Push(&meshv1.AttachRequest{Publishes: []*meshv1.Publish{{
		Seq: seq, Broadcast: &meshv1.Broadcast{Topic: topic, Event: event, Payload: []byte("{}")},
	}}})
}

func (e *edge) received(topic string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.got[topic])
}
