package simulate

import (
	"math/rand/v2"
	"time"
)

// named is something that users choose by its name.
type named[T any] struct {
	name, about string
	value       T
}

func namesOf[T any](all []named[T]) []string {
	var names []string
	for _, n := range all {
		names = append(names, n.name)
	}
	return names
}

func choose[T any](all []named[T], name string) (value T) {
	for _, n := range all {
		if n.name == name {
			return n.value
		}
	}
	return value
}

// policy is how a balancer chooses.
type policy struct {
	deaf bool // to the weights that edges tell
	pick func(b *balancer, total int) *server
}

func policies() []named[policy] {
	return []named[policy]{
		{"roundrobin", "HAProxy's roundrobin with agent-check: in turn, by weight", policy{pick: (*balancer).inTurn}},
		{"leastconn", "HAProxy's leastconn with agent-check: fewest own connections by weight", policy{pick: (*balancer).leastLoaded}},
		{"random", "at random, by weight", policy{pick: (*balancer).atRandom}},
		{"plain-roundrobin", "in turn, deaf to weights, as nginx", policy{deaf: true, pick: (*balancer).inTurn}},
		{"plain-leastconn", "fewest own connections, deaf to weights, as nginx's least_conn", policy{deaf: true, pick: (*balancer).leastLoaded}},
	}
}

// fall is how many questions in a row an edge may leave unanswered.
const fall = 3

// server is an edge as a balancer sees it.
type server struct {
	edge        *edge
	weight      int // 0: gets no new connections
	failed      int // questions in a row
	connections int // that this balancer knows of
	turn        int // of the smooth round robin
	ask         time.Duration
	tried       bool // and refused in the attempt under way
}

// balancer sends clients to edges. It knows of edges what their agents said last.
type balancer struct {
	// Static after construction.
	policy policy
	inter  time.Duration
	random *rand.Rand

	// Changed as time goes by.
	servers []*server
	epoch   int // counts reloads
	next    int // where ties of leastLoaded are broken
}

// meet adds an edge, which the balancer asks at a moment of its own. One that
// takes connections already has been asked before.
func (b *balancer) meet(e *edge, now time.Duration) {
	s := &server{edge: e, ask: now + time.Duration(b.random.Int64N(int64(b.inter)))}
	if e.state == ready {
		s.weight = 100
	}
	b.servers = append(b.servers, s)
}

// poll asks the agents whose turn it is.
func (b *balancer) poll(now time.Duration) {
	for _, s := range b.servers {
		if now < s.ask {
			continue
		}
		s.ask += b.inter
		weight, answered := s.edge.agent(now)
		switch {
		case answered && b.policy.deaf && weight > 0:
			s.weight, s.failed = 100, 0
		case answered:
			s.weight, s.failed = weight, 0
		default:
			if s.failed++; s.failed >= fall {
				s.weight = 0
			}
		}
	}
}

// reload starts over: connections that are open live on in the old process, and
// the new one does not know of them.
func (b *balancer) reload() {
	b.epoch++
	for _, s := range b.servers {
		s.connections, s.turn, s.weight = 0, 0, min(s.weight, 100)
	}
}

// connect finds an edge that accepts. An edge that refuses is passed over, as
// `option redispatch` does, three times at most.
func (b *balancer) connect(now time.Duration) *edge {
	const attempts = 4
	var found *server
	for range attempts {
		total := 0
		for _, s := range b.servers {
			if s.usable() {
				total += s.weight
			}
		}
		if total == 0 {
			break
		}
		s := b.policy.pick(b, total)
		if s.edge.accepts(now) {
			found = s
			break
		}
		s.tried = true
	}
	for _, s := range b.servers {
		s.tried = false
	}
	if found == nil {
		return nil
	}
	found.connections++
	return found.edge
}

func (s *server) usable() bool { return s.weight > 0 && !s.tried }

// closed takes note of a connection that ended, if it knew of it.
func (b *balancer) closed(e *edge, epoch int) {
	if epoch != b.epoch {
		return
	}
	for _, s := range b.servers {
		if s.edge == e {
			s.connections--
			return
		}
	}
}

// inTurn is the smooth weighted round robin: everyone gains its weight, whoever
// has most is chosen and pays the total.
func (b *balancer) inTurn(total int) *server {
	var best *server
	for _, s := range b.servers {
		if !s.usable() {
			continue
		}
		s.turn += s.weight
		if best == nil || s.turn > best.turn {
			best = s
		}
	}
	best.turn -= total
	return best
}

// leastLoaded chooses the server with the fewest connections for its weight, of
// equal ones the next after the last choice.
func (b *balancer) leastLoaded(int) *server {
	var best *server
	at := 0
	for i := range b.servers {
		j := (b.next + i) % len(b.servers)
		s := b.servers[j]
		if s.usable() && (best == nil || (s.connections+1)*best.weight < (best.connections+1)*s.weight) {
			best, at = s, j
		}
	}
	b.next = at + 1
	return best
}

func (b *balancer) atRandom(total int) *server {
	left := b.random.IntN(total)
	for _, s := range b.servers {
		if !s.usable() {
			continue
		}
		if left -= s.weight; left < 0 {
			return s
		}
	}
	return nil
}
