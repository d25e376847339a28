// Package drain closes connections so that their clients come back on another
// edge: some of them, as hints say or because they are old, or all of them.
//
// # Some
//
// While the edge serves, [Drain.Run] closes what hints want moved, and what is
// older than [Config.MaxLifetime]. It takes only clients that wait for nothing,
// one after the other, never more in a second than it may. Who can be moved best
// comes first, see [Conn].
//
// # All
//
// A drain begins with the end of the context of Run, by HTTP, or by an order. The
// edge is unready at once; after [Config.Delay], when balancers have noticed, it
// refuses who comes and closes all connections at an even rate, those that wait
// for an answer last. A drain by HTTP or by an order can be taken back: then the
// edge serves again.
//
// # Goroutines
//
// None but that of Run, which alone closes connections.
package drain

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// Config of a drain.
type Config struct {
	Delay       time.Duration // how long a drain waits until balancers have noticed
	Spread      time.Duration // over which the closing of all connections is spread at most
	Wait        time.Duration // how long a client may take to answer the closing
	MaxLifetime time.Duration // of a connection, give or take a tenth; 0 for no limit
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	for _, v := range []struct {
		name  string
		value time.Duration
	}{{"drain-delay", c.Delay}, {"drain-spread", c.Spread}, {"drain-wait", c.Wait}} {
		if v.value < 0 {
			errs = append(errs, fmt.Errorf("%s: must not be negative, got %s", v.name, v.value))
		}
	}
	if c.MaxLifetime != 0 && c.MaxLifetime < minLifetime {
		errs = append(errs, fmt.Errorf("max-lifetime: must be 0 or at least %s, got %s", minLifetime, c.MaxLifetime))
	}
	return errors.Join(errs...)
}

// minLifetime is the least that makes sense: what reconnects all the time serves
// nobody.
const minLifetime = time.Minute

// Deps are what a drain needs of its edge. All may be called concurrently.
type Deps struct {
	Conns   iter.Seq[Conn]                                        // all connections; some may be closing
	Open    func() int                                            // how many are not closing
	Left    func() int                                            // how many there are, also closing ones
	Refuse  func(on bool)                                         // turns away who comes
	Shut    func()                                                // makes balancers see that nobody listens any more
	Goal    func(now time.Time) (movedUntil uint64, rate float64) // what hints want; rate 0 for nothing
	Changed func()                                                // a drain has begun, or was taken back
	Log     *slog.Logger
	Meter   metric.Meter
}

// Cause is why an edge drains. There may be several at once.
type Cause uint8

// The causes: a closed set.
const (
	Stop    Cause = iota // the process ends
	Request              // by HTTP
	Order                // of an operator, by presence
	causeCount
)

// String is the cause in logs and answers.
func (c Cause) String() string { return [causeCount]string{"stop", "request", "order"}[c] }

// Drain of one edge. All methods may be called concurrently, Run once.
type Drain struct {
	// Static after construction.
	cfg        Config
	deps       Deps
	wake       chan struct{} // capacity one: "look again"
	unregister func()

	closes [reasons]atomic.Uint64

	// mu guards the fields below.
	mu     sync.Mutex
	causes [causeCount]bool
	since  time.Time     // when the edge began to drain, or to serve
	drains uint64        // so far
	ended  chan struct{} // of the present drain: closed when nothing is left, or it was taken back

	// Owned by Run.
	moves    *line
	recycles *line
	sweep    *sweep    // nil while no drain closes connections
	drain    uint64    // that the sweep belongs to
	swept    time.Time // when that began to close connections
	empty    bool      // it has ended
	shut     bool      // nobody listens any more
	noted    time.Time // when its progress was logged
}

// New returns the drain of an edge that serves. cfg must be valid.
func New(cfg Config, deps Deps) (*Drain, error) {
	d := &Drain{cfg: cfg, deps: deps, wake: make(chan struct{}, 1), since: time.Now(), ended: make(chan struct{})}
	d.moves = &line{reason: rebalanced, conns: deps.Conns, end: d.end, pause: walkPause, most: walkTakes}
	d.recycles = &line{reason: recycled, conns: deps.Conns, end: d.end, pause: recycleLook, most: math.MaxInt}
	var err error
	d.unregister, err = d.observe(deps.Meter)
	return d, err
}

// Moved is how many connections were closed because hints said so.
func (d *Drain) Moved() uint64 { return d.closes[rebalanced].Load() }

// Wake makes Run look at the goal at once.
func (d *Drain) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Draining reports whether the edge drains, and since when it does or does not.
func (d *Drain) Draining() (draining bool, since time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.draining(), d.since
}

// draining needs mu held.
func (d *Drain) draining() bool { return d.causes != [causeCount]bool{} }

