package people

import (
	"cmp"
	"slices"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// topic is who is in it and who wants to know.
type topic struct {
	name      string
	refs      map[string]*row   // by ref
	keys      map[string][]*row // by key, in the order they came
	shares    map[*Edge]*share
	sinks     map[*Subscription]struct{}
	maxListed int       // as an edge said last; 0 while none did
	counts    bool      // it has more than that: edges are told their number
	counted   time.Time // when they were told last
	settled   bool
	since     time.Time // when it began to wait to be settled
	deadline  time.Time // when it is settled at the latest
}

// row is one channel that is seen.
type row struct {
	*presencev1.Person // immutable

	topic *topic
	edge  *Edge     // that owns it; nil while it is held
	round uint64    // of the edge, in which it was said last
	came  uint64    // order of arrival
	until time.Time // when a held row ends
}

// delta is one change of a topic, told as one.
type delta struct {
	by     *Edge // whose own the joins are; nil for nobody's
	joins  []*row
	leaves []*row // of by
	freed  []*row // of nobody: they were held
}

func (d *delta) empty() bool { return len(d.joins)+len(d.leaves)+len(d.freed) == 0 }

// at returns the topic of a name, made if it is not there.
func (l *Ledger) at(name string) *topic {
	t := l.topics[name]
	if t == nil {
		t = &topic{
			name: name, refs: map[string]*row{}, keys: map[string][]*row{},
			shares: map[*Edge]*share{}, sinks: map[*Subscription]struct{}{},
		}
		l.topics[name] = t
	}
	return t
}

// clean forgets a topic that nobody needs.
func (l *Ledger) clean(t *topic) {
	if len(t.refs)+len(t.shares)+len(t.sinks) == 0 && l.topics[t.name] == t {
		delete(l.topics, t.name)
		delete(l.unsettled, t)
		delete(l.counting, t)
	}
}

// add enters a row.
func (l *Ledger) add(t *topic, s *share, p *presencev1.Person) *row {
	l.arrivals++
	r := &row{Person: p, topic: t, edge: s.edge, round: s.edge.round, came: l.arrivals}
	t.refs[p.GetRef()] = r
	t.keys[p.GetKey()] = append(t.keys[p.GetKey()], r)
	l.keys[p.GetKey()]++
	s.rows++
	s.edge.rows++
	l.stats.Rows++
	return r
}

// drop takes a row out.
func (l *Ledger) drop(t *topic, r *row) {
	delete(t.refs, r.GetRef())
	key := r.GetKey()
	if same := slices.DeleteFunc(t.keys[key], func(o *row) bool { return o == r }); len(same) > 0 {
		t.keys[key] = same
	} else {
		delete(t.keys, key)
	}
	if l.keys[key]--; l.keys[key] == 0 {
		delete(l.keys, key)
	}
	if r.edge != nil {
		l.disown(t, r)
	} else {
		l.stats.Held--
	}
	l.stats.Rows--
}

// disown makes a row nobody's. It keeps its edge until the change is told.
func (l *Ledger) disown(t *topic, r *row) {
	t.shares[r.edge].rows--
	r.edge.rows--
}

// hold keeps a moving row for a while, or says that it need not be kept: its key
// is online elsewhere.
func (l *Ledger) hold(t *topic, r *row, now time.Time) bool {
	for _, o := range t.keys[r.GetKey()] {
		if o != r && o.edge != nil {
			return false
		}
	}
	l.disown(t, r)
	r.edge, r.until = nil, now.Add(MoveTime)
	l.held = append(l.held, r)
	l.stats.Held++
	return true
}

// heldOf returns the row that waits for a person with this key, nil for none.
func (t *topic) heldOf(key string) *row {
	for _, r := range t.keys[key] {
		if r.edge == nil {
			return r
		}
	}
	return nil
}

// rows returns the rows but those of an edge, in the order they came.
func (t *topic) rows(without *Edge) []*row {
	rows := make([]*row, 0, len(t.refs))
	for _, r := range t.refs {
		if r.edge == nil || r.edge != without {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b *row) int { return cmp.Compare(a.came, b.came) })
	return rows
}
