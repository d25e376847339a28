package exchange

import (
	"cmp"
	"slices"
	"time"

	"github.com/skein-mesh/skein/pkg/ring"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// views is what this router believes about the fleet, now and until a moment
// ago. Guarded by the exchange's mu.
type views struct {
	members  []*meshv1.Member // as gossip has them
	self     *meshv1.Member   // this router among them, nil before gossip names it
	suspects map[string]bool  // routers whose link is broken

	ring    ring.Ring    // the current view
	message *meshv1.View // the same for the wire; immutable
	adopted time.Time    // when ring became current

	before ring.Ring // the view before, empty at first
	gone   string    // the one member by which ring is smaller than before, else ""

	earlier  []ring.Ring // rings whose owners may not have released yet
	settled  bool        // earlier is empty
	released bool        // this router's fence of the current ring is complete
	left     bool        // this router leaves and has handed its rows over
	busy     time.Time   // when a leaving router was last published to
}

func newViews() views {
	return views{suspects: map[string]bool{}, message: &meshv1.View{}, settled: true, released: true}
}

// SetMembers replaces what gossip says about the fleet, this router included.
func (x *Exchange) SetMembers(members []*meshv1.Member) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.views.members, x.views.self = members, nil
	alive := map[string]bool{}
	for _, m := range members {
		if m.GetRole() != meshv1.Role_ROLE_ROUTER {
			continue
		}
		if m.GetId() == x.opts.ID {
			x.views.self = m
		}
		alive[m.GetId()] = true
	}
	for id := range x.views.suspects {
		if !alive[id] {
			delete(x.views.suspects, id)
		}
	}
	x.look()
	x.placeAll()
}

// View returns the current view. It must not be changed.
func (x *Exchange) View() *meshv1.View {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.views.message
}

// Suspects returns the routers that gossip calls alive and this router cannot
// reach, sorted.
func (x *Exchange) Suspects() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	ids := make([]string, 0, len(x.views.suspects))
	for id := range x.views.suspects {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// suspect takes a router out of the view, or back in. The caller holds mu.
func (x *Exchange) suspect(id string, yes bool) {
	if x.views.suspects[id] == yes {
		return
	}
	if yes {
		x.views.suspects[id] = true
	} else {
		delete(x.views.suspects, id)
	}
	x.look()
}

// look computes the view anew and, if anything in it changed, tells the edges.
// The caller holds mu.
func (x *Exchange) look() {
	members := x.views.seen()
	var ready []ring.Member
	for _, m := range members {
		if m.GetRole() == meshv1.Role_ROLE_ROUTER && m.GetState() == meshv1.State_STATE_READY {
			ready = append(ready, ring.Member{ID: m.GetId(), Incarnation: m.GetIncarnation()})
		}
	}
	next := ring.New(ready...)
	if slices.EqualFunc(x.views.message.GetMembers(), members, sameMember) {
		return
	}
	x.views.message = &meshv1.View{Hash: next.Hash(), Members: members}
	for _, e := range x.edges {
		e.port.View(x.views.message)
	}
	if next.Hash() != x.views.ring.Hash() {
		x.adopt(next)
	}
}

// seen returns the members as this router sees them, in the order of a view. A
// router that it suspects is shown as joining, whatever gossip says: it is to be
// dialled and owns nothing, so whoever gets the view computes the same owners.
func (v *views) seen() []*meshv1.Member {
	seen := slices.Clone(v.members)
	for i, m := range seen {
		if m.GetRole() == meshv1.Role_ROLE_ROUTER && v.suspects[m.GetId()] && m.GetState() == meshv1.State_STATE_READY {
			seen[i] = &meshv1.Member{
				Id: m.GetId(), Incarnation: m.GetIncarnation(), Role: m.GetRole(), State: meshv1.State_STATE_JOINING,
				Address: m.GetAddress(), Version: m.GetVersion(),
			}
		}
	}
	slices.SortFunc(seen, func(a, b *meshv1.Member) int {
		return cmp.Or(cmp.Compare(a.GetRole(), b.GetRole()), cmp.Compare(a.GetId(), b.GetId()))
	})
	return seen
}

// adopt makes next the current view: from here on this router orders what it
// owns under next only. The caller holds mu.
func (x *Exchange) adopt(next ring.Ring) {
	v := &x.views
	v.earlier = append(v.earlier, v.ring)
	if len(v.earlier) > maxEarlier {
		v.earlier = v.earlier[1:]
	}
	v.before, v.gone = v.ring, removed(v.ring, next)
	v.ring, v.adopted, v.settled = next, x.opts.Now(), false
	x.stats.Views++
	for _, p := range x.peers {
		p.replaced(next.Hash())
	}
	x.resync()
	v.released = false
	if v.left || v.self.GetState() != meshv1.State_STATE_LEAVING { // else HandOver does it, behind the rows
		x.fenceView()
	}
	x.settle()
	x.drainAll()
	x.wake()
}

// maxEarlier bounds the views that are remembered while nothing settles.
const maxEarlier = 16

// fenceView asks every receiver to confirm what was sent under earlier views,
// and then tells the peers. The caller holds mu.
func (x *Exchange) fenceView() {
	x.views.released = false
	hash := x.views.ring.Hash()
	x.fences.replaceView()
	x.fence(true, func() {
		x.views.released = true
		for _, p := range x.peers {
			x.tellReleased(p, hash)
		}
	})
}

// settle forgets earlier views once all their owners released the current one,
// and lets go what was held for them. The caller holds mu.
func (x *Exchange) settle() {
	if x.views.settled {
		return
	}
	for _, p := range x.peers {
		if x.blocks(p) {
			x.drainAll()
			return
		}
	}
	x.views.settled, x.views.earlier = true, nil
	x.drainAll()
}

func (x *Exchange) settleByTime(now time.Time) {
	if x.views.settled || now.Sub(x.views.adopted) < SettleTime {
		return
	}
	x.views.settled, x.views.earlier = true, nil
	x.drainAll()
}

// blocks reports whether p may still order under an earlier view. The caller
// holds mu.
func (x *Exchange) blocks(p *peer) bool {
	if p.link == nil || p.released == x.views.ring.Hash() {
		return false
	}
	return slices.ContainsFunc(x.views.earlier, func(r ring.Ring) bool { return r.Has(p.id) })
}

// mustWait reports whether an earlier owner of a topic that this router owns
// may not have released it. The caller holds mu.
func (x *Exchange) mustWait(topic string) bool {
	if x.views.settled {
		return false
	}
	for _, r := range x.views.earlier {
		owner := r.Owner(topic)
		if owner == "" || owner == x.opts.ID {
			continue
		}
		if p := x.peers[owner]; p != nil && x.blocks(p) {
			return true
		}
	}
	return false
}

// removed returns the id of the only member that before has and after has not,
// if nothing else differs.
func removed(before, after ring.Ring) string {
	gone := ""
	for _, m := range before.Members() {
		if slices.Contains(after.Members(), m) {
			continue
		}
		if gone != "" {
			return ""
		}
		gone = m.ID
	}
	if len(after.Members())+1 != len(before.Members()) {
		return ""
	}
	return gone
}

func sameMember(a, b *meshv1.Member) bool {
	return a.GetId() == b.GetId() && a.GetIncarnation() == b.GetIncarnation() && a.GetRole() == b.GetRole() &&
		a.GetState() == b.GetState() && a.GetAddress() == b.GetAddress() && a.GetVersion() == b.GetVersion()
}
