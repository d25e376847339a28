// Package load keeps what edges report about themselves: one row for each edge,
// valid for a lease. It is pure: time is passed in, nothing is locked, no
// goroutine is started.
//
// Each edge writes its own row and nobody else's, so counts are exact as of the
// last report. Three things could spoil that, and do not: a report of an earlier
// life of the edge, one of a stream that the edge has since replaced, and a row
// whose edge is gone. Order is never taken from clocks of other machines.
package load

import (
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Lease is how long a report counts without another. Edges report each second.
const Lease = 3 * time.Second

// LateAfter is how old the last report of an edge may be before the edge counts
// as late: it has missed one, and may be in trouble.
const LateAfter = 2 * time.Second

// MaxEdges bounds the rows, whatever reports.
const MaxEdges = 10_000

// Why a report is not taken.
var (
	ErrEarlierLife = errors.New("load: a later life of this edge reports")
	ErrReplaced    = errors.New("load: the edge reports on another stream")
	ErrFull        = errors.New("load: too many edges")
)

// Ledger is the rows of a fleet. The zero value is empty and ready. It is not
// safe for concurrent use.
type Ledger struct {
	rows    map[string]*row // by id of the edge
	streams uint64          // opened so far
	version uint64
}

// row is what an edge said last. Once the edge left it is kept until the lease
// ends, so that what is still in flight on an earlier stream does not revive it.
type row struct {
	edge    *presencev1.Edge // immutable
	stream  uint64
	came    time.Time // when the report did
	expires time.Time
	left    bool
}

// Open returns the number of a stream that begins now: larger than all before.
func (l *Ledger) Open() uint64 {
	l.streams++
	return l.streams
}

// Report takes in what an edge says on a stream of [Ledger.Open]. The ledger
// keeps e, which must not change any more.
func (l *Ledger) Report(stream uint64, e *presencev1.Edge, now time.Time) error {
	known := l.rows[e.GetId()]
	if known != nil && !known.expires.After(now) {
		known = nil
	}
	if known == nil && len(l.rows) >= MaxEdges {
		l.Expire(now) // only here: a look at every row with each report would add up
	}
	switch {
	case known == nil && len(l.rows) >= MaxEdges:
		return ErrFull
	case known == nil:
	case known.edge.GetIncarnation() > e.GetIncarnation():
		return ErrEarlierLife
	case known.edge.GetIncarnation() == e.GetIncarnation() && known.stream > stream:
		return ErrReplaced
	}
	if known == nil || known.left || !same(known.edge, e) {
		l.version++
	}
	if l.rows == nil {
		l.rows = map[string]*row{}
	}
	l.rows[e.GetId()] = &row{edge: e, stream: stream, came: now, expires: now.Add(Lease)}
	return nil
}

// Leave ends a row whose edge said on this stream that it goes. Without it a row
// outlives its stream until the lease ends: the edge may be back in a moment,
// and its connections never left.
func (l *Ledger) Leave(stream uint64, id string) {
	if known := l.rows[id]; known != nil && known.stream == stream && !known.left {
		known.left = true
		l.version++
	}
}

// Expire ends the rows whose lease is over, and returns when the next one is;
// zero if there is none.
func (l *Ledger) Expire(now time.Time) time.Time {
	var next time.Time
	for id, r := range l.rows {
		if !r.expires.After(now) {
			delete(l.rows, id)
			if !r.left {
				l.version++
			}
			continue
		}
		if next.IsZero() || r.expires.Before(next) {
			next = r.expires
		}
	}
	return next
}

// Edges returns the last report of each edge with a valid lease, sorted by id.
// The reports must not be changed.
func (l *Ledger) Edges(now time.Time) []*presencev1.Edge {
	edges := make([]*presencev1.Edge, 0, len(l.rows))
	for _, r := range l.rows {
		if !r.left && r.expires.After(now) {
			edges = append(edges, r.edge)
		}
	}
	slices.SortFunc(edges, func(a, b *presencev1.Edge) int { return strings.Compare(a.GetId(), b.GetId()) })
	return edges
}

// Late returns the ids of those edges whose last report is older than
// [LateAfter], sorted.
func (l *Ledger) Late(now time.Time) []string {
	var late []string
	for id, r := range l.rows {
		if !r.left && r.expires.After(now) && now.Sub(r.came) > LateAfter {
			late = append(late, id)
		}
	}
	slices.Sort(late)
	return late
}

// Reported returns what the edge with this id reported last, if that came on this
// stream and counts still; nil otherwise.
func (l *Ledger) Reported(stream uint64, id string, now time.Time) *presencev1.Edge {
	if r := l.rows[id]; r != nil && r.stream == stream && !r.left && r.expires.After(now) {
		return r.edge
	}
	return nil
}

// Version changes when what Edges returns does, except for what nothing but time
// changes: a sample that says the same as the last one is no news.
func (l *Ledger) Version() uint64 { return l.version }

// same says whether two samples differ in nothing but what each second changes.
func same(a, b *presencev1.Edge) bool { return proto.Equal(timeless(a), timeless(b)) }

func timeless(e *presencev1.Edge) *presencev1.Edge {
	e = proto.CloneOf(e)
	e.Taken, e.UptimeMs, e.WeightAgeMs, e.PollAgeMs = nil, 0, 0, 0
	return e
}

// Connections returns the sum over edges.
func Connections(edges []*presencev1.Edge) uint64 {
	var sum uint64
	for _, e := range edges {
		sum += e.GetConnections()
	}
	return sum
}
