package people

import (
	"errors"
	"slices"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Bounds of one page of [Ledger.List].
const (
	DefaultPage = 1_000
	MaxPage     = 10_000
	pageBytes   = 4 << 20
)

// ErrLearning means that edges have not said all they know: an answer would leave
// people out. It passes within [ReleaseTime], mostly at once.
var ErrLearning = errors.New("people: edges have not said yet who is in the topic")

// Sink takes what is said to one backend that watches a topic. It must only queue.
type Sink interface {
	// Tell hands r over, which is not changed any more.
	Tell(r *presencev1.PeopleServiceWatchResponse)
}

// Subscription is a backend that watches a topic.
type Subscription struct {
	topic *topic
	sink  Sink
}

// Stats are numbers of a ledger.
type Stats struct {
	Rows       int              // held ones included
	Held       int              // rows that move from one edge to another
	Topics     int              // with people or watchers
	Edges      int              // known, attached or not
	Told       uint64           // updates to edges
	Settled    uint64           // topics that were settled
	SettleTime time.Duration    // that they waited, in sum
	Refused    [refusals]uint64 // what edges said that does not count, by reason
}

// Stats returns the numbers as of now.
func (l *Ledger) Stats() Stats {
	s := l.stats
	s.Topics, s.Edges = len(l.topics), len(l.edges)
	return s
}

// known returns a topic whose people are all known; nil if it has none.
func (l *Ledger) known(name string, now time.Time) (*topic, error) {
	t := l.topics[name]
	if t == nil && l.learning(now) || t != nil && !t.settled {
		return nil, ErrLearning
	}
	return t, nil
}

// List returns people of a topic in the order of their keys, from behind the key
// after, and whether more follow. A page ends after limit people, or a little
// later: those of one key stay together. It fails with [ErrLearning].
func (l *Ledger) List(name, after string, limit int, now time.Time) (page []*presencev1.Person, more bool, _ error) {
	t, err := l.known(name, now)
	if t == nil {
		return nil, false, err
	}
	keys := make([]string, 0, len(t.keys))
	for key := range t.keys {
		if key > after {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	size := 0
	for _, key := range keys {
		if len(page) >= limit || size >= pageBytes {
			return page, true, nil
		}
		for _, r := range t.keys[key] {
			size += len(key) + len(r.GetMeta())
			page = append(page, r.Person)
		}
	}
	return page, false, nil
}

// Count returns the number of people in a topic, and of their keys. It fails with
// [ErrLearning].
func (l *Ledger) Count(name string, now time.Time) (people, keys int, _ error) {
	t, err := l.known(name, now)
	if t == nil {
		return 0, 0, err
	}
	return len(t.refs), len(t.keys), nil
}

// Online returns those of keys that are in any topic of this instance. It fails
// with [ErrLearning].
func (l *Ledger) Online(keys []string, now time.Time) ([]string, error) {
	if l.learning(now) {
		return nil, ErrLearning
	}
	var online []string
	for _, key := range keys {
		if l.keys[key] > 0 {
			online = append(online, key)
		}
	}
	return online, nil
}

// Subscribe tells sink who is in a topic, once that is known, and then each
// change, until Unsubscribe.
func (l *Ledger) Subscribe(name string, sink Sink, now time.Time) *Subscription {
	t := l.at(name)
	if len(t.shares)+len(t.sinks) == 0 {
		l.begin(t, now)
	}
	s := &Subscription{t, sink}
	t.sinks[s] = struct{}{}
	if t.settled {
		s.tellState(t)
	}
	return s
}

// Unsubscribe ends a subscription.
func (l *Ledger) Unsubscribe(s *Subscription) {
	delete(s.topic.sinks, s)
	l.clean(s.topic)
}

func (s *Subscription) tellState(t *topic) {
	rows := t.rows(nil)
	for first := true; first || len(rows) > 0; first = false {
		r := &presencev1.PeopleServiceWatchResponse{State: true}
		r.Joins, rows = chunk(rows)
		r.More = len(rows) > 0
		s.sink.Tell(r)
	}
}

func (l *Ledger) tellSinks(t *topic, d *delta) {
	if len(t.sinks) == 0 {
		return
	}
	r := &presencev1.PeopleServiceWatchResponse{Joins: persons(d.joins), Leaves: append(persons(d.leaves), persons(d.freed)...)}
	for s := range t.sinks {
		s.sink.Tell(r)
	}
}

func persons(rows []*row) []*presencev1.Person {
	all := make([]*presencev1.Person, 0, len(rows))
	for _, r := range rows {
		all = append(all, r.Person)
	}
	return all
}
