package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// step is how far time goes at once.
const step = 100 * time.Millisecond

// epoch is when virtual time begins.
func epoch() time.Time { return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC) }

// world is a fleet, its balancers and its clients at one moment.
type world struct {
	// Static after construction.
	options Options
	random  *rand.Rand

	// Changed as time goes by.
	now       time.Duration
	steps     int
	edges     []*edge
	balancers []*balancer
	clients   []*client
	away      agenda
	orders    *presencev1.Orders
	connects  uint64  // so far
	coming    float64 // clients that are due, less than one after each step
	leaving   float64
	strength  int     // edges that the scenario counts on
	cost      float64 // of a connection, as a share of an edge's processors
	tally     tally
}

// newWorld is a fleet that has been running for long: ready edges, connected
// clients, balancers that know all of them.
func newWorld(o Options) (*world, error) {
	counts, err := o.counts()
	if err != nil {
		return nil, fmt.Errorf("connections: %w", err)
	}
	random := rand.New(rand.NewPCG(o.Seed, 0x736b65696e)) //nolint:gosec // runs must be the same again
	w := &world{options: o, random: random, tally: newTally()}
	for range o.Count {
		w.balancers = append(w.balancers, &balancer{policy: choose(policies(), o.Policy), inter: o.AgentInter, random: random})
	}
	if total := sum(counts); total > 0 {
		w.cost = o.Load * float64(len(counts)) / float64(total)
	}
	for i := range counts {
		e := w.join(fmt.Sprintf("edge-%d", i+1), "blue", "1")
		e.state, e.began = ready, -24*time.Hour
		for _, b := range w.balancers {
			b.servers[i].weight = 100
		}
	}
	for i, n := range counts {
		for range n {
			c := &client{hidden: random.Float64() < o.Hidden}
			w.clients = append(w.clients, c)
			b := w.balancers[random.IntN(len(w.balancers))]
			b.servers[i].connections++
			w.seat(c, w.edges[i], b)
		}
	}
	w.strength = len(w.edges)
	w.tally.begin(w)
	return w, nil
}

func sum(values []int) int {
	total := 0
	for _, v := range values {
		total += v
	}
	return total
}

// join adds an edge that starts now.
func (w *world) join(id, group, version string) *edge {
	capacities := w.options.capacities(len(w.edges) + 1)
	e := &edge{
		id: id, group: group, capacity: capacities[len(w.edges)], cost: w.cost,
		phase: time.Duration(w.random.IntN(int(time.Second/step))) * step,
	}
	e.boot(version, w.now)
	w.edges = append(w.edges, e)
	for _, b := range w.balancers {
		b.meet(e, w.now)
	}
	return e
}

// seat gives a client a connection.
func (w *world) seat(c *client, e *edge, via *balancer) {
	w.connects++
	c.edge, c.via, c.epoch, c.seq, c.attempts = e, via, via.epoch, w.connects, 0
	e.count++
	e.opened++
	if c.hidden {
		e.hidden.push(c)
	} else {
		e.shown.push(c)
	}
}

// unseat ends the connection of a client.
func (w *world) unseat(c *client) {
	c.via.closed(c.edge, c.epoch)
	c.edge.count--
	c.edge = nil
}

// advance lets one step pass.
func (w *world) advance() {
	w.now += step
	w.steps++
	for _, e := range w.edges {
		e.arrivals.turn(w.steps)
		e.moves.turn(w.steps)
		w.live(e)
	}
	for _, b := range w.balancers {
		b.poll(w.now)
	}
	w.traffic()
	for {
		c, ok := w.away.due(w.now)
		if !ok {
			break
		}
		w.connect(c)
	}
	w.tally.look(w)
}

// live is one step of an edge.
func (w *world) live(e *edge) {
	if e.state == gone {
		return
	}
	if e.state == starting && w.now >= e.began+w.options.Boot {
		e.state = ready
	}
	e.follow(w.now)
	if e.state == draining && w.now >= e.drainFrom {
		for e.count > 0 && e.close.take(w.now, e.drainPerSecond, 1) {
			w.shed(e, 1, false, &w.tally.drained)
		}
		if e.count == 0 && e.stops {
			e.state = gone
			return
		}
	}
	for e.mayMove(w.now, 0.5+w.random.Float64()) {
		e.moves.add(w.steps)
		w.shed(e, 1, true, &w.tally.moved)
	}
	if w.now%time.Second == e.phase {
		e.report(w.now)
	}
}

