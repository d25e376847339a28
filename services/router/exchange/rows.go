package exchange

import (
	"slices"

	"github.com/cespare/xxhash/v2"
)

const buckets = 1024

// announcement is what one edge announced on one stream since its last reset.
// Rows point to it, so a reset or a detach forgets all rows of an edge at once
// and leaves the cleaning to [rows.sweep].
type announcement struct {
	edge     *Edge
	view     uint64 // under which the edge chose its topics
	complete bool   // all of them have arrived
	topics   int
}

// current reports whether a is still what its edge announces.
func (a *announcement) current() bool { return a.edge.rows == a }

// rows are the interest rows of all edges by topic. They lie in buckets so that
// walking over all of them can be cut into short steps.
type rows struct {
	byTopic [buckets]map[string][]*announcement
	stale   bool // some rows are of announcements that are not current
	again   bool // and more became so since the sweep began
	cursor  int  // the next bucket to sweep
}

func newRows() rows { return rows{} }

func bucket(topic string) int { return int(xxhash.Sum64String(topic) % buckets) }

// of returns the rows of topic, stale ones among them.
func (r *rows) of(topic string) []*announcement { return r.byTopic[bucket(topic)][topic] }

func (r *rows) add(topic string, a *announcement) {
	b := bucket(topic)
	if r.byTopic[b] == nil {
		r.byTopic[b] = map[string][]*announcement{}
	}
	list := r.byTopic[b][topic]
	for i, other := range list {
		if other.edge == a.edge {
			if other != a {
				list[i] = a
				a.topics++
			}
			return
		}
	}
	r.byTopic[b][topic] = append(list, a)
	a.topics++
}

func (r *rows) remove(topic string, a *announcement) {
	b := bucket(topic)
	list := r.byTopic[b][topic]
	i := slices.Index(list, a)
	if i < 0 {
		return
	}
	a.topics--
	if len(list) == 1 {
		delete(r.byTopic[b], topic)
		return
	}
	r.byTopic[b][topic] = slices.Delete(list, i, i+1)
}

// forget marks that an announcement is no longer current.
func (r *rows) forget(a *announcement) {
	if a == nil || a.topics == 0 {
		return
	}
	if r.stale {
		r.again = true
	}
	r.stale = true
}

// sweep removes stale rows from the next n buckets.
func (r *rows) sweep(n int) {
	for ; n > 0 && r.stale; n-- {
		r.clean(r.byTopic[r.cursor])
		r.cursor++
		if r.cursor == buckets {
			r.cursor, r.stale, r.again = 0, r.again, false
		}
	}
}

func (r *rows) clean(topics map[string][]*announcement) {
	for topic, list := range topics {
		kept := slices.DeleteFunc(list, func(a *announcement) bool { return !a.current() })
		if len(kept) == 0 {
			delete(topics, topic)
		} else if len(kept) < len(list) {
			topics[topic] = kept
		}
	}
}
