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
	l.rows[e.GetId()] = &row{edge: e, stream: stream, expires: now.Add(Lease)}
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

// Version changes when what Edges returns does, except for the time at which
// samples were taken: a sample that says the same as the last one is no news.
func (l *Ledger) Version() uint64 { return l.version }

// same says whether two samples differ in nothing but when they were taken.
func same(a, b *presencev1.Edge) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	a.Taken, b.Taken = nil, nil
	return proto.Equal(a, b)
}

// Connections returns the sum over edges.
func Connections(edges []*presencev1.Edge) uint64 {
	var sum uint64
	for _, e := range edges {
		sum += e.GetConnections()
	}
	return sum
}
