package people

import (
	"time"

	"github.com/skein-mesh/skein/pkg/ring"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/edge/session"
)

// CountInterval is the least time between two presence_count of a topic.
const CountInterval = time.Second

// stepRows is the most people in one step of an announcement.
const stepRows = 200

// port is the stream to one presence instance, as core sees it. It must only
// queue.
type port interface {
	say(s *presencev1.PeopleStep)
}

// core decides; see the package's doc. It is not safe for concurrent use.
type core struct {
	cfg     Config
	refs    refs
	topics  map[string]*topic
	agenda  agenda
	view    ring.Ring       // of presence instances
	ports   map[string]port // streams, by id of the instance
	watches uint64          // asked for so far
	arrived uint64          // rows so far
	rows    int             // in all replicas
	counts  counts
}

func newCore(cfg Config) *core {
	return &core{cfg: cfg, refs: newRefs(cfg.ID, cfg.Incarnation), topics: map[string]*topic{}, ports: map[string]port{}}
}

// enter makes w hear of a topic; p, if it is not nil, is who it is.
func (c *core) enter(name string, w session.Watcher, maxListed int, p *person, now time.Time) {
	t := c.topics[name]
	var change presencev1.PeopleChange
	if t == nil {
		t = &topic{
			name: name, maxListed: maxListed, rows: map[string]*row{},
			members: map[session.Watcher]*row{}, newcomers: map[session.Watcher]struct{}{},
		}
		c.topics[name] = t
		t.patience = now.Add(c.cfg.StateWait)
		c.ask(t, &change)
	}
	if _, known := t.members[w]; !known {
		t.members[w] = nil
		t.newcomers[w] = struct{}{}
	}
	if p != nil {
		c.become(t, w, p, &change)
	}
	c.tell(t, &change)
	c.plan(t)
}

// track makes w a person, or another one.
func (c *core) track(name string, w session.Watcher, p *person) {
	t := c.topics[name]
	if t == nil {
		return
	}
	if _, known := t.members[w]; !known {
		return
	}
	var change presencev1.PeopleChange
	c.become(t, w, p, &change)
	c.tell(t, &change)
	c.plan(t)
}

// untrack makes w nobody.
func (c *core) untrack(name string, w session.Watcher) {
	t := c.topics[name]
	if t == nil || t.members[w] == nil {
		return
	}
	r := t.members[w]
	t.members[w] = nil
	c.exit(t, r)
	c.tell(t, &presencev1.PeopleChange{Gone: []string{r.GetRef()}})
	t.relist()
	c.plan(t)
}

// leave ends what enter began. Who is moving is expected on another edge: the
// owner, if it is in reach, decides when it is gone.
func (c *core) leave(name string, w session.Watcher, moving bool) {
	t := c.topics[name]
	if t == nil {
		return
	}
	r, known := t.members[w]
	if !known {
		return
	}
	delete(t.members, w)
	delete(t.newcomers, w)
	var change presencev1.PeopleChange
	switch {
	case r == nil:
	case moving && c.ports[c.view.Owner(name)] != nil:
		c.disown(t, r)
		change.Moving = []string{r.GetRef()}
	default:
		c.exit(t, r)
		change.Gone = []string{r.GetRef()}
	}
	change.Unwatch = len(t.members) == 0
	c.tell(t, &change)
	if change.GetUnwatch() {
		c.forget(t)
		return
	}
	t.relist()
	c.plan(t)
}

// become makes w the person p, with a new ref.
func (c *core) become(t *topic, w session.Watcher, p *person, change *presencev1.PeopleChange) {
	next := &presencev1.Person{Key: p.key, Ref: c.refs.next(), Meta: p.meta}
	if old := t.members[w]; old != nil {
		if old.GetKey() == p.key {
			next.RefPrev = old.GetRef()
		}
		c.exit(t, old)
		change.Gone = append(change.Gone, old.GetRef())
	}
	t.members[w] = c.add(t, next, true, false)
	change.Put = append(change.Put, next)
	t.relist()
}

func (c *core) add(t *topic, p *presencev1.Person, own, quiet bool) *row {
	c.arrived++
	r := &row{Person: p, own: own, came: c.arrived}
	t.enter(r, quiet)
	c.rows++
	return r
}

func (c *core) exit(t *topic, r *row) {
	if t.exit(r) {
		c.counts.cancelled++
	}
	c.rows--
}

// disown makes a row one of others, of whom only the number is kept if there are
// too many.
func (c *core) disown(t *topic, r *row) {
	r.own = false
	t.own--
	if t.tooMany {
		delete(t.rows, r.GetRef())
		t.others++
		c.rows--
	}
}

// forget drops a replica that nobody here needs.
func (c *core) forget(t *topic) {
	c.rows -= len(t.rows)
	delete(c.topics, t.name)
	t.newcomers, t.restate, t.recount = nil, false, false
	t.joins, t.leaves = nil, nil
	c.plan(t)
}

// tell tells the owner of a topic what changed, if it can be reached: if not, it
// is told all once it can.
func (c *core) tell(t *topic, change *presencev1.PeopleChange) {
	p := c.ports[c.view.Owner(t.name)]
	if p == nil || !change.GetUnwatch() && change.GetWatch() == 0 && len(change.GetPut())+len(change.GetGone())+len(change.GetMoving()) == 0 {
		return
	}
	change.Topic = t.name
	p.say(&presencev1.PeopleStep{Step: &presencev1.PeopleStep_Change{Change: change}})
}

// ask makes a change ask for the people of other edges.
func (c *core) ask(t *topic, change *presencev1.PeopleChange) {
	c.watches++
	t.watch, t.incoming, t.receiving = c.watches, nil, false
	change.Watch, change.MaxListed = t.watch, uint32(max(min(t.maxListed, maxMaxListed), 1))
}

// maxMaxListed bounds what is said of a topic's bound.
const maxMaxListed = 1 << 30
