package people

import (
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Bounds of one update of a state, in rows and bytes.
const (
	chunkRows  = 500
	chunkBytes = 128 << 10
)

// changed tells a change to everybody who wants to know, and forgets the topic
// if nobody needs it any more.
func (l *Ledger) changed(t *topic, d *delta, now time.Time) {
	defer l.clean(t)
	if d.empty() || !t.settled {
		return // who gets a state later gets it with that
	}
	l.tellSinks(t, d)
	switch {
	case l.relist(t, now):
	case t.counts:
		l.counting[t] = struct{}{}
	default:
		l.tellEdges(t, d)
	}
}

// tellEdges tells a change to the edges that watch. Each gets the rows of others.
func (l *Ledger) tellEdges(t *topic, d *delta) {
	put := make([]*presencev1.Person, 0, len(d.joins))
	for _, r := range d.joins {
		put = append(put, r.Person)
	}
	freed := refs(d.freed)
	gone := append(refs(d.leaves), freed...)
	for e, s := range t.shares {
		switch {
		case !s.told:
		case e != d.by:
			l.tell(s, &presencev1.PeopleUpdate{Topic: t.name, Watch: s.watch, Put: put, Gone: gone})
		case len(freed) > 0:
			l.tell(s, &presencev1.PeopleUpdate{Topic: t.name, Watch: s.watch, Gone: freed})
		}
	}
}

func (l *Ledger) tell(s *share, u *presencev1.PeopleUpdate) {
	l.stats.Told++
	s.edge.port.Tell(u)
}

// tellState tells an edge all it should know of a topic.
func (l *Ledger) tellState(t *topic, s *share) {
	if s.edge.port == nil || s.watch == 0 {
		return
	}
	s.told = true
	if t.counts {
		l.tellCount(t, s)
		return
	}
	rows := t.rows(s.edge)
	for first := true; first || len(rows) > 0; first = false {
		var part []*presencev1.Person
		part, rows = chunk(rows)
		l.tell(s, &presencev1.PeopleUpdate{Topic: t.name, Watch: s.watch, Reset_: first, Complete: len(rows) == 0, Put: part})
	}
}

func (l *Ledger) tellCount(t *topic, s *share) {
	others := uint64(len(t.refs) - s.rows) //nolint:gosec // its rows are among them
	l.tell(s, &presencev1.PeopleUpdate{Topic: t.name, Watch: s.watch, CountsOnly: true, Others: others})
}

// tellCounts tells every edge that watches how many there are.
func (l *Ledger) tellCounts(t *topic, now time.Time) {
	t.counted = now
	delete(l.counting, t)
	for _, s := range t.shares {
		if s.told {
			l.tellCount(t, s)
		}
	}
}

// relist switches a topic between its list and its number; on the way back the
// number must be a tenth below the bound. It reports whether it told everybody.
func (l *Ledger) relist(t *topic, now time.Time) bool {
	n := len(t.refs)
	switch {
	case !t.counts && t.maxListed > 0 && n > t.maxListed:
		t.counts = true
		if t.settled {
			l.tellCounts(t, now)
		}
	case t.counts && n <= t.maxListed-t.maxListed/10:
		t.counts = false
		delete(l.counting, t)
		if t.settled {
			l.tellStates(t)
		}
	default:
		return false
	}
	return t.settled
}

func (l *Ledger) tellStates(t *topic) {
	for _, s := range t.shares {
		l.tellState(t, s)
	}
}

// chunk takes the leading rows that fit one message.
func chunk(rows []*row) (part []*presencev1.Person, rest []*row) {
	for size := 0; len(part) < min(len(rows), chunkRows) && size < chunkBytes; {
		p := rows[len(part)].Person
		size += len(p.GetKey()) + len(p.GetMeta())
		part = append(part, p)
	}
	return part, rows[len(part):]
}

func refs(rows []*row) []string {
	all := make([]string, 0, len(rows))
	for _, r := range rows {
		all = append(all, r.GetRef())
	}
	return all
}
