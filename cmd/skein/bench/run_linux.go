package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// run is one scenario against one target.
type run struct {
	common  Common
	loop    *loop
	began   time.Time
	edges   []netip.AddrPort
	connect *phase
	join    *phase
	joins   int                      // wanted on each socket
	topicOf func(c *conn, n int) int // the n-th topic of a socket
	name    func(topic int) string
	params  func(c *conn) string // of a join, as JSON
	fanout  *fanout              // nil if nothing is published
	crowd   *crowd               // nil if nobody is listed
	// alongside runs while messages are published, which end with it; nil for
	// nothing.
	alongside func(context.Context)
	lost      int   // sockets that the server ended
	first     error // why the first of them ended
}

// clock is the time since the run began, on which stamps are.
func (r *run) clock() time.Duration { return time.Since(r.began) }

func newRun(ctx context.Context, common Common, sockets int) (*run, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("limit of open files: %w", err)
	}
	const spare = 64
	if uint64(sockets+spare) > limit.Cur {
		return nil, fmt.Errorf("%d sockets need more open files than this process may have, %d: raise ulimit -n or use several processes", sockets, limit.Cur)
	}
	r := &run{
		common: common, began: time.Now(), topicOf: func(*conn, int) int { return 0 },
		name: topicName, params: func(*conn) string { return "{}" },
	}
	for _, e := range common.Edge {
		address, err := resolve(ctx, e)
		if err != nil {
			return nil, err
		}
		r.edges = append(r.edges, address)
	}
	var err error
	if r.loop, err = newLoop(r.began); err != nil {
		return nil, err
	}
	r.loop.onOpen, r.loop.onMessage, r.loop.onClosed = r.opened, r.message, r.closed
	return r, nil
}

func (r *run) opened(c *conn) {
	r.connect.done++
	record(r.connect.latency, time.Since(c.began))
}

func (r *run) closed(c *conn, err error) {
	if r.first == nil {
		r.first = fmt.Errorf("socket %d to %s: %w", c.index, c.edge, err)
	}
	switch {
	case !c.opened:
		r.connect.failed++
	case r.join != nil && c.joins < r.joins:
		r.join.failed += r.joins - c.joins
	}
	r.lost++
}

// message handles one frame of a socket.
func (r *run) message(c *conn, f frame) error {
	if r.fanout != nil && r.fanout.delivery(c, f.payload, r.loop.now) {
		return nil
	}
	if r.crowd != nil {
		if taken, err := r.crowd.take(c, f.payload); taken || err != nil {
			return err
		}
	}
	m, err := decode(f.payload)
	if err != nil {
		return err
	}
	switch {
	case m.event == "phx_reply" && m.ref == joinRef:
		if !replied(m.payload) {
			return fmt.Errorf("join of %s refused: %.200s", m.topic, m.payload)
		}
		c.joins++
		r.join.done++
		record(r.join.latency, time.Since(c.began))
	case m.event == "phx_reply" && r.fanout != nil:
		r.fanout.answer(c, m, r.loop.now)
	case m.event == "phx_error" || m.event == "phx_close":
		return fmt.Errorf("%s on %s", m.event, m.topic)
	}
	return nil
}

// joinRef marks joins; messages have numbers.
const joinRef = "j"

// dial opens sockets that next fills in, spread over edges unless they name
// one, until all are open or failed.
func (r *run) dial(ctx context.Context, n int, next func(i int) (c *conn, edge int)) error {
	r.connect = startPhase()
	for begun := 0; r.connect.done+r.connect.failed < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		allowed := n
		if r.common.ConnectRate > 0 {
			allowed = min(n, 1+int(time.Since(r.connect.began).Seconds()*r.common.ConnectRate))
		}
		for begun < allowed && begun-r.connect.done-r.connect.failed < r.common.Concurrency {
			c, edge := next(begun)
			c.edge, c.path = r.common.Edge[edge], r.common.Path
			if err := r.loop.dial(c, r.edges[edge]); err != nil {
				return err
			}
			begun++
		}
		if err := r.loop.poll(10 * time.Millisecond); err != nil {
			return err
		}
		if r.connect.failed > 0 && r.connect.done == 0 && r.connect.failed >= r.common.Concurrency/2 {
			return r.first // nobody is let in: no need to try all
		}
	}
	if r.connect.done == 0 {
		return r.first
	}
	return nil
}

