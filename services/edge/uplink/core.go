package uplink

import (
	"sync"
	"time"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/ring"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Bounds of waiting.
const (
	// Patience is how long a publish or a join waits for an owner, and how long
	// an owner may be out of reach before its topics fail.
	Patience = 5 * time.Second
	// Agreement is how long a join waits for the edge and the topic's owner to
	// have the same view.
	Agreement = 500 * time.Millisecond
	// SweepInterval is how often the bounds are looked at.
	SweepInterval = 100 * time.Millisecond
)

// chunkTopics is the most topics in one step of an announcement.
const chunkTopics = 5000

// core decides; see the package's doc. All methods may be called concurrently.
type core struct {
	// Static after construction.
	limit   int           // of publishes that are held, in bytes
	changed chan struct{} // capacity one: "look at targets again"

	// mu guards the fields below.
	mu        sync.Mutex
	now       time.Time // of the last sweep: no clock is read for each publish
	closed    bool
	attached  map[*port]struct{} // streams whose router reported its view
	ports     map[string]*port   // of attached, those that carry topics, by router id
	adopted   view
	known     []member            // last known members of all reported views
	topics    map[string]struct{} // that the hub wants
	pending   map[string]*want    // of topics, those whose joins wait
	flows     map[string]*flow    // by topic
	idle      []*flow             // for reuse
	held      int                 // publishes that no stream carries
	heldBytes int
	down      map[string]*outage // owners out of reach, by router id; "" if there is no owner at all
	ready     bool
}

// want is a topic whose first subscribers wait for its owner.
type want struct {
	since time.Time
	acked time.Time // when the owner took it in under another view; zero if it did not
}

// outage is an owner that is out of reach.
type outage struct {
	since  time.Time
	failed time.Time // when its topics failed last
}

// effects are what is to be done once the core's lock is free, in this order.
type effects struct {
	answered  []answered
	confirmed []confirmed
	lost      func(topic string) bool // topics to fail, nil for none
}

type answered struct {
	done func(error)
	err  error
	at   uint64 // when it was published, see [meshv1.Broadcast]
}

type confirmed struct {
	topic string
	err   error
}

func (fx *effects) answer(p *publish, err error) {
	fx.answered = append(fx.answered, answered{p.done, err, p.broadcast.GetPublishedUs()})
}

func (fx *effects) confirm(topic string, err error) {
	fx.confirmed = append(fx.confirmed, confirmed{topic, err})
}

func newCore(limit int, now time.Time) *core {
	return &core{
		limit: limit, changed: make(chan struct{}, 1), now: now,
		attached: map[*port]struct{}{}, ports: map[string]*port{},
		topics: map[string]struct{}{}, pending: map[string]*want{}, flows: map[string]*flow{},
		down: map[string]*outage{},
	}
}

// want announces a topic to its owner. It is confirmed, or not, later.
func (c *core) want(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &want{since: c.now}
	c.topics[topic], c.pending[topic] = struct{}{}, w
	p := c.ports[c.adopted.ring.Owner(topic)]
	if p == nil {
		return
	}
	seq := p.step(&meshv1.Interest{View: c.adopted.hash, Add: []string{topic}})
	p.waiting = append(p.waiting, waiting{seq, topic, w})
}

// drop takes a topic back.
func (c *core) drop(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(topic)
}

func (c *core) forget(topic string) {
	if _, ok := c.topics[topic]; !ok {
		return
	}
	delete(c.topics, topic)
	delete(c.pending, topic)
	if p := c.ports[c.adopted.ring.Owner(topic)]; p != nil {
		p.step(&meshv1.Interest{View: c.adopted.hash, Remove: []string{topic}})
	}
}

// announceAll tells every router which of its topics this edge needs.
func (c *core) announceAll() {
	owned := make(map[string][]string, len(c.ports))
	for topic := range c.topics {
		owner := c.adopted.ring.Owner(topic)
		owned[owner] = append(owned[owner], topic)
	}
	for _, p := range c.ports {
		c.announce(p, owned[p.id])
	}
}

// announceTo is announceAll for one router.
func (c *core) announceTo(p *port) {
	var owned []string
	for topic := range c.topics {
		if c.adopted.ring.Owner(topic) == p.id {
			owned = append(owned, topic)
		}
	}
	c.announce(p, owned)
}

// announce replaces this edge's rows at p by topics, which it takes over.
func (c *core) announce(p *port, topics []string) {
	p.waiting = nil
	for first := true; first || len(topics) > 0; first = false {
		n := min(len(topics), chunkTopics)
		part := topics[:n:n]
		topics = topics[n:]
		seq := p.step(&meshv1.Interest{
			View: c.adopted.hash, Reset_: first, Complete: len(topics) == 0, Add: part,
		})
		for _, topic := range part {
			if w := c.pending[topic]; w != nil {
				p.waiting = append(p.waiting, waiting{seq, topic, w})
			}
		}
	}
	p.announced = p.steps
}

// taken notes how far a router took the rows in, and confirms joins.
func (c *core) taken(p *port, ack *meshv1.InterestAck, fx *effects) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ack.GetSeq() < p.acked {
		return
	}
	p.acked, p.ackedView = ack.GetSeq(), ack.GetView()
	c.confirm(p, fx)
	c.watchReady()
}