// Set begins to drain for a cause, or takes that back. It does nothing if it is
// so already.
func (d *Drain) Set(why Cause, on bool) {
	d.mu.Lock()
	before := d.draining()
	d.causes[why] = on
	after := d.draining()
	if before != after {
		d.since = time.Now()
		if after {
			d.drains++
			d.ended = make(chan struct{})
		} else {
			d.endNow()
		}
	}
	d.mu.Unlock()
	if before == after {
		return
	}
	if after {
		d.deps.Log.Info("draining", "connections", d.deps.Open(), "cause", why.String())
	} else {
		d.deps.Log.Info("drain taken back", "connections", d.deps.Open())
	}
	d.deps.Changed()
	d.Wake()
}

// endNow lets go of those who wait for the drain's end; mu is held.
func (d *Drain) endNow() {
	select {
	case <-d.ended:
	default:
		close(d.ended)
	}
}

// forever is a wait that ends with a wake only.
const forever = time.Hour

// Run moves and drains until ctx ends. Then it drains for good, and returns when
// no connection is left or the time for that is over.
func (d *Drain) Run(ctx context.Context) error {
	defer d.unregister()
	next := time.NewTimer(0)
	defer next.Stop()
	stop := ctx.Done()
	for {
		select {
		case <-stop:
			d.Set(Stop, true)
			stop = nil
		case <-d.wake:
		case <-next.C:
		}
		wait := d.step(time.Now())
		if stop == nil && d.empty {
			return nil
		}
		next.Reset(wait)
	}
}

// step does what is due and returns when to look again.
func (d *Drain) step(now time.Time) time.Duration {
	d.mu.Lock()
	draining, since, drain, stops := d.draining(), d.since, d.drains, d.causes[Stop]
	d.mu.Unlock()
	if d.sweep != nil && (!draining || d.drain != drain) { // taken back
		d.sweep, d.empty = nil, false
		d.deps.Refuse(false)
	}
	if draining {
		d.drain = drain
		return d.stepDrain(now, since, stops)
	}
	return min(d.stepMoves(now), d.stepRecycles(now))
}

func (d *Drain) stepMoves(now time.Time) time.Duration {
	until, rate := d.deps.Goal(now)
	moved := d.Moved()
	if until <= moved || rate <= 0 {
		d.moves.forget()
		return forever
	}
	return d.moves.step(now, until-moved, rate, func(Look) bool { return true })
}

// end closes a connection, and reports whether nobody did before.
func (d *Drain) end(c Conn, why reason) bool {
	if !c.Move(why.String()) {
		return false
	}
	d.closes[why].Add(1)
	return true
}

// Bounds of recycling.
const (
	recycleRate   = 50               // connections in a second at least
	recycleFactor = 10               // times what it takes on average
	recycleLook   = 10 * time.Second // between two looks for old connections
)

// stepRecycles closes connections that are too old, fast enough even if all were
// opened together: the lifetimes of such differ by a fifth.
func (d *Drain) stepRecycles(now time.Time) time.Duration {
	if d.cfg.MaxLifetime == 0 {
		return forever
	}
	rate := max(recycleRate, recycleFactor*float64(d.deps.Open())/d.cfg.MaxLifetime.Seconds())
	return d.recycles.step(now, math.MaxUint64, rate, func(l Look) bool { return l.Age > lifetime(l.ID, d.cfg.MaxLifetime) })
}

// stepDrain goes on with a drain that began at since; for good if the edge stops.
func (d *Drain) stepDrain(now, since time.Time, stops bool) time.Duration {
	switch {
	case d.empty:
		return forever
	case d.sweep == nil:
		if wait := since.Add(d.cfg.Delay).Sub(now); wait > 0 {
			return wait
		}
		d.deps.Refuse(true)
		d.sweep, d.swept, d.noted = d.sweepAll(now, d.cfg.Spread), now, now
	case d.sweep.over() && d.deps.Open() > 0: // they came while it began
		d.sweep = d.sweepAll(now, max(d.swept.Add(d.cfg.Spread).Sub(now), 0))
	}
	if stops && !d.shut {
		d.shut = true
		d.deps.Shut()
	}
	d.sweep.step(now, func(c Conn) { d.end(c, drained) })
	left := d.deps.Left()
	late := now.Sub(d.swept) > d.cfg.Spread+d.cfg.Wait+time.Second
	if d.sweep.over() && left == 0 || late {
		d.finish(left)
		return forever
	}
	if now.Sub(d.noted) >= time.Second {
		d.noted = now
		d.deps.Log.Info("draining", "connections", left)
	}
	return tick
}

func (d *Drain) sweepAll(now time.Time, spread time.Duration) *sweep {
	var all []Conn
	for c := range d.deps.Conns {
		all = append(all, c)
	}
	return newSweep(all, spread, now)
}

// finish notes that the drain has done what it could.
func (d *Drain) finish(left int) {
	d.empty = true
	d.deps.Log.Info("drained", "connections", left)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drain == d.drains { // it was not taken back, and begun again, just now
		d.endNow()
	}
}

// budget is the most time that a drain takes.
func (d *Drain) budget() time.Duration {
	return d.cfg.Delay + d.cfg.Spread + d.cfg.Wait + 2*time.Second
}