// joinAll joins the topics of all sockets.
func (r *run) joinAll(ctx context.Context, perSocket int) error {
	r.join, r.joins = startPhase(), perSocket
	want := 0
	for _, c := range r.loop.conns {
		if c.state == open {
			want += perSocket
		}
	}
	asked := 0
	for next := 0; r.join.done+r.join.failed < want; {
		for ; next < len(r.loop.conns)*perSocket && asked-r.join.done-r.join.failed < r.common.Concurrency; next++ {
			c := r.loop.conns[next%len(r.loop.conns)]
			if c.state != open {
				continue
			}
			asked++
			text := fmt.Appendf(nil, `["1",%q,%q,"phx_join",%s]`, joinRef, r.name(r.topicOf(c, c.asked)), r.params(c))
			c.began = time.Now()
			c.asked++
			if err := c.write(appendFrame(nil, opText, text)); err != nil {
				c.drop()
				r.closed(c, err)
			}
		}
		if err := r.wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	if r.join.done == 0 {
		return r.first
	}
	return nil
}

// wait handles what comes for a time.
func (r *run) wait(ctx context.Context, d time.Duration) error {
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if err := r.loop.poll(max(0, min(left, 100*time.Millisecond))); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if left <= 0 {
			return nil
		}
	}
}

func (r *run) open() int {
	n := 0
	for _, c := range r.loop.conns {
		if c.state == open {
			n++
		}
	}
	return n
}

// finish puts the result together from what two watches saw.
func (r *run) finish(result *Result, target, self *watch, operations int) {
	r.conclude(result)
	result.Processes = target.stop(operations, result.Sockets)
	result.Client = self.stop(operations, 0)[0]
}

// conclude says what became of the sockets.
func (r *run) conclude(result *Result) {
	result.Sockets, result.Closed = r.open(), r.lost
	if r.first != nil {
		result.Problem = fmt.Sprintf("%d sockets ended; %v", r.lost, r.first)
	}
}

// watches begin to measure the target's processes and this one.
func watches(processes []process) (target, self *watch, err error) {
	if target, err = startWatch(processes); err != nil {
		return nil, nil, err
	}
	self, err = startWatch([]process{{"bench", os.Getpid()}})
	return target, self, err
}

// Connect opens sockets and joins topics.
func Connect(ctx context.Context, o ConnectOptions) (*Report, error) {
	report := &Report{Scenario: "connect"}
	if o.Joins > 0 {
		report.Scenario = "join"
	}
	err := against(ctx, floorOptions{common: o.Common}, report, func(ctx context.Context, common Common, _ bool) (*Result, error) {
		o.Common = common
		return connect(ctx, o)
	})
	return report, err
}

func connect(ctx context.Context, o ConnectOptions) (*Result, error) {
	r, err := newRun(ctx, o.Common, o.Sockets)
	if err != nil {
		return nil, err
	}
	defer r.loop.close()
	processes, _ := parsePids(o.Pids) // was validated
	target, self, err := watches(processes)
	if err != nil {
		return nil, err
	}
	r.topicOf = func(c *conn, n int) int { return (c.index*max(1, o.Joins) + n) % o.Topics }
	result := &Result{Operation: "connect"}
	if err := r.dial(ctx, o.Sockets, func(i int) (*conn, int) { return &conn{}, i % len(r.edges) }); err != nil {
		return nil, err
	}
	result.Connect = r.connect.result(time.Now())
	if o.Joins > 0 {
		result.Operation = "connect and join"
		if err := r.joinAll(ctx, o.Joins); err != nil {
			return nil, err
		}
		result.Join = r.join.result(time.Now())
	}
	if err := r.wait(ctx, o.Settle+o.Hold); err != nil {
		return nil, err
	}
	r.finish(result, target, self, r.connect.done)
	return result, nil
}

// floorOptions say how the floor runs.
type floorOptions struct {
	common   Common
	coalesce time.Duration
}

// scenario runs once, against the edges that common names.
type scenario func(ctx context.Context, common Common, onFloor bool) (*Result, error)

// against runs a scenario on the floor, if asked for, and on the target.
func against(ctx context.Context, o floorOptions, report *Report, run scenario) error {
	if o.common.Floor {
		floor, err := startFloor(ctx, o)
		if err != nil {
			return err
		}
		report.Floor, err = run(ctx, floor.common, true)
		if err := errors.Join(err, floor.stop()); err != nil {
			return fmt.Errorf("floor: %w", err)
		}
	}
	var err error
	if report.Target, err = run(ctx, o.common, false); err != nil {
		return err
	}
	report.Ratios = compare(report.Target, report.Floor)
	return nil
}
