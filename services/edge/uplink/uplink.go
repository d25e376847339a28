package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/ring"
	"github.com/skein-mesh/skein/pkg/telemetry"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Config of an uplink.
type Config struct {
	ID          string // of the edge
	Incarnation uint64 // of the edge
	Version     string // of the edge's software
	QueueBytes  int    // most bytes of publishes that wait for one router, and for an owner
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.ID == "" {
		errs = append(errs, errors.New("uplink: the edge needs an id"))
	}
	if c.QueueBytes <= 0 {
		errs = append(errs, fmt.Errorf("uplink-bytes: must be positive, got %d", c.QueueBytes))
	}
	return errors.Join(errs...)
}

// Seeds says where some routers are, to begin with. Its methods do not block.
type Seeds interface {
	// Addresses returns the addresses that are known now. They are not changed.
	Addresses() []string
	// Refresh says that no router is in reach.
	Refresh()
}

// Deps are what an uplink needs of its process.
type Deps struct {
	Seeds  Seeds
	Dial   func(address string) (*grpc.ClientConn, error) // does not connect yet
	Log    *slog.Logger
	Meter  metric.Meter
	Tracer telemetry.Tracer
	Calls  Calls // what routers may ask; nil for nothing
}

// Local is the edge's side of an uplink. None of its methods may block.
type Local interface {
	// Confirm ends the wait of a topic's first subscribers.
	Confirm(topic string, err error)
	// Deliver hands a broadcast to the subscribers of its topic and returns how
	// many there are.
	Deliver(b channel.Broadcast) (subscribers int)
	// Fail ends the subscriptions of topics that no owner can serve.
	Fail(match func(topic string) bool)
}

// Uplink is an edge's streams to all routers. All methods may be called
// concurrently, Run once. What is asked of it before Run waits.
type Uplink struct {
	cfg     Config
	deps    Deps
	core    *core
	metrics metrics
	running sync.WaitGroup // link goroutines
}

// New returns an uplink that does nothing yet.
func New(cfg Config, deps Deps) *Uplink {
	u := &Uplink{cfg: cfg, deps: deps, core: newCore(cfg.QueueBytes, time.Now())}
	u.metrics.measure(deps.Meter)
	return u
}

// Want announces a topic that gained its first subscriber. [Local.Confirm]
// answers.
func (u *Uplink) Want(topic string) { u.core.want(topic) }

// Drop takes a topic back that has no subscriber any more.
func (u *Uplink) Drop(topic string) { u.core.drop(topic) }

// Publish sends b to the owner of its topic. done is called once: with nil when
// the owner accepted it, with [channel.ErrUnavailable] or
// [channel.ErrOverloaded] if it may not reach its subscribers. It never takes
// longer than [Patience] and a sweep.
func (u *Uplink) Publish(b channel.Broadcast, done func(error)) {
	u.metrics.published.Add(1)
	b, done = u.traced(b, done)
	if err := u.core.publish(b, done); err != nil {
		u.metrics.answered(err, 0)
		done(err)
	}
}

// View returns the hash of the adopted view, and its routers.
func (u *Uplink) View() (uint64, ring.Ring) {
	u.core.mu.Lock()
	defer u.core.mu.Unlock()
	return u.core.adopted.hash, u.core.adopted.ring
}

// Published is how many broadcasts [Uplink.Publish] was given.
func (u *Uplink) Published() uint64 { return u.metrics.published.Load() }

// Ready reports whether this edge can serve: it was announced at every owner,
// and none has been out of reach for [Patience] since.
func (u *Uplink) Ready() bool {
	u.core.mu.Lock()
	defer u.core.mu.Unlock()
	return u.core.ready
}

// Routers returns the routers that are known. The slice belongs to the caller.
func (u *Uplink) Routers() []cluster.Member { return u.core.members(cluster.RoleRouter) }

// Owner returns the id of the router that owns a topic under the adopted view,
// "" without one.
func (u *Uplink) Owner(topic string) string {
	_, view := u.View()
	return view.Owner(topic)
}

// PresenceMembers returns the presence instances that routers know.
func (u *Uplink) PresenceMembers() []cluster.Member { return u.core.members(cluster.RolePresence) }

// Run keeps the streams until ctx ends. Publishes under way then have a moment
// to be answered; after that everything left is answered with
// [channel.ErrUnavailable].
func (u *Uplink) Run(ctx context.Context, local Local) error {
	unregister, err := u.metrics.register(u.deps.Meter, u.core)
	if err != nil {
		return err
	}
	defer unregister()
	m := &manager{uplink: u, local: local, links: map[target]*link{}}
	life := context.WithoutCancel(ctx)
	tick := time.NewTicker(SweepInterval)
	defer tick.Stop()
	var fx effects
	for ctx.Err() == nil {
		m.reconcile(life)
		select {
		case <-ctx.Done():
		case <-u.core.changed:
		case now := <-tick.C:
			u.core.sweep(now, &fx)
			u.apply(&fx, local)
		}
	}
	u.core.close(&fx)
	u.apply(&fx, local)
	for deadline := time.Now().Add(flushTime); !u.core.quiet() && time.Now().Before(deadline); {
		<-tick.C
	}
	m.stop()
	return nil
}

// flushTime bounds how long a stopping uplink waits for answers.
const flushTime = time.Second

// apply carries fx out and empties it. The core's lock is not held.
func (u *Uplink) apply(fx *effects, local Local) {
	for _, a := range fx.answered {
		u.metrics.answered(a.err, a.at)
		a.done(a.err)
	}
	for _, c := range fx.confirmed {
		local.Confirm(c.topic, c.err)
	}
	if fx.lost != nil {
		u.deps.Log.Warn("topics fail: their owner is out of reach")
		local.Fail(fx.lost)
	}
	clear(fx.answered)
	clear(fx.confirmed)
	fx.answered, fx.confirmed, fx.lost = fx.answered[:0], fx.confirmed[:0], nil
}

func (u *Uplink) hello(bootstrap bool) *meshv1.Hello {
	return &meshv1.Hello{Id: u.cfg.ID, Incarnation: u.cfg.Incarnation, Version: u.cfg.Version, Bootstrap: bootstrap}
}
