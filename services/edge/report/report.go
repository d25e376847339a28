// Package report tells every presence instance, each second, how much load this
// edge has, and hands on what they answer.
//
// One goroutine keeps a stream to each instance; instances that come and go are
// looked up each second. Nobody waits for presence: an edge that reports to no
// instance serves as before.
package report

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/pump"
	"github.com/skein-mesh/skein/pkg/queue"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Interval between two reports.
const Interval = pump.BeatInterval

// Deps are what a reporter needs of its process.
type Deps struct {
	Members func() []cluster.Member                            // presence instances
	Sample  func() *presencev1.Edge                            // everything but cpu, memory, their limits and time
	Take    func(from string, r *presencev1.ReportResponse)    // takes what an instance answers; called concurrently
	Dial    func(address string) (*grpc.ClientConn, error)     // does not connect yet
	Usage   func() (cpu time.Duration, memory uint64, _ error) // of the process since it started; see [Process]
	Memory  uint64                                             // that the process may use, in bytes; 0 if unknown, see [MemoryLimit]
	Log     *slog.Logger
}

// Reporter reports. All methods may be called concurrently, Run once.
type Reporter struct {
	deps    Deps
	changed chan struct{} // capacity one: "report now"

	running sync.WaitGroup

	// mu guards the fields below.
	mu    sync.Mutex
	usage usage
	links map[target]*link
}

// target is one instance where it listens.
type target struct{ id, address string }

// usage of the process over the last interval.
type usage struct {
	cpu    float64 // in cores
	memory uint64  // in bytes
}

// New returns a reporter that does nothing yet.
func New(deps Deps) *Reporter {
	return &Reporter{deps: deps, changed: make(chan struct{}, 1), links: map[target]*link{}}
}

// Changed makes the next report go out at once: the edge's state changed.
func (r *Reporter) Changed() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Run reports until ctx ends.
func (r *Reporter) Run(ctx context.Context) error {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	meter := meter{read: r.deps.Usage}
	for ctx.Err() == nil {
		r.reconcile(ctx)
		select {
		case <-ctx.Done():
		case <-r.changed:
			r.nudge()
		case now := <-tick.C:
			used, err := meter.measure(now)
			if err != nil {
				r.deps.Log.WarnContext(ctx, "load of the process unknown", "error", err)
			}
			r.mu.Lock()
			r.usage = used
			r.mu.Unlock()
		}
	}
	r.running.Wait()
	return nil
}

// reconcile starts the links that are missing and stops those that are gone.
func (r *Reporter) reconcile(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := map[target]bool{}
	for _, m := range r.deps.Members() {
		t := target{m.ID, m.Address}
		wanted[t] = true
		if r.links[t] == nil {
			r.links[t] = r.start(ctx, t)
		}
	}
	for t, l := range r.links {
		if !wanted[t] {
			l.cancel()
			delete(r.links, t)
		}
	}
}

func (r *Reporter) start(ctx context.Context, t target) *link {
	ctx, cancel := context.WithCancel(ctx)
	l := &link{
		target: t, reporter: r, cancel: cancel,
		out: queue.New(1, func(struct{}) int { return 1 }),
	}
	r.running.Go(func() { l.run(ctx) })
	return l
}

func (r *Reporter) nudge() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.links {
		_ = l.out.Push(struct{}{}) // full: a report is about to go out
	}
}

func (r *Reporter) request() *presencev1.ReportRequest {
	edge := r.deps.Sample()
	r.mu.Lock()
	defer r.mu.Unlock()
	edge.Cpu, edge.Memory = r.usage.cpu, r.usage.memory
	edge.CpuLimit, edge.MemoryLimit = float64(runtime.GOMAXPROCS(0)), r.deps.Memory // the former follows cgroups
	edge.Taken = timestamppb.Now()
	return &presencev1.ReportRequest{Edge: edge}
}

// link reports to one instance.
type link struct {
	target
	reporter *Reporter
	cancel   context.CancelFunc
	out      *queue.Queue[struct{}] // an item asks for a report now
}

// pause between two attempts.
const pause = 500 * time.Millisecond

func (l *link) run(ctx context.Context) {
	log := l.reporter.deps.Log.With("presence", l.id, "address", l.address)
	for quiet := false; ; {
		err := l.stream(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case quiet:
			log.DebugContext(ctx, "not reported to presence", "error", err)
		default:
			log.WarnContext(ctx, "not reported to presence, trying again", "error", err)
			quiet = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(float64(pause) * (0.5 + rand.Float64()))): //nolint:gosec // jitter
		}
	}
}

func (l *link) stream(ctx context.Context) error {
	conn, err := l.reporter.deps.Dial(l.address)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	defer conn.Close() //nolint:errcheck // the stream has ended
	return pump.Stream[struct{}, presencev1.ReportRequest, presencev1.ReportResponse]{
		First: l.reporter.request(),
		Queue: l.out,
		Size:  func(struct{}) int { return 0 },
		Pack:  func([]struct{}) *presencev1.ReportRequest { return l.reporter.request() },
		Beat:  l.reporter.request,
		Handle: func(m *presencev1.ReportResponse) error {
			l.reporter.deps.Take(cmp.Or(m.GetInstance(), l.id), m)
			return nil
		},
	}.Client(ctx, presencev1.NewPresenceServiceClient(conn).Report)
}
