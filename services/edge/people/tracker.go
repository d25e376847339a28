package people

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/ring"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/edge/session"
)

// Config of a tracker.
type Config struct {
	ID          string        // of the edge
	Incarnation uint64        // of the edge
	Interval    time.Duration // least time between two diffs of a topic
	StateWait   time.Duration // how long a newcomer waits for the topic's owner
	QueueBytes  int           // most memory that waits for one presence instance
}

// Default returns the configuration of an edge.
func Default(id string, incarnation uint64) Config {
	return Config{
		ID: id, Incarnation: incarnation,
		Interval: 100 * time.Millisecond, StateWait: 500 * time.Millisecond, QueueBytes: 64 << 20,
	}
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.ID == "" || c.Incarnation == 0 {
		errs = append(errs, errors.New("people: the edge needs an id and an incarnation"))
	}
	if c.Interval < 0 {
		errs = append(errs, fmt.Errorf("people: interval must not be negative, got %s", c.Interval))
	}
	if c.StateWait < 0 {
		errs = append(errs, fmt.Errorf("people: state wait must not be negative, got %s", c.StateWait))
	}
	if c.QueueBytes <= 0 {
		errs = append(errs, fmt.Errorf("people: queue bytes must be positive, got %d", c.QueueBytes))
	}
	return errors.Join(errs...)
}

// Deps are what a tracker needs of its process.
type Deps struct {
	Members func() []cluster.Member                        // presence instances
	Dial    func(address string) (*grpc.ClientConn, error) // does not connect yet
	Deliver func(channel.Broadcast) int                    // to the subscribers here; returns their number
	Log     *slog.Logger
	Meter   metric.Meter
}

// Times of the tracker itself.
const (
	lookInterval = 250 * time.Millisecond // how often the instances are looked up
	goodbyeTime  = time.Second            // how long an instance may take for the last words
)

// Tracker implements [session.People]. All methods may be called concurrently,
// Run once.
type Tracker struct {
	// Static after construction.
	cfg        Config
	deps       Deps
	wake       chan struct{} // capacity one: "look at the agenda"
	taken      chan struct{} // capacity one: "an instance took something in"
	unregister func()

	running sync.WaitGroup // links

	// mu guards the fields below. It is a leaf.
	mu   sync.Mutex
	core *core

	links map[target]*link // owned by Run
}

// New returns a tracker that remembers, but shows nothing until Run. cfg must be
// valid.
func New(cfg Config, deps Deps) (*Tracker, error) {
	t := &Tracker{
		cfg: cfg, deps: deps, core: newCore(cfg), links: map[target]*link{},
		wake: make(chan struct{}, 1), taken: make(chan struct{}, 1),
	}
	var err error
	if t.unregister, err = t.observe(deps.Meter); err != nil {
		return nil, err
	}
	return t, nil
}

var _ session.People = (*Tracker)(nil)

// Enter implements [session.People].
func (t *Tracker) Enter(topic string, w session.Watcher, maxListed int, p *session.Person) {
	var who *person
	var why refused
	if p != nil {
		who, why = parse(*p)
	}
	t.do(func(c *core) {
		c.refuse(why)
		c.enter(topic, w, maxListed, who, time.Now())
	})
}

// Track implements [session.People]. A person that is not valid changes nothing.
func (t *Tracker) Track(topic string, w session.Watcher, p session.Person) {
	who, why := parse(p)
	t.do(func(c *core) {
		c.refuse(why)
		if who != nil {
			c.track(topic, w, who)
		}
	})
}

// Untrack implements [session.People].
func (t *Tracker) Untrack(topic string, w session.Watcher) {
	t.do(func(c *core) { c.untrack(topic, w) })
}

// Leave implements [session.People].
func (t *Tracker) Leave(topic string, w session.Watcher, moving bool) {
	t.do(func(c *core) { c.leave(topic, w, moving) })
}

