package people

import (
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/edge/session"
)

// topic is the replica of one topic that has a channel here.
type topic struct {
	name      string
	maxListed int
	members   map[session.Watcher]*row // the channels here; nil for one that is nobody
	rows      map[string]*row          // everybody who is listed, by ref
	own       int                      // rows of channels here
	due       time.Time                // when something is to be shown; zero for nothing
	place     int                      // in the agenda

	// What the owner says.
	watch     uint64               // number under which it was asked; what comes with another is late
	synced    bool                 // it said who is there
	incoming  []*presencev1.Person // a state that is not complete
	receiving bool                 // there is one
	tooMany   bool                 // it only counts
	others    uint64               // people of other edges, if tooMany

	// What clients are to be shown.
	newcomers map[session.Watcher]struct{} // they wait for a state
	patience  time.Time                    // when newcomers get one at the latest
	counts    bool                         // clients get the number only
	restate   bool                         // all get a state
	recount   bool                         // the number changed
	joins     []*row                       // since the last diff; some may have left
	leaves    []*row
	diffed    time.Time // when the last diff went out
	counted   time.Time // when the number did
}

// row is one channel, here or elsewhere, that is seen.
type row struct {
	*presencev1.Person // immutable

	own     bool
	pending bool   // no diff said that it came
	told    bool   // a state said so before a diff did
	gone    bool   // it left
	came    uint64 // order of arrival
}

// enter adds a row. quiet says that nobody was shown anything yet.
func (t *topic) enter(r *row, quiet bool) {
	t.rows[r.GetRef()] = r
	if r.own {
		t.own++
	}
	switch {
	case t.counts:
		t.recount = true
	case !quiet:
		r.pending = true
		t.joins = append(t.joins, r)
	}
}

// exit takes a row out and reports whether that cancels a join nobody saw.
func (t *topic) exit(r *row) (cancelled bool) {
	delete(t.rows, r.GetRef())
	if r.own {
		t.own--
	}
	r.gone = true
	switch {
	case t.counts:
		t.recount = true
	case r.pending && !r.told:
		return true
	default:
		t.leaves = append(t.leaves, r)
	}
	return false
}

// people is how many are in the topic.
func (t *topic) people() uint64 {
	if t.tooMany {
		return t.others + uint64(t.own) //nolint:gosec // not negative
	}
	return uint64(len(t.rows))
}

// relist switches clients between the list and the number of people.
func (t *topic) relist() {
	n := t.own // the edge's own are enough to be too many when there is no owner
	tooMany := t.tooMany || n > t.maxListed || t.counts && n > t.maxListed-t.maxListed/10
	if tooMany == t.counts {
		return
	}
	t.counts, t.recount, t.restate = tooMany, tooMany, !tooMany
	t.forgetChanges()
}

// forgetChanges is for clients that do not need a diff, for they get it all.
func (t *topic) forgetChanges() {
	for _, r := range t.joins {
		r.pending = false
	}
	t.joins, t.leaves = nil, nil
}

// unseen reports whether no channel here was shown anything.
func (t *topic) unseen() bool { return len(t.newcomers) == len(t.members) }

// list returns everybody, for a state that goes to some: from now on a row that
// waits for its diff is known to somebody.
func (t *topic) list() []*row {
	all := make([]*row, 0, len(t.rows))
	for _, r := range t.rows {
		r.told = true
		all = append(all, r)
	}
	return all
}

// takeDiff returns what changed since the last diff.
func (t *topic) takeDiff() (joins, leaves []*row) {
	for _, r := range t.joins {
		if !r.gone {
			r.pending = false
			joins = append(joins, r)
		}
	}
	leaves = t.leaves
	t.joins, t.leaves = nil, nil
	return joins, leaves
}
