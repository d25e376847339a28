package uplink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/pump"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Bounds of the pause before a router is dialled again. They are small: an edge
// without its routers is of no use, and a fleet has few edges.
const (
	minPause = 50 * time.Millisecond
	maxPause = time.Second
)

var (
	errNotNeeded = errors.New("another stream to this router is open")
	errStranger  = errors.New("another router answered")
)

// target is whom a link dials; a bootstrap link does not know whom it will find.
type target struct {
	id      string // of the router, "" for a bootstrap link
	address string
}

// manager keeps a link to each router that is known. Owned by Uplink.Run.
type manager struct {
	uplink *Uplink
	local  Local
	links  map[target]*link
}

// reconcile starts the links that are missing and stops those that are not
// needed. An attached stream is left to its router to end.
func (m *manager) reconcile(ctx context.Context) {
	c := m.uplink.core
	wanted := map[target]bool{}
	for _, r := range c.members(cluster.RoleRouter) {
		wanted[target{r.ID, r.Address}] = true
	}
	for _, address := range m.uplink.deps.Seeds.Addresses() {
		t := target{"", address}
		wanted[t] = c.seedNeeded(m.links[t].current())
	}
	if c.alone() {
		m.uplink.deps.Seeds.Refresh()
	}
	for t, need := range wanted {
		if need && m.links[t] == nil {
			m.links[t] = m.start(ctx, t)
		}
	}
	for t, l := range m.links {
		if !wanted[t] && (t.id == "" || !c.isAttached(l.current())) {
			l.cancel()
			delete(m.links, t)
		}
	}
}

func (m *manager) start(ctx context.Context, t target) *link {
	ctx, cancel := context.WithCancel(ctx)
	l := &link{target: t, uplink: m.uplink, local: m.local, cancel: cancel}
	m.uplink.running.Go(func() { l.run(ctx) })
	return l
}

// stop ends all links and waits for them.
func (m *manager) stop() {
	for _, l := range m.links {
		l.cancel()
	}
	m.uplink.running.Wait()
}

// link dials one router again and again.
type link struct {
	// Static after construction.
	target
	uplink *Uplink
	local  Local
	cancel context.CancelFunc

	port atomic.Pointer[port] // of the latest stream
}

// current returns the port of the latest stream; nil for no link or no stream.
func (l *link) current() *port {
	if l == nil {
		return nil
	}
	return l.port.Load()
}

func (l *link) run(ctx context.Context) {
	log := l.uplink.deps.Log.With("address", l.address)
	for pause, failures := minPause, 0; ; {
		attached, err := l.attach(ctx)
		if ctx.Err() != nil {
			return
		}
		switch {
		case attached:
			log.InfoContext(ctx, "stream to router ended", "router", l.current().id, "error", err)
			pause, failures = minPause, 0
		case failures == 0:
			log.WarnContext(ctx, "router not attached, trying again", "error", err)
			failures++
		default:
			log.DebugContext(ctx, "router not attached", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(float64(pause) * (0.5 + rand.Float64()))): //nolint:gosec // jitter
		}
		pause = min(2*pause, maxPause)
	}
}

// attach runs one stream from its dial to its end. Each has a connection of its
// own: one that a peer left half open would only be found dead again.
func (l *link) attach(ctx context.Context) (attached bool, err error) {
	conn, err := l.uplink.deps.Dial(l.address)
	if err != nil {
		return false, fmt.Errorf("dial: %w", err)
	}
	p := newPort(l.id == "", l.uplink.cfg.QueueBytes, l.uplink.deps.Calls)
	l.port.Store(p)
	asked, over := context.WithCancel(ctx)
	defer over()
	r := &receiver{link: l, port: p}
	err = pump.Stream[item, meshv1.AttachRequest, meshv1.AttachResponse]{
		First:  &meshv1.AttachRequest{Hello: l.uplink.hello(p.seed)},
		Queue:  p.out,
		Size:   func(it item) int { return it.size },
		Pack:   p.pack,
		Beat:   func() *meshv1.AttachRequest { return &meshv1.AttachRequest{Beat: true} },
		Handle: func(m *meshv1.AttachResponse) error { return r.handle(asked, m) },
		Linger: true, // the router answers a message with a message, so its side is gathered as well
	}.Client(ctx, meshv1.NewMeshServiceClient(conn).Attach)
	_ = conn.Close() // the stream has ended
	l.uplink.core.detached(p, &r.fx)
	l.uplink.apply(&r.fx, l.local)
	over()
	p.calls.wait()
	return p.view != nil, err
}

// receiver takes in what one stream brings. Owned by the stream's receiver.
type receiver struct {
	link *link
	port *port
	fx   effects // reused
}

// handle takes one batch in, field by field in the order of their numbers.
func (r *receiver) handle(ctx context.Context, m *meshv1.AttachResponse) error {
	u, c := r.link.uplink, r.link.uplink.core
	if hello := m.GetHello(); hello != nil {
		if err := r.greet(hello); err != nil {
			return err
		}
	}
	if v := m.GetView(); v != nil {
		if r.port.view == nil {
			u.deps.Log.InfoContext(ctx, "attached to router", "router", r.port.id, "address", r.link.address)
		}
		c.reported(r.port, v, &r.fx)
	}
	for _, b := range m.GetDeliveries() {
		u.deliver(r.link.local, b)
	}
	if acks := m.GetAcks(); len(acks) > 0 {
		c.answers(r.port, acks, &r.fx)
	}
	if ack := m.GetInterestAck(); ack != nil {
		c.taken(r.port, ack, &r.fx)
	}
	if n := m.GetFence(); n != 0 {
		r.port.push(item{fenced: n, size: fixedSize})
	}
	for _, call := range m.GetCalls() {
		r.port.calls.begin(ctx, call)
	}
	u.apply(&r.fx, r.link.local)
	return nil
}

func (r *receiver) greet(hello *meshv1.Hello) error {
	if want := r.link.id; want != "" && want != hello.GetId() {
		return fmt.Errorf("%w: %q at %s instead of %q", errStranger, hello.GetId(), r.link.address, want)
	}
	if !r.link.uplink.core.greeted(r.port, hello) {
		return errNotNeeded
	}
	return nil
}
