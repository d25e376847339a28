package uplink

import (
	"cmp"
	"slices"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/memberpb"
	"github.com/skein-mesh/skein/pkg/ring"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// member is a router or presence instance that a view names.
type member = cluster.Member

// view is what one router believes about the fleet. It is immutable.
type view struct {
	hash    uint64
	ring    ring.Ring // of the ready routers
	members []member  // all that should be dialled
}

func decodeView(v *meshv1.View) *view {
	d := &view{hash: v.GetHash(), members: memberpb.Decode(v.GetMembers())}
	var ready []ring.Member
	for _, m := range d.members {
		if m.Role == cluster.RoleRouter && m.State == cluster.StateReady {
			ready = append(ready, ring.Member{ID: m.ID, Incarnation: m.Incarnation})
		}
	}
	d.ring = ring.New(ready...)
	return d
}

// greeted notes whose stream p is. It reports false if a stream of a later life
// of that router is attached already, or if a bootstrap stream leads to a
// router that has a stream of its own.
func (c *core) greeted(p *port, hello *meshv1.Hello) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.id, p.incarnation = hello.GetId(), hello.GetIncarnation()
	other := c.ports[p.id]
	return other == nil || !p.seed && other.incarnation <= p.incarnation
}

// reported takes in the view of the router at the other end of p. With its
// first view the stream is attached.
func (c *core) reported(p *port, message *meshv1.View, fx *effects) {
	next := decodeView(message)
	c.mu.Lock()
	defer c.mu.Unlock()
	first := p.view == nil
	moved := first || p.view.hash != next.hash
	p.view = next
	if first {
		c.attached[p] = struct{}{}
		if !p.seed {
			if old := c.ports[p.id]; old != nil {
				old.waiting = nil // announced anew at p
			}
			c.ports[p.id] = p
		}
	}
	c.learn()
	switch {
	case c.elect(fx):
	case moved && !p.seed && c.ports[p.id] == p:
		c.announceTo(p)
	}
	if first {
		c.releaseAll(fx)
	}
}

// detached forgets a stream that ended. It may be called for one that was never
// attached.
func (c *core) detached(p *port, fx *effects) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.attached[p]; !ok {
		return
	}
	delete(c.attached, p)
	if c.ports[p.id] == p {
		delete(c.ports, p.id)
	}
	p.waiting = nil
	c.learn()
	c.elect(fx)
	c.abandon(p, fx)
}

// elect adopts the view that most attached routers report. It reports whether
// that is another one than before.
func (c *core) elect(fx *effects) bool {
	type candidate struct {
		view  *view
		votes int
	}
	var candidates []candidate
	for p := range c.attached {
		if p.seed && c.ports[p.id] != nil {
			continue // one router, one vote
		}
		i := slices.IndexFunc(candidates, func(e candidate) bool { return e.view.hash == p.view.hash })
		if i < 0 {
			i, candidates = len(candidates), append(candidates, candidate{view: p.view})
		}
		candidates[i].votes++
	}
	if len(candidates) == 0 {
		return false // the last one counts until somebody says more
	}
	best := slices.MaxFunc(candidates, func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(a.votes, b.votes),
			cmp.Compare(len(a.view.ring.Members()), len(b.view.ring.Members())),
			cmp.Compare(a.view.hash, b.view.hash),
		)
	})
	if best.view.hash == c.adopted.hash {
		return false
	}
	c.adopted = *best.view
	c.announceAll()
	c.releaseAll(fx)
	return true
}

// learn notes the members of all reported views; while nobody is attached, the
// last ones are remembered.
func (c *core) learn() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
	if len(c.attached) == 0 {
		return
	}
	var known []member
	for p := range c.attached {
		known = append(known, p.view.members...)
	}
	c.known = cluster.Latest(known)
}

// members returns the known members of a role. The slice belongs to the caller.
func (c *core) members(role cluster.Role) []member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.known), func(m member) bool { return m.Role != role || m.Address == "" })
}

// seedNeeded reports whether a bootstrap stream is of use: one to a router that
// has no other, or any while nothing is attached. p is nil for a stream that is
// not open.
func (c *core) seedNeeded(p *port) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p != nil {
		if _, ok := c.attached[p]; ok {
			return c.ports[p.id] == nil
		}
	}
	return len(c.ports) == 0
}

// alone reports whether no router is attached.
func (c *core) alone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.attached) == 0
}

// isAttached reports whether p is.
func (c *core) isAttached(p *port) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.attached[p]
	return ok
}
