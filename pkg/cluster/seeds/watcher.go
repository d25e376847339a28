package seeds

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// Bounds of asking.
const (
	// DefaultInterval is how often a strategy is asked.
	DefaultInterval = 5 * time.Second
	// MinInterval is the least that may be configured.
	MinInterval = 100 * time.Millisecond
	// AskTimeout is how long an answer may take.
	AskTimeout = 10 * time.Second

	// retry is the pause after the first failure, which doubles up to the interval,
	// and the least between two questions that somebody is in need of.
	retry = time.Second
	// settle is how long a change may take until all of it is there.
	settle = 100 * time.Millisecond
)

// Options of a [Watcher].
type Options struct {
	Interval time.Duration // between two questions to one strategy; 0 takes [DefaultInterval]
	Log      *slog.Logger
	Meter    metric.Meter // nil counts nothing
}

// Watcher asks strategies again and again and keeps the last good answer of
// each. All methods may be called concurrently, Run once.
type Watcher struct {
	// Static after construction.
	sources  []Source
	interval time.Duration
	log      *slog.Logger
	failures metric.Int64Counter
	changed  chan struct{}
	needed   []chan struct{} // of each source, capacity one: somebody is in need

	// mu guards the fields below.
	mu      sync.Mutex
	answers [][]string // of each source, nil before the first
	all     []string   // replaced, never changed in place
}

// Watch returns a watcher that asks nobody until Run. What static sources say is
// known at once.
func Watch(sources []Source, o Options) (*Watcher, error) {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	failures, err := o.Meter.Int64Counter("skein.cluster.seeds.failures",
		metric.WithDescription("Questions for addresses of members without an answer that helps, by reason: "+
			"timeout, not_found, forbidden, unreachable, failed, malformed, empty or other."))
	if err != nil {
		return nil, fmt.Errorf("metrics of seeds: %w", err)
	}
	w := &Watcher{
		sources: sources, interval: o.Interval, log: o.Log, failures: failures,
		changed: make(chan struct{}, 1), answers: make([][]string, len(sources)),
	}
	for i, s := range sources {
		w.needed = append(w.needed, make(chan struct{}, 1))
		if static, ok := s.Strategy.(Static); ok {
			w.learn(i, static)
		}
	}
	return w, nil
}

// Addresses returns what all strategies said last, sorted, each once. It does
// not block. The slice must not be changed.
func (w *Watcher) Addresses() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all
}

// Changed returns a channel of capacity one that means "look again". There is
// one per Watcher, so only one goroutine can wait for it.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Refresh says that the addresses lead nowhere. The strategies are asked again
// before the interval is over, though not more often than about once a second.
func (w *Watcher) Refresh() {
	for _, needed := range w.needed {
		signal(needed)
	}
}

// Run asks until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for i, s := range w.sources {
		if _, ok := s.Strategy.(Static); !ok {
			running.Go(func() { w.follow(ctx, i) })
		}
	}
	<-ctx.Done()
	running.Wait()
	return nil
}

// follow asks one source each interval, and when it says that it changed.
func (w *Watcher) follow(ctx context.Context, i int) {
	wake := make(chan struct{}, 1)
	var running sync.WaitGroup
	defer running.Wait()
	if n, ok := w.sources[i].Strategy.(notifier); ok {
		running.Go(func() { w.listen(ctx, i, n, wake) })
	}
	for before, pause := none, retry; ; {
		why := w.ask(ctx, i, before)
		wait := w.interval
		if before = why; why == none {
			pause = retry
		} else {
			wait = min(pause, w.interval)
			pause = 2 * wait
		}
		if !await(ctx, wait, w.needed[i], wake) {
			return
		}
	}
}

// listen wakes follow after each change.
func (w *Watcher) listen(ctx context.Context, i int, n notifier, wake chan<- struct{}) {
	err := n.notify(ctx, func() { signal(wake) })
	if err != nil {
		w.log.WarnContext(ctx, "changes of seeds are found by asking only", "source", w.sources[i].Name, "interval", w.interval, "error", err)
	}
}

// await waits for about d, or about [retry] once somebody is in need, or until
// something changed and is likely to be complete. It reports whether to go on.
func await(ctx context.Context, d time.Duration, needed, wake <-chan struct{}) bool {
	timer := time.NewTimer(jitter(d))
	defer timer.Stop()
	for soon, changed := false, false; ; { // whoever says so again meanwhile is served by the same question
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-needed:
			if !soon {
				soon = true
				timer.Reset(jitter(min(d, retry)))
			}
		case <-wake:
			if !changed {
				soon, changed = true, true
				timer.Reset(settle)
			}
		}
	}
}

// signal makes a channel of capacity one say "look again".
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ask asks one source once and returns why there is no answer, if so. before is
// what it returned the last time.
func (w *Watcher) ask(ctx context.Context, i int, before reason) reason {
	within, cancel := context.WithTimeout(ctx, AskTimeout)
	defer cancel()
	addresses, err := w.sources[i].Addresses(within)
	if ctx.Err() != nil {
		return before // cut short
	}
	if err == nil && len(addresses) == 0 {
		err = errEmpty
	}
	log := w.log.With("source", w.sources[i].Name)
	why := classify(err)
	if why != none {
		w.failures.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", string(why))))
		if why != before {
			log.WarnContext(ctx, "seeds: no good answer, the last one counts", "reason", string(why), "error", err)
		}
		return why
	}
	if before != none {
		log.InfoContext(ctx, "seeds: answered again")
	}
	if w.learn(i, addresses) {
		log.InfoContext(ctx, "seeds: other addresses", "addresses", w.Addresses())
	}
	return none
}

// learn takes in the answer of a source and reports whether it is another one
// than before.
func (w *Watcher) learn(i int, addresses []string) bool {
	addresses = slices.Clone(addresses)
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Equal(w.answers[i], addresses) {
		return false
	}
	w.answers[i] = addresses
	w.all = slices.Concat(w.answers...)
	slices.Sort(w.all)
	w.all = slices.Compact(w.all)
	signal(w.changed)
	return true
}

// jitter spreads d by a quarter either way, so that a fleet that was started at
// once does not ask in step.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2) //nolint:gosec // jitter
}