// confirm confirms the joins that p's router took in, under the same view or
// long enough ago.
func (c *core) confirm(p *port, fx *effects) {
	agreed := p.ackedView == c.adopted.hash
	kept := p.waiting[:0]
	for _, w := range p.waiting {
		switch {
		case c.pending[w.topic] != w.want: // dropped or given up meanwhile
		case w.seq > p.acked:
			kept = append(kept, w)
		case agreed || !w.want.acked.IsZero() && c.now.Sub(w.want.acked) >= Agreement:
			delete(c.pending, w.topic)
			fx.confirm(w.topic, nil)
		default:
			if w.want.acked.IsZero() {
				w.want.acked = c.now
			}
			kept = append(kept, w)
		}
	}
	clear(p.waiting[len(kept):])
	p.waiting = kept
}

// sweep ends what has waited for too long. It is called each [SweepInterval].
func (c *core) sweep(now time.Time, fx *effects) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
	c.expire(fx)
	for _, p := range c.ports {
		if len(p.waiting) > 0 {
			c.confirm(p, fx)
		}
	}
	for topic, w := range c.pending {
		if now.Sub(w.since) >= Patience {
			c.forget(topic)
			fx.confirm(topic, channel.ErrUnavailable)
		}
	}
	c.watchOwners(fx)
	c.watchReady()
}

// watchOwners fails the topics of owners that are out of reach for too long,
// and again while they stay so: somebody may have joined meanwhile.
func (c *core) watchOwners(fx *effects) {
	owners := c.adopted.ring.Members()
	if len(owners) == 0 {
		owners = []ring.Member{{}}
	}
	lost := map[string]bool{}
	down := make(map[string]*outage, len(c.down))
	for _, m := range owners {
		if c.ports[m.ID] != nil {
			continue
		}
		o := c.down[m.ID]
		if o == nil {
			o = &outage{since: c.now, failed: c.now}
		}
		down[m.ID] = o
		if c.now.Sub(o.failed) >= Patience {
			o.failed, lost[m.ID] = c.now, true
		}
		if c.now.Sub(o.since) >= Patience {
			c.ready = false
		}
	}
	c.down = down
	if len(lost) > 0 {
		owner := c.adopted.ring.Owner
		fx.lost = func(topic string) bool { return lost[owner(topic)] }
	}
}

// watchReady turns the edge ready once it is announced at every owner. From
// then on only an owner that stays out of reach turns it unready.
func (c *core) watchReady() {
	if c.ready {
		return
	}
	owners := c.adopted.ring.Members()
	for _, m := range owners {
		p := c.ports[m.ID]
		if p == nil || p.announced == 0 || p.acked < p.announced {
			return
		}
	}
	c.ready = len(owners) > 0
}

// quiet reports whether no publish waits for an answer.
func (c *core) quiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.flows) == 0
}

// close refuses what comes from now on and fails what is held.
func (c *core) close(fx *effects) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.ready = true, false
	for _, f := range c.flows {
		for _, p := range f.held {
			fx.answer(p, channel.ErrUnavailable)
		}
		c.held -= len(f.held)
		f.held = nil
		c.settle(f)
	}
	c.heldBytes = 0
}
