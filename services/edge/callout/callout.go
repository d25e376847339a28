// Package callout asks handlers on behalf of an edge. It is the sessions'
// [session.Backend] and what decides about sockets and origins. It calls
// skein.handler.v1 at a router: the one that owns the topic, else any; the
// router asks the backend.
//
// Calls are made by workers that exist only while there is something to ask. A
// namespace has its own workers and its own room for calls that wait, so a
// backend that is slow takes nothing from the others, and so have its leaves,
// which nobody waits for.
package callout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/telemetry"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
	"github.com/skein-mesh/skein/services/edge/session"
)

// Config of a callout.
type Config struct {
	Edge           string        // id of the edge
	ConnectInfo    []string      // what handlers are told of an HTTP request: names of [Parts]
	ConnectTimeout time.Duration // for an answer about a socket or an origin
	Calls          int           // most calls under way of one namespace
	WaitBytes      int           // most bytes of calls that wait in one namespace
}

// Bounds unless told otherwise.
const (
	DefaultCalls     = 512
	DefaultWaitBytes = 16 << 20
)

// Leaves of one namespace: most calls under way, and bytes that wait.
const (
	leaveCalls     = 16
	leaveWaitBytes = 1 << 20
)

// Default tells handlers everything.
func Default(edge string) Config {
	return Config{
		Edge: edge, ConnectInfo: Parts(), ConnectTimeout: namespace.DefaultTimeout,
		Calls: DefaultCalls, WaitBytes: DefaultWaitBytes,
	}
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, name := range c.ConnectInfo {
		check(slices.Contains(Parts(), name), "connect-info: %q is none of %s", name, strings.Join(Parts(), ", "))
	}
	check(c.ConnectTimeout > 0, "connect-timeout: must be positive, got %s", c.ConnectTimeout)
	check(c.Calls > 0, "handler-calls: must be positive, got %d", c.Calls)
	check(c.WaitBytes > 0, "handler-wait-bytes: must be positive, got %d", c.WaitBytes)
	return errors.Join(errs...)
}

// Routers knows the routers. Its methods must not block.
type Routers interface {
	// Routers returns those that are known. The slice belongs to the caller.
	Routers() []cluster.Member
	// Owner returns the id of the router that owns a topic, or nothing.
	Owner(topic string) string
}

// Deps are what a callout needs of its process.
type Deps struct {
	Routers Routers
	Dial    func(address string) (*grpc.ClientConn, error) // of a router; does not connect yet
	Log     *slog.Logger
	Meter   metric.Meter
}

// Callout asks handlers. All methods may be called concurrently, Run once.
type Callout struct {
	// Static after construction.
	cfg     Config
	told    map[string]bool // parts of a request
	routers *routers
	metrics *metrics
	log     *slog.Logger
	workers sync.WaitGroup
	life    context.Context // of calls that nobody else ends
	end     context.CancelFunc
	connect *lane // about sockets and origins

	complained atomic.Int64 // when, in nanoseconds since 1970

	mu     sync.Mutex // guards the fields below
	spaces map[string]*space
	closed bool
}

// space is what one namespace has of its own.
type space struct{ calls, leaves *lane }

// New returns a callout. cfg must be valid. Calls may be made before Run.
func New(cfg Config, deps Deps) (*Callout, error) {
	m, err := newMetrics(deps.Meter)
	if err != nil {
		return nil, err
	}
	c := &Callout{cfg: cfg, told: map[string]bool{}, metrics: m, log: deps.Log, spaces: map[string]*space{}}
	for _, name := range cfg.ConnectInfo {
		c.told[name] = true
	}
	c.routers = newRouters(deps.Routers, deps.Dial)
	c.life, c.end = context.WithCancel(context.Background()) //nolint:forbidigo // Run ends it
	c.connect = &lane{limit: cfg.Calls, room: cfg.WaitBytes, workers: &c.workers}
	return c, nil
}

// Bounds of Run's work.
const (
	sweepInterval = time.Second // between looks for routers that are gone
	flushTime     = time.Second // for calls under way when a callout stops
)

// Run keeps connections to routers no longer than the routers are known. When
// ctx ends it takes no more calls, and ends when the last is answered; those
// that take longer than a second are answered [channel.ErrUnavailable].
func (c *Callout) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			c.routers.sweep()
		}
	}
	c.close()
	late := time.AfterFunc(flushTime, c.end)
	c.workers.Wait()
	late.Stop()
	c.end()
	c.routers.close()
	return nil
}

// close refuses calls from now on.
func (c *Callout) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.connect.close()
	for _, s := range c.spaces {
		s.calls.close()
		s.leaves.close()
	}
}

