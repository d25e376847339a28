// Package orders decides which orders of operators count, and what the next ones
// are. It is pure: nothing is locked, no goroutine is started.
//
// All that operators want is one small message, stamped with a number and the
// instance that took it. Edges and instances pass on the latest they know, so
// that all come to hold the same one, whatever came first and however often.
package orders

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/skein-mesh/skein/pkg/cluster"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Bounds of orders that come from the network.
const (
	MaxDrains = 10_000
	MaxRate   = 1e6     // moves in a second
	maxSeq    = 1 << 53 // nobody gives that many
)

// keptDrains is how many drains are kept of edges that do not report: they may be
// back with the same life. Beyond that they are forgotten.
const keptDrains = 100

// Kind says what is wrong with an order.
type Kind int

// The kinds: a closed set.
const (
	Invalid Kind = iota // it can never be followed
	Unknown             // it names what is not there
	Refused             // it cannot be followed as the fleet is now
)

// Error is why an order was not taken.
type Error struct {
	Kind Kind
	Text string
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

func wrong(kind Kind, format string, args ...any) error {
	return &Error{kind, fmt.Sprintf(format, args...)}
}

// Compare is negative if a is earlier than b, positive if it is later, and 0 for
// the same orders. None at all are the earliest.
func Compare(a, b *presencev1.Orders) int {
	return cmp.Or(cmp.Compare(a.GetSeq(), b.GetSeq()), cmp.Compare(a.GetInstance(), b.GetInstance()))
}

// Check says what is wrong with orders that came from the network. None are right.
func Check(o *presencev1.Orders) error {
	if proto.Size(o) == 0 {
		return nil
	}
	if o.GetSeq() == 0 || o.GetSeq() > maxSeq {
		return fmt.Errorf("orders: seq %d is not between 1 and %d", o.GetSeq(), uint64(maxSeq))
	}
	if err := cluster.CheckID(o.GetInstance()); err != nil {
		return fmt.Errorf("orders: instance: %w", err)
	}
	if len(o.GetDrains()) > MaxDrains {
		return fmt.Errorf("orders: %d drains are more than %d", len(o.GetDrains()), MaxDrains)
	}
	for _, d := range o.GetDrains() {
		if err := cluster.CheckID(d.GetEdge()); err != nil {
			return fmt.Errorf("orders: drain: %w", err)
		}
		if d.GetIncarnation() == 0 {
			return fmt.Errorf("orders: the drain of %s needs an incarnation", d.GetEdge())
		}
	}
	if o.GetRollout() == nil {
		return nil
	}
	return checkRollout(o.GetRollout())
}

// checkRollout says why a rollout can never be.
func checkRollout(r *presencev1.Rollout) error {
	for _, end := range [][2]string{{"from", r.GetFrom()}, {"to", r.GetTo()}} {
		if err := cluster.CheckID(end[1]); err != nil {
			return fmt.Errorf("rollout: %s needs the name of a group: %w", end[0], err)
		}
	}
	switch rate := r.GetRate(); {
	case r.GetFrom() == r.GetTo():
		return fmt.Errorf("rollout: from and to are the same group, %q", r.GetFrom())
	case math.IsNaN(rate) || rate <= 0 || rate > MaxRate:
		return fmt.Errorf("rollout: rate must be more than 0 and at most %g moves in a second, got %v", float64(MaxRate), rate)
	}
	return nil
}

// Next returns the orders that count once instance self has taken the change,
// given the latest ones it knows and the edges that report. A change that changes
// nothing returns the latest. An error is an [*Error]. The arguments are not
// changed.
func Next(req *presencev1.OrderRequest, latest *presencev1.Orders, edges []*presencev1.Edge, self string) (*presencev1.Orders, error) {
	if latest.GetSeq() >= maxSeq {
		return nil, wrong(Refused, "no more orders: their numbers are used up")
	}
	next := &presencev1.Orders{
		Seq: latest.GetSeq() + 1, Instance: self,
		Paused: latest.GetPaused(), Rollout: latest.GetRollout(), Drains: current(latest.GetDrains(), edges),
	}
	f := fleet{edges, next}
	var err error
	switch c := req.GetChange().(type) {
	case *presencev1.OrderRequest_Paused:
		next.Paused = c.Paused
	case *presencev1.OrderRequest_Rollout:
		err = f.rollout(c.Rollout)
	case *presencev1.OrderRequest_Drain:
		err = f.drain(c.Drain)
	case *presencev1.OrderRequest_Undrain:
		err = f.undrain(c.Undrain)
	default:
		err = wrong(Invalid, "an order needs a change")
	}
	switch {
	case err != nil:
		return nil, err
	case unchanged(next, latest):
		return latest, nil
	}
	return next, nil
}

// unchanged says whether orders differ in their stamps only.
func unchanged(next, latest *presencev1.Orders) bool {
	next = proto.CloneOf(next)
	next.Seq, next.Instance = latest.GetSeq(), latest.GetInstance()
	if latest == nil {
		latest = &presencev1.Orders{}
	}
	return proto.Equal(next, latest)
}

// current returns the drains that mean anybody still.
func current(drains []*presencev1.Drain, edges []*presencev1.Edge) []*presencev1.Drain {
	there := map[string]uint64{}
	for _, e := range edges {
		there[e.GetId()] = e.GetIncarnation()
	}
	var kept []*presencev1.Drain
	for _, d := range drains {
		incarnation, known := there[d.GetEdge()]
		if known && incarnation > d.GetIncarnation() || !known && len(drains) > keptDrains {
			continue
		}
		kept = append(kept, d)
	}
	return kept
}

// fleet is the edges under orders that are being made.
type fleet struct {
	edges  []*presencev1.Edge
	orders *presencev1.Orders
}

func (f fleet) rollout(r *presencev1.Rollout) error {
	if err := checkRollout(r); err != nil {
		return &Error{Invalid, err.Error()}
	}
	before := f.orders.GetRollout()
	f.orders.Rollout = r
	known := func(group string) bool {
		return slices.ContainsFunc(f.edges, func(e *presencev1.Edge) bool { return e.GetGroup() == group })
	}
	switch same := before.GetFrom() == r.GetFrom() && before.GetTo() == r.GetTo(); {
	case same: // what was emptied may be gone, and the group that took over does already
	case !known(r.GetFrom()):
		return wrong(Unknown, "no edge is of group %q", r.GetFrom())
	case !known(r.GetTo()):
		return wrong(Unknown, "no edge is of group %q", r.GetTo())
	case !slices.ContainsFunc(f.edges, func(e *presencev1.Edge) bool { return e.GetGroup() == r.GetTo() && f.serves(e) }):
		return wrong(Refused, "no edge of group %q is ready: nobody could take the connections", r.GetTo())
	}
	return nil
}

func (f fleet) drain(id string) error {
	at := slices.IndexFunc(f.edges, func(e *presencev1.Edge) bool { return e.GetId() == id })
	if at < 0 {
		return wrong(Unknown, "no edge %q reports", id)
	}
	e := f.edges[at]
	served := f.serves(e)
	if !f.drained(id) {
		f.orders.Drains = append(f.orders.Drains, &presencev1.Drain{Edge: id, Incarnation: e.GetIncarnation()})
	}
	switch {
	case len(f.orders.GetDrains()) > MaxDrains:
		return wrong(Refused, "%d edges are drained already", MaxDrains)
	case served && !slices.ContainsFunc(f.edges, f.serves):
		return wrong(Refused, "%s is the last edge that serves: start another first", id)
	}
	return nil
}

func (f fleet) undrain(id string) error {
	if !f.drained(id) {
		return wrong(Unknown, "edge %q was not ordered to drain", id)
	}
	f.orders.Drains = slices.DeleteFunc(f.orders.GetDrains(), func(d *presencev1.Drain) bool { return d.GetEdge() == id })
	return nil
}

func (f fleet) drained(id string) bool {
	return slices.ContainsFunc(f.orders.GetDrains(), func(d *presencev1.Drain) bool { return d.GetEdge() == id })
}

// serves says whether an edge takes connections, and should. A group that was
// replaced does not.
func (f fleet) serves(e *presencev1.Edge) bool {
	r := f.orders.GetRollout()
	return e.GetState() == presencev1.EdgeState_EDGE_STATE_READY && !f.drained(e.GetId()) && (r == nil || e.GetGroup() != r.GetFrom())
}

// Holds says whether a change is part of orders, whoever gave them.
func Holds(req *presencev1.OrderRequest, o *presencev1.Orders) bool {
	switch c := req.GetChange().(type) {
	case *presencev1.OrderRequest_Paused:
		return o.GetPaused() == c.Paused
	case *presencev1.OrderRequest_Rollout:
		return proto.Equal(o.GetRollout(), c.Rollout)
	case *presencev1.OrderRequest_Drain:
		return fleet{orders: o}.drained(c.Drain)
	case *presencev1.OrderRequest_Undrain:
		return !fleet{orders: o}.drained(c.Undrain)
	}
	return false
}

// Kept counts the edges that report orders at least as late as these.
func Kept(o *presencev1.Orders, edges []*presencev1.Edge) int {
	n := 0
	for _, e := range edges {
		if Compare(e.GetOrders(), o) >= 0 {
			n++
		}
	}
	return n
}