// do changes the core, and has what follows from it shown.
func (t *Tracker) do(change func(*core)) {
	t.mu.Lock()
	change(t.core)
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Run shows who is online until ctx ends. Then it waits until the instances know
// who left, for a second at most, and returns when its links are gone.
func (t *Tracker) Run(ctx context.Context) error {
	defer t.unregister()
	defer t.running.Wait()
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	t.reconcile(life)
	for {
		select {
		case <-ctx.Done():
			t.goodbye()
			return nil
		case <-look.C:
			t.reconcile(life)
		case <-t.wake:
		case <-due.C:
		}
		if next := t.show(); !next.IsZero() {
			due.Reset(time.Until(next))
		}
	}
}

// show shows what is due, and returns when more will be.
func (t *Tracker) show() time.Time {
	for {
		t.mu.Lock()
		s, later, ok := t.core.next(time.Now())
		t.mu.Unlock()
		if !ok {
			return later
		}
		t.send(s)
	}
}

// send encodes once and sends. It takes locks of the hub.
func (t *Tracker) send(s showing) {
	event, payload := EventCount, []byte(nil)
	switch {
	case s.counts:
		payload = countJSON(s.people)
	case s.toAll || len(s.newcomers) > 0:
		event, payload = EventState, stateJSON(s.list)
	}
	for _, w := range s.newcomers {
		if s.counts {
			// phoenix.js keeps diffs until its first state, however late.
			w.Push(EventState, []byte("{}"))
		}
		w.Push(event, payload)
	}
	if s.toAll {
		t.deps.Deliver(channel.Broadcast{Topic: s.topic, Event: event, Payload: payload})
	}
	if len(s.joins)+len(s.leaves) > 0 {
		t.deps.Deliver(channel.Broadcast{Topic: s.topic, Event: EventDiff, Payload: diffJSON(s.joins, s.leaves)})
	}
}

// reconcile adopts the instances that are ready, starts the links that are
// missing and stops those that are gone.
func (t *Tracker) reconcile(ctx context.Context) {
	wanted := map[target]bool{}
	var ready []ring.Member
	for _, m := range t.deps.Members() {
		at := target{m.ID, m.Address}
		wanted[at] = true
		if t.links[at] == nil {
			t.links[at] = t.start(ctx, at)
		}
		if m.State == cluster.StateReady {
			ready = append(ready, ring.Member{ID: m.ID, Incarnation: m.Incarnation})
		}
	}
	t.mu.Lock()
	t.core.adopt(ring.New(ready...))
	t.mu.Unlock()
	for at, l := range t.links {
		if !wanted[at] {
			l.cancel()
			delete(t.links, at)
		}
	}
}

// goodbye waits until every instance in reach took in what it was told.
func (t *Tracker) goodbye() {
	late := time.NewTimer(goodbyeTime)
	defer late.Stop()
	for !t.said() {
		select {
		case <-late.C:
			return
		case <-t.taken:
		}
	}
}

func (t *Tracker) said() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.core.ports {
		if s, ok := p.(*stream); ok && s.taken < s.said {
			return false
		}
	}
	return true
}

// handle takes in one message of an instance.
func (t *Tracker) handle(s *stream, m *presencev1.PeopleServiceAttachResponse) error {
	if s.instance == "" {
		if m.GetInstance() != s.id {
			return fmt.Errorf("another instance answers: %q instead of %q", m.GetInstance(), s.id)
		}
		s.instance = s.id
		t.do(func(c *core) { c.attach(s.id, s) })
	}
	if len(m.GetUpdates()) > 0 {
		t.do(func(c *core) {
			for _, u := range m.GetUpdates() {
				c.take(u)
			}
		})
	}
	if m.GetTaken() > 0 {
		t.mu.Lock()
		s.taken = max(s.taken, m.GetTaken())
		t.mu.Unlock()
		select {
		case t.taken <- struct{}{}:
		default:
		}
	}
	return nil
}
