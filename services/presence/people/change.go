package people

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skein-mesh/skein/pkg/channel"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Change takes in what an edge says of one topic. What it says that cannot be is
// counted and left out; the rest counts. The ledger keeps c's people.
func (l *Ledger) Change(e *Edge, c *presencev1.PeopleChange, now time.Time) {
	if channel.ValidateTopic(c.GetTopic()) != nil {
		l.stats.Refused[RefusedMalformed]++
		return
	}
	if c.GetRelease() {
		if t := l.topics[c.GetTopic()]; t != nil && t.shares[e] != nil {
			l.release(t, t.shares[e], now)
		}
		return
	}
	ends := c.GetWatch() == 0 && len(c.GetPut()) == 0
	if ends && l.topics[c.GetTopic()] == nil {
		return // it ends what is over
	}
	t := l.at(c.GetTopic())
	s := t.shares[e]
	switch {
	case s != nil:
	case ends:
		return
	case len(e.shares) >= l.limits.Topics:
		l.stats.Refused[RefusedTopics]++
		l.clean(t)
		return
	default:
		if len(t.shares) == 0 {
			l.begin(t, now)
		}
		s = &share{edge: e}
		t.shares[e], e.shares[t] = s, s
		if !t.settled { // somebody comes: do not wait for others to go
			t.deadline = earlier(t.deadline, now.Add(SettleTime))
		}
	}
	s.round = e.round
	d := delta{by: e}
	l.take(t, s, c, &d, now)
	if c.GetUnwatch() {
		l.leave(t, s)
	}
	l.changed(t, &d, now)
	if c.GetWatch() != 0 && !c.GetUnwatch() {
		l.watch(t, s, c, now)
	}
}

// take applies a change to the rows of an edge.
func (l *Ledger) take(t *topic, s *share, c *presencev1.PeopleChange, d *delta, now time.Time) {
	for _, ref := range c.GetGone() {
		if r := t.refs[ref]; r != nil && r.edge == s.edge {
			d.leaves = append(d.leaves, r)
			l.drop(t, r)
		}
	}
	for _, ref := range c.GetMoving() {
		if r := t.refs[ref]; r != nil && r.edge == s.edge && !l.hold(t, r, now) {
			// The edge forgot that the row is its own, and has to be told.
			d.freed = append(d.freed, r)
			l.drop(t, r)
		}
	}
	for _, p := range c.GetPut() {
		l.put(t, s, p, d)
	}
	if !c.GetUnwatch() || s.rows == 0 {
		return
	}
	for _, r := range t.refs {
		if r.edge == s.edge {
			d.leaves = append(d.leaves, r)
			l.drop(t, r)
		}
	}
}

// put enters a row. It replaces one that waits for the same person.
func (l *Ledger) put(t *topic, s *share, p *presencev1.Person, d *delta) {
	if known := t.refs[p.GetRef()]; known != nil {
		if known.edge == s.edge {
			known.round = s.edge.round
		} else {
			l.stats.Refused[RefusedMalformed]++
		}
		return
	}
	if reason := l.refuse(t, s, p); reason != accepted {
		l.stats.Refused[reason]++
		return
	}
	if waiting := t.heldOf(p.GetKey()); waiting != nil {
		if p.GetRefPrev() == "" {
			p = proto.CloneOf(p)
			p.RefPrev = waiting.GetRef()
		}
		d.freed = append(d.freed, waiting)
		l.drop(t, waiting)
	}
	d.joins = append(d.joins, l.add(t, s, p))
}

// watch makes an edge hear of the others in a topic: first a state.
func (l *Ledger) watch(t *topic, s *share, c *presencev1.PeopleChange, now time.Time) {
	s.watch, s.told = c.GetWatch(), false
	if listed := int(c.GetMaxListed()); listed != t.maxListed {
		t.maxListed = listed
		l.relist(t, now)
	}
	if t.settled && !s.told { // else it was told with all others, or will be
		l.tellState(t, s)
	}
}

// release forgets what an edge has in a topic, silently: another instance has it
// now. Those who still watch here are told nothing until all agree.
func (l *Ledger) release(t *topic, s *share, now time.Time) {
	if s.rows > 0 {
		for _, r := range t.refs {
			if r.edge == s.edge {
				l.drop(t, r)
			}
		}
	}
	l.leave(t, s)
	if len(t.shares) == 0 { // and with it those who wait here for their next edge
		for _, r := range t.refs {
			l.drop(t, r)
		}
	}
	l.unsettle(t, now, ReleaseTime)
	l.clean(t)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
