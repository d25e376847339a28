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
	began time.Time
	first time.Duration // by when each was looked at, and closed if it was quiet
	total time.Duration // by when all are closed
	todo  []Conn
	busy  []Conn
}

// newSweep returns one that takes at most spread.
func newSweep(conns []Conn, spread time.Duration, now time.Time) *sweep {
	first := min(spread*3/4, time.Duration(len(conns))*tick)
	return &sweep{
		began: now, first: first, total: min(spread, max(first*4/3, patience)), todo: conns,
	}
}

// step closes those that are due. It should be called each tick.
func (s *sweep) step(now time.Time, end func(Conn)) {
	spent := now.Sub(s.began)
	for n := share(len(s.todo), s.first-spent); n > 0; n-- {
		c := take(&s.todo)
		switch look := c.Look(); {
		case look.Closing:
		case look.Quiet:
			end(c)
		default:
			s.busy = append(s.busy, c)
		}
	}
	if len(s.todo) > 0 {
		return
	}
	n := share(len(s.busy), s.total-spent)
	for range min(n+looks, len(s.busy)) {
		if n == 0 {
			return
		}
		c := take(&s.busy)
		switch look := c.Look(); {
		case look.Closing:
		case look.Quiet:
			end(c)
			n--
		default:
			s.busy = append(s.busy, c)
		}
	}
	if spent < (s.first+s.total)/2 {
		return // they may become quiet
	}
	for ; n > 0 && len(s.busy) > 0; n-- {
		end(take(&s.busy))
	}
}

// over reports whether nothing is left to close.
func (s *sweep) over() bool { return len(s.todo)+len(s.busy) == 0 }

// share is how many of n are due in one tick if all are within the time left.
func share(n int, left time.Duration) int {
	if left <= tick {
		return n
	}
	return int((int64(n)*int64(tick) + int64(left) - 1) / int64(left))
}

func take(list *[]Conn) Conn {
	c := (*list)[0]
	(*list)[0] = nil
	*list = (*list)[1:]
	return c
}
