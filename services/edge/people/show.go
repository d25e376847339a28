package people

import (
	"time"

	"github.com/skein-mesh/skein/services/edge/session"
)

// showing is what is to be shown of one topic, in the order of the fields.
type showing struct {
	topic     string
	counts    bool              // people is told, and no list
	people    uint64            // how many there are
	newcomers []session.Watcher // get the list, or the number
	toAll     bool              // everybody gets the list, or the number
	list      []*row            // for newcomers or all
	joins     []*row            // for all
	leaves    []*row            // for all
}

// when returns when something of a topic is to be shown; zero for nothing.
func (c *core) when(t *topic) time.Time {
	var at time.Time
	sooner := func(other time.Time) {
		if other.IsZero() {
			other = past
		}
		if at.IsZero() || other.Before(at) {
			at = other
		}
	}
	if len(t.newcomers) > 0 {
		if c.settled(t, time.Time{}) {
			sooner(past)
		} else {
			sooner(t.patience)
		}
	}
	switch {
	case t.counts && t.recount:
		sooner(t.counted.Add(CountInterval))
	case t.restate, len(t.joins)+len(t.leaves) > 0:
		sooner(t.diffed.Add(c.cfg.Interval))
	}
	return at
}

// past is before every time that can be asked for, and not zero.
var past = time.Unix(0, 0) //nolint:gochecknoglobals // a constant

// next returns what is to be shown of some topic now; if there is nothing, when
// there will be, zero for nothing planned.
func (c *core) next(now time.Time) (s showing, later time.Time, ok bool) {
	for len(c.agenda) > 0 {
		t := c.agenda[0]
		if now.Before(t.due) {
			return showing{}, t.due, false
		}
		s, ok = c.show(t, now)
		c.plan(t)
		if ok {
			return s, time.Time{}, true
		}
	}
	return showing{}, time.Time{}, false
}

// show takes what is due of a topic.
func (c *core) show(t *topic, now time.Time) (s showing, ok bool) {
	s = showing{topic: t.name, counts: t.counts, people: t.people()}
	if len(t.newcomers) > 0 && c.settled(t, now) {
		for w := range t.newcomers {
			s.newcomers = append(s.newcomers, w)
		}
		clear(t.newcomers)
		if !t.counts {
			s.list = t.list()
		}
		c.counts.states += uint64(len(s.newcomers))
	}
	switch {
	case t.counts:
		if t.recount && !now.Before(t.counted.Add(CountInterval)) {
			s.toAll, t.recount, t.counted = true, false, now
			c.counts.counts++
		}
	case now.Before(t.diffed.Add(c.cfg.Interval)):
	case t.restate:
		t.forgetChanges()
		clear(t.newcomers)
		s.toAll, s.list, t.restate, t.diffed = true, t.list(), false, now
		c.counts.states++
	default:
		if s.joins, s.leaves = t.takeDiff(); len(s.joins)+len(s.leaves) > 0 {
			t.diffed = now
			c.counts.diffs++
			c.counts.coalesced += uint64(len(s.joins) + len(s.leaves) - 1) //nolint:gosec // at least one
		}
	}
	return s, s.toAll || len(s.newcomers)+len(s.joins)+len(s.leaves) > 0
}
