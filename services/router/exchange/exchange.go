package exchange

import (
	"sync"
	"time"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Bounds of everything that waits here.
const (
	TickInterval  = 20 * time.Millisecond
	SettleTime    = time.Second            // a new owner waits at most this long for earlier owners
	FenceTime     = time.Second            // an edge that does not answer a fence is not waited for any longer
	ParkTime      = 250 * time.Millisecond // a forward that met a router which is not the owner waits for its view to change
	RouteTime     = 2 * time.Second        // a publish without reachable owner is refused
	HoldTime      = 5 * time.Second        // no publish is held longer, whatever it waits for
	HandOverTime  = 400 * time.Millisecond // handed rows count until the edge's own announcement replaces them
	QuietTime     = 200 * time.Millisecond // a leaving router that was not published to for this long has left
	DefaultHeld   = 64 << 20               // bytes of publishes that wait
	itemsPerLock  = 512
	bucketsPerGap = 8
)

// Port is where one edge hears this router. Its methods are called under the
// exchange's lock and must only queue.
type Port interface {
	// Deliver queues a broadcast; false means that there was no room.
	Deliver(b *meshv1.Broadcast) bool
	// Fence asks for [Exchange.Fenced] with the same number.
	Fence(number uint64)
	// View tells the edge what this router believes about the fleet.
	View(v *meshv1.View)
	Origin
}

// Link is the way to one peer router. Its methods are called under the
// exchange's lock and must only queue.
type Link interface {
	// Forward queues a publish; false means that there was no room.
	Forward(p *meshv1.Publish) bool
	// Deliver queues a broadcast for the peer's backend subscriptions; false
	// means that there was no room.
	Deliver(b *meshv1.Broadcast) bool
	// Control queues one of the other messages of a request; it always fits.
	Control(m *meshv1.PeerRequest)
}

// Origin hears what became of its publishes, each exactly once. Done is called
// under the exchange's lock, maybe before Publish returns, and must only queue.
type Origin interface {
	Done(seq uint64, o Outcome)
}

// Outcome is what became of a publish.
type Outcome struct {
	Owner string              // the router that ordered it, "" if none did
	Error meshv1.PublishError // unspecified means that it was ordered
}

// Source says where a publish entered this router.
type Source int

// Sources of a publish.
const (
	FromEdge Source = iota
	FromBackend
	FromPeer
	sources
)

// Options of an exchange.
type Options struct {
	ID   string           // of this router
	Now  func() time.Time // [time.Now]
	Held int              // most bytes of publishes that wait; 0 means 64 MiB
	// Trace hears of broadcasts that carry a trace. Nil traces nothing.
	Trace Trace
}

// Trace follows broadcasts through an exchange. Each method returns the
// broadcast to send instead and a function for what became of it, which may be
// nil; all are called under the exchange's lock and must only take notes.
type Trace interface {
	// Order begins the fan-out of a broadcast.
	Order(b *meshv1.Broadcast) (*meshv1.Broadcast, func(Fanout))
	// Forward begins its way to the router that owns its topic.
	Forward(b *meshv1.Broadcast, owner string) (*meshv1.Broadcast, func(Outcome))
}

// Fanout counts the receivers of one broadcast.
type Fanout struct {
	Rows          int // edges with a row
	Floods        int // edges whose rows are not known yet
	Subscriptions int // peers and backends
	Dropped       int // had no room
}

// Exchange is the state of one router. All methods may be called concurrently.
type Exchange struct {
	// Static after construction.
	opts  Options
	alarm chan struct{}

	mu     sync.Mutex // guards the fields below and all they reach
	views  views
	rows   rows
	edges  map[string]*Edge
	flood  []*Edge // attached edges that are not synced
	peers  map[string]*peer
	subs   subscriptions
	lanes  map[string]*lane
	held   int // bytes in lanes
	fences fences
	stats  Stats
}

// New returns an exchange that knows no member, not even itself.
func New(opts Options) *Exchange {
	if opts.Held == 0 {
		opts.Held = DefaultHeld
	}
	return &Exchange{
		opts:  opts,
		alarm: make(chan struct{}, 1),
		views: newViews(),
		rows:  newRows(),
		edges: map[string]*Edge{},
		peers: map[string]*peer{},
		subs:  newSubscriptions(),
		lanes: map[string]*lane{},
	}
}

// Alarm delivers when something begins to wait for time to pass.
func (x *Exchange) Alarm() <-chan struct{} { return x.alarm }

// Tick lets time act on what waits: it gives up, goes on or cleans up. It
// reports whether something still waits.
func (x *Exchange) Tick() bool {
	now := x.opts.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.settleByTime(now)
	x.fencesByTime(now)
	x.handedByTime(now)
	x.lanesByTime(now)
	x.rows.sweep(bucketsPerGap)
	return !x.views.settled || len(x.fences.open) > 0 || x.held > 0 || x.rows.stale || x.anyHanded()
}

// wake makes the owner of the exchange call Tick. The caller holds mu.
func (x *Exchange) wake() {
	select {
	case x.alarm <- struct{}{}:
	default:
	}
}