func (c *Callout) space(ns *namespace.Namespace) *space {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.spaces[ns.Topics]
	if s == nil {
		s = &space{
			calls:  &lane{limit: c.cfg.Calls, room: c.cfg.WaitBytes, workers: &c.workers, closed: c.closed},
			leaves: &lane{limit: leaveCalls, room: leaveWaitBytes, workers: &c.workers, closed: c.closed},
		}
		c.spaces[ns.Topics] = s
	}
	return s
}

// Join implements [session.Backend].
func (c *Callout) Join(ns *namespace.Namespace, who session.Caller, params session.Payload, done func(session.JoinAnswer, error)) {
	req := &handlerv1.JoinRequest{Caller: c.caller(who), Params: payloadTo(params)}
	send(c, c.order("join", ns, who, params), req, client.Join, converted(joinAnswer, done))
}

// Push implements [session.Backend].
func (c *Callout) Push( //nolint:revive // the interface has that many arguments
	ns *namespace.Namespace, who session.Caller, event, ref string, p session.Payload, done func(session.PushAnswer, error),
) {
	req := &handlerv1.PushRequest{Caller: c.caller(who), Event: clean(event), Ref: clean(ref), Payload: payloadTo(p)}
	send(c, c.order("push", ns, who, p), req, client.Push, converted(pushAnswer, done))
}

// converted hands an answer on as the sessions know it.
func converted[Resp, Answer any](convert func(*Resp) Answer, done func(Answer, error)) func(*Resp, error) {
	return func(resp *Resp, err error) {
		if err != nil {
			var none Answer
			done(none, err)
			return
		}
		done(convert(resp), nil)
	}
}

// Leave implements [session.Backend]. A leave that finds no room is dropped and
// counted as overloaded.
func (c *Callout) Leave(ns *namespace.Namespace, who session.Caller, reason session.LeaveReason) {
	o := c.order("leave", ns, who, session.Payload{})
	o.lane = c.space(ns).leaves
	req := &handlerv1.LeaveRequest{Caller: c.caller(who), Reason: reasonOf(reason)}
	send(c, o, req, client.Leave, func(*handlerv1.LeaveResponse, error) {})
}

// order is all about a call but what is said in it.
type order struct {
	method    string
	namespace string // for metrics; empty about sockets
	topic     string // empty about sockets
	lane      *lane
	ctx       context.Context // of who waits for it; nil for nobody who could go away
	deadline  time.Time
	cost      int    // bytes
	trace     []byte // context of the trace that it belongs to; nil for none
}

// overhead is about what a call that waits costs beside its payload, in bytes.
const overhead = 512

func (c *Callout) order(method string, ns *namespace.Namespace, who session.Caller, p session.Payload) order {
	return order{
		method: method, namespace: ns.Topics, topic: who.Topic, lane: c.space(ns).calls,
		deadline: time.Now().Add(ns.Timeout), trace: who.Trace, cost: overhead + len(p.Data) + len(who.Assigns) + len(who.Claims),
	}
}

// send makes a call when it is its turn, and calls done with the answer or one
// of the errors that [session.Backend] names.
func send[Req, Resp any](c *Callout, o order, req *Req, call method[Req, Resp], done func(*Resp, error)) {
	watch := c.metrics.begin(c.life, o)
	err := o.lane.run(o.cost, func() {
		watch.starts()
		ctx, cancel := c.within(o)
		defer cancel()
		resp, err := ask(ctx, c.routers, o.topic, req, call)
		outcome := outcomeOf(err)
		watch.ends(outcome)
		if outcome == unconfigured {
			c.complain(ctx, o, err)
		}
		done(resp, outcome.err())
	})
	if err != nil {
		watch.refused(outcomeOf(err))
		done(nil, err)
	}
}

// complainInterval is the least time between two complaints.
const complainInterval = 10 * time.Second

// complain tells the operator that routers and this edge do not fit together.
func (c *Callout) complain(ctx context.Context, o order, err error) {
	now, last := time.Now().UnixNano(), c.complained.Load()
	if now-last >= int64(complainInterval) && c.complained.CompareAndSwap(last, now) {
		c.log.WarnContext(ctx, "no router could ask the handler", "method", o.method, "namespace", o.namespace, "error", err)
	}
}

// within returns the context of a call, which ends with its deadline, with who
// waits for it, or with the callout.
func (c *Callout) within(o order) (context.Context, context.CancelFunc) {
	if o.ctx == nil {
		return context.WithDeadline(telemetry.Context(c.life, o.trace), o.deadline)
	}
	ctx, cancel := context.WithDeadline(o.ctx, o.deadline)
	stop := context.AfterFunc(c.life, cancel)
	return ctx, func() { stop(); cancel() }
}

var _ session.Backend = (*Callout)(nil)
