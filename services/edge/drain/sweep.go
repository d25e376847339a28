package drain

import "time"

const (
	// tick is how often a sweep closes some, and the most time that it takes for
	// each connection: an edge with few is empty soon.
	tick = 10 * time.Millisecond
	// patience is how long a sweep waits at least, if it may, for clients that wait
	// for an answer.
	patience = 2 * time.Second
	// looks is how many busy connections are looked at in one tick in vain.
	looks = 64
)

// sweep closes all connections at an even rate: first those that are quiet, then
// those that have become so, and in the end the others.
type sweep struct {
	began  time.Time
	first  time.Duration // by when each was looked at, and closed if it was quiet
	middle time.Duration // until when those that are busy may become quiet
	total  time.Duration // by when all are closed

	count int // of todo at the beginning
	todo  []Conn
	stuck int // of busy in the middle; 0 before
	busy  []Conn
}

// newSweep returns one that takes at most spread.
func newSweep(conns []Conn, spread time.Duration, now time.Time) *sweep {
	first := min(spread*3/4, time.Duration(len(conns))*tick)
	total := min(spread, max(first*4/3, patience))
	return &sweep{
		began: now, first: first, middle: (first + total) / 2, total: total, count: len(conns), todo: conns,
	}
}

// step closes those that are due. It should be called each tick.
func (s *sweep) step(now time.Time, end func(Conn)) {
	spent := now.Sub(s.began) + tick
	for n := due(s.count, len(s.todo), spent, s.first); n > 0; n-- {
		if c := take(&s.todo); !closeQuiet(c, end) {
			s.busy = append(s.busy, c)
		}
	}
	switch {
	case len(s.todo) > 0:
	case spent < s.middle:
		s.relook(1+int(int64(len(s.busy))*int64(tick)/int64(s.middle-spent)), end)
	default:
		if s.stuck == 0 {
			s.stuck = len(s.busy)
		}
		n := due(s.stuck, len(s.busy), spent-s.middle, s.total-s.middle)
		for n -= s.relook(n, end); n > 0 && len(s.busy) > 0; n-- {
			end(take(&s.busy))
		}
	}
}

// relook closes those that have become quiet, at most so many, and returns how
// many it closed.
func (s *sweep) relook(most int, end func(Conn)) (closed int) {
	for range min(most+looks, len(s.busy)) {
		if closed == most {
			break
		}
		if c := take(&s.busy); closeQuiet(c, end) {
			closed++
		} else {
			s.busy = append(s.busy, c)
		}
	}
	return closed
}

// over reports whether nothing is left to close.
func (s *sweep) over() bool { return len(s.todo)+len(s.busy) == 0 }

// due is how many of count have to be closed now, of which some are left, so that
// all are within the whole time.
func due(count, left int, spent, whole time.Duration) int {
	if spent >= whole {
		return left
	}
	return max(0, int(int64(count)*int64(spent)/int64(whole))-(count-left))
}

// closeQuiet closes a connection unless it is busy.
func closeQuiet(c Conn, end func(Conn)) bool {
	look := c.Look()
	if look.Quiet {
		end(c)
	}
	return look.Quiet || look.Closing
}

func take(list *[]Conn) Conn {
	c := (*list)[0]
	(*list)[0] = nil
	*list = (*list)[1:]
	return c
}
