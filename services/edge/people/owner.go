package people

import (
	"time"

	"github.com/skein-mesh/skein/pkg/ring"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// attach begins a stream to an instance: it is told all it owns.
func (c *core) attach(instance string, p port) {
	c.ports[instance] = p
	for _, t := range c.topics {
		if c.view.Owner(t.name) == instance {
			c.announce(t)
		}
	}
	c.announced(p)
}

// detach ends a stream. Replicas stay as they are.
func (c *core) detach(instance string, p port) {
	if c.ports[instance] == p {
		delete(c.ports, instance)
	}
}

// adopt changes the set of instances: topics with another owner are announced
// there, and released at the one that had them.
func (c *core) adopt(view ring.Ring) {
	before := c.view
	if view.Hash() == before.Hash() {
		return
	}
	c.view = view
	for _, p := range c.ports {
		p.say(&presencev1.PeopleStep{Step: &presencev1.PeopleStep_Announcing{Announcing: true}})
	}
	for _, t := range c.topics {
		old := before.Owner(t.name)
		if view.Owner(t.name) == old {
			continue
		}
		if p := c.ports[old]; p != nil {
			change := &presencev1.PeopleChange{Topic: t.name, Release: true}
			p.say(&presencev1.PeopleStep{Step: &presencev1.PeopleStep_Change{Change: change}})
		}
		c.announce(t)
		c.plan(t) // without an owner nobody waits for it
	}
	for _, p := range c.ports {
		c.announced(p)
	}
}

// announce tells the owner of a topic everything, and asks for the others.
func (c *core) announce(t *topic) {
	change := &presencev1.PeopleChange{}
	c.ask(t, change)
	for _, r := range t.members {
		if r == nil {
			continue
		}
		if len(change.GetPut()) == stepRows {
			c.tell(t, change)
			change = &presencev1.PeopleChange{}
		}
		change.Put = append(change.Put, r.Person)
	}
	c.tell(t, change)
}

func (c *core) announced(p port) {
	p.say(&presencev1.PeopleStep{Step: &presencev1.PeopleStep_Announced{Announced: c.view.Hash()}})
}

// take takes in what an owner says of the people of other edges.
func (c *core) take(u *presencev1.PeopleUpdate) {
	t := c.topics[u.GetTopic()]
	if t == nil || t.watch != u.GetWatch() {
		return // of an owner that is none any more, or of a topic left meanwhile
	}
	before := t.people()
	switch {
	case u.GetCountsOnly():
		c.takeCount(t, u.GetOthers())
	case u.GetReset_() || t.receiving:
		if u.GetReset_() {
			t.incoming = nil
		}
		t.incoming, t.receiving = append(t.incoming, u.GetPut()...), !u.GetComplete()
		if u.GetComplete() {
			c.takeState(t)
		}
	default:
		c.takeDiff(t, u)
	}
	t.recount = t.recount || t.people() != before
	t.relist()
	c.plan(t)
}

// takeCount takes in that there are too many to list. Only those here are kept.
func (c *core) takeCount(t *topic, others uint64) {
	t.tooMany, t.others, t.synced, t.incoming, t.receiving = true, others, true, nil, false
	t.relist()
	for _, r := range t.rows {
		if !r.own {
			delete(t.rows, r.GetRef())
			c.rows--
		}
	}
}

// takeState compares the replica with what the owner knows.
func (c *core) takeState(t *topic) {
	// Clients that were shown nothing yet get it all with their state; those of a
	// topic that was only counted get a state anyway.
	quiet := t.unseen() || t.tooMany
	incoming := t.incoming
	t.incoming, t.synced, t.tooMany, t.others = nil, true, false, 0
	there := make(map[string]struct{}, len(incoming))
	for _, p := range incoming {
		there[p.GetRef()] = struct{}{}
	}
	for ref, r := range t.rows {
		if _, ok := there[ref]; !ok && !r.own {
			c.exit(t, r)
		}
	}
	for _, p := range incoming {
		if t.rows[p.GetRef()] == nil {
			c.add(t, p, false, quiet)
		}
	}
}

func (c *core) takeDiff(t *topic, u *presencev1.PeopleUpdate) {
	for _, ref := range u.GetGone() {
		if r := t.rows[ref]; r != nil && !r.own {
			c.exit(t, r)
		}
	}
	for _, p := range u.GetPut() {
		if t.rows[p.GetRef()] == nil {
			c.add(t, p, false, t.unseen())
		}
	}
}

// settled reports whether a state can be shown: the owner said who is there, or
// there is none, or it was waited for.
func (c *core) settled(t *topic, now time.Time) bool {
	return t.synced || len(c.view.Members()) == 0 || !now.Before(t.patience)
}