// shed closes n connections of an edge. Those clients come back in the same
// step, as after the 11 ms that phoenix.js waits, unless their tab is hidden.
func (w *world) shed(e *edge, n int, careful bool, counter *int) {
	for range n {
		c, ok := e.victim(careful)
		if !ok {
			return
		}
		w.unseat(c)
		c.closes++
		*counter++
		if counter == &w.tally.moved {
			e.moved++
		}
		w.tally.closed(w.now, c)
		w.comeBack(c)
	}
}

// comeBack is what the client does when the server closed its connection.
func (w *world) comeBack(c *client) {
	switch {
	case !c.hidden:
		w.later(c, 0)
	case w.options.ShownAfter > 0:
		c.hidden = false
		w.later(c, time.Duration(w.random.ExpFloat64()*float64(w.options.ShownAfter)))
	default:
		w.tally.never++
		c.left = true
	}
}

// later has the client connect after a while.
func (w *world) later(c *client, wait time.Duration) {
	w.connects++
	w.away.add(returning{at: w.now + wait, order: w.connects, client: c})
}

// connect is one attempt of a client.
func (w *world) connect(c *client) {
	if c.left {
		return
	}
	b := w.balancers[w.random.IntN(len(w.balancers))]
	e := b.connect(w.now)
	if e == nil {
		w.tally.refused++
		c.attempts++
		w.later(c, backoff(c.attempts))
		return
	}
	w.seat(c, e, b)
	e.arrivals.add(w.steps)
}

// traffic lets clients come for the first time and leave for good.
func (w *world) traffic() {
	w.coming += w.options.Coming * step.Seconds() * 2 * w.random.Float64()
	for ; w.coming >= 1; w.coming-- {
		c := &client{hidden: w.random.Float64() < w.options.Hidden}
		w.clients = append(w.clients, c)
		w.connect(c)
	}
	w.leaving += w.options.Leaving * step.Seconds() * 2 * w.random.Float64()
	for ; w.leaving >= 1; w.leaving-- {
		w.leave()
	}
}

// leave ends one connection at random, if there is one.
func (w *world) leave() {
	for range 100 { // a fleet with less than one in a hundred connected is past help
		if len(w.clients) == 0 {
			return
		}
		i := w.random.IntN(len(w.clients))
		c := w.clients[i]
		if c.edge == nil && !c.left {
			continue
		}
		last := len(w.clients) - 1
		w.clients[i] = w.clients[last]
		w.clients = w.clients[:last]
		if c.edge != nil {
			w.unseat(c)
			c.left = true
			return
		}
	}
}

// kill ends an edge as a lost machine does.
func (w *world) kill(e *edge) {
	e.state = gone
	w.shed(e, e.count, false, &w.tally.lost)
}

// serving are the edges that take connections, now or as soon as they started.
func (w *world) serving() []*edge {
	var all []*edge
	for _, e := range w.edges {
		if e.state == ready || e.state == starting {
			all = append(all, e)
		}
	}
	return all
}

// connected is the number of connections of the given edges.
func connected(edges []*edge) int {
	total := 0
	for _, e := range edges {
		total += e.count
	}
	return total
}

// strain is the load of an edge as a multiple of what it would be if all were
// level.
func (w *world) strain(e *edge) float64 {
	total, capacity := connected(w.edges), 0
	if total == 0 {
		return 0
	}
	for _, other := range w.edges {
		capacity += other.capacity
	}
	mean := float64(capacity) / float64(len(w.edges))
	return float64(e.count) * mean * float64(w.strength) / (float64(total) * float64(e.capacity))
}

// level says whether each edge that should have connections has its share, and
// no other has any.
func (w *world) level() bool {
	edges := w.serving()
	total := connected(w.edges)
	if len(edges) == 0 || connected(edges) < total {
		return false
	}
	for i, share := range shares(edges, total) {
		if off := math.Abs(float64(edges[i].count - share)); off > max(1, near*float64(share)) {
			return false
		}
	}
	return true
}

// shares apportions total to edges by their capacity: the largest remainders get
// what is left.
func shares(edges []*edge, total int) []int {
	sum := 0
	for _, e := range edges {
		sum += e.capacity
	}
	targets, left := make([]int, len(edges)), total
	for i, e := range edges {
		targets[i] = total * e.capacity / sum
		left -= targets[i]
	}
	for ; left > 0; left-- {
		best := 0
		for i, e := range edges {
			if total*e.capacity-targets[i]*sum > total*edges[best].capacity-targets[best]*sum {
				best = i
			}
		}
		targets[best]++
	}
	return targets
}

// surplus is how many connections the edges have above their shares: no way to
// level them moves fewer.
func surplus(edges []*edge) int {
	targets, over := shares(edges, connected(edges)), 0
	for i, e := range edges {
		over += max(0, e.count-targets[i])
	}
	return over
}
