package drain

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// Conn is a client's connection. Its methods may be called from any goroutine and
// do not block.
type Conn interface {
	// Look is how it is now.
	Look() Look
	// Move closes it with 1012 and the reason, so that the client comes back on
	// another edge, and reports whether nobody closed it before.
	Move(reason string) bool
}

// Look is how a connection is at one moment.
type Look struct {
	ID      uint64        // of all transports: a smaller one was opened earlier
	Poll    bool          // it is a long-poll session
	Closing bool          // its end has begun
	Quiet   bool          // its client waits for nothing and nothing waits for it
	Age     time.Duration // since it was opened
	Silence time.Duration // since something was received of it
}

// idle is the silence from which on a client may be a hidden tab: phoenix.js
// sends a heartbeat each 30 s, and does not come back while it is hidden.
const idle = 35 * time.Second

// rank says how well a client takes a move; less is better. A socket is replaced
// in one round trip. Who may not come back is last.
func (l Look) rank() int {
	switch {
	case l.Silence > idle:
		return 2
	case l.Poll:
		return 1
	default:
		return 0
	}
}

// pick returns those quiet connections that may be closed and take it best, best
// first, of equals those that were opened first: who was moved before comes last.
func pick(all iter.Seq[Conn], may func(Look) bool, most int) []Conn {
	type candidate struct {
		Look

		conn Conn
	}
	var candidates []candidate
	for c := range all {
		if l := c.Look(); !l.Closing && l.Quiet && may(l) {
			candidates = append(candidates, candidate{l, c})
		}
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.ID, b.ID))
	})
	best := make([]Conn, 0, min(len(candidates), most))
	for _, c := range candidates[:min(len(candidates), most)] {
		best = append(best, c.conn)
	}
	return best
}

// lifetime of a connection is what is configured, give or take a tenth, so that
// those that were opened together do not end together. It follows from the id,
// and so costs no memory.
func lifetime(id uint64, configured time.Duration) time.Duration {
	const golden = 0x9e3779b97f4a7c15 // spreads consecutive ids evenly
	share := float64(id*golden>>11) / (1 << 53)
	return time.Duration(float64(configured) * (0.9 + 0.2*share))
}
