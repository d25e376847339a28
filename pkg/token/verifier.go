package token

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/skein-mesh/skein/pkg/grant"
)

// Times of reading keys.
const (
	// MinRefetch is the least time between two fetches of the JWKS.
	MinRefetch = 10 * time.Second

	fileInterval = 5 * time.Second // how often key files are looked at
)

// maxParked bounds the tokens that wait for a fetch, and those that wait for a
// slow check: with [Config.MaxBytes], their memory.
const maxParked = 1024

// Verifier checks tokens. Verify may be called by any goroutine, Run once.
type Verifier struct {
	// Static after construction.
	config Config
	rules  rules
	log    *slog.Logger
	client *http.Client
	wake   chan struct{} // capacity one: a token waits for keys
	slow   chan parked   // tokens whose check takes long

	keys   atomic.Pointer[keySet]
	counts counts

	// Owned by Run.
	files map[string]*file
	jwks  []*key    // nil before the first fetch that succeeded
	next  time.Time // of the regular fetches

	mu       sync.Mutex // guards the fields below
	parked   []parked
	phase    phase
	fetching bool
	tried    time.Time // when the last fetch began
	failed   bool      // it failed
}

// phase of a verifier's life.
type phase int

const (
	beginning phase = iota // no keys were read yet
	running
	stopped
)

// parked is a token that waits.
type parked struct {
	token string
	done  func(*grant.Grant, error)
}

// New returns a verifier that knows no key before Run. c must be valid.
func New(c Config, log *slog.Logger, meter metric.Meter) (*Verifier, error) {
	v := &Verifier{
		config: c, rules: newRules(c), log: log, client: newClient(), files: map[string]*file{},
		wake: make(chan struct{}, 1), slow: make(chan parked, maxParked),
	}
	v.keys.Store(newKeySet(nil, c.Enabled()))
	if err := v.observe(meter); err != nil {
		return nil, fmt.Errorf("register the metrics of tokens: %w", err)
	}
	return v, nil
}

// Verify calls done exactly once: with the grant of a token, or an error that
// wraps one of package grant and holds a detail for logs, which is not for
// clients. It does not wait; done is called before it returns, unless the
// token's key is not known yet or its check takes long. Then goroutines of Run
// call done, without a lock held.
func (v *Verifier) Verify(token string, done func(*grant.Grant, error)) {
	if token == "" {
		done(nil, grant.ErrMissing)
		return
	}
	v.decide(parked{token, done}, atOnce)
}

// decide checks a token, or makes it wait for what it takes.
func (v *Verifier) decide(p parked, within time.Duration) {
	for {
		keys := v.keys.Load()
		result, want := v.rules.check(p.token, keys, within)
		then, reason := final, error(nil)
		switch want {
		case moreTime:
			then, reason = v.postpone(p)
		case moreKeys:
			then, reason = v.park(p, keys)
		case nothing:
		}
		switch then {
		case waits:
			return
		case again:
			continue
		case undecidable:
			result = verdict{outcome: undecided, detail: reason}
		case final:
		}
		v.finish(result, p.done)
		return
	}
}

func (v *Verifier) finish(result verdict, done func(*grant.Grant, error)) {
	v.counts.add(result.outcome)
	done(result.grant, result.err())
}

// parking is what becomes of a token whose key is not known.
type parking int

const (
	final       parking = iota // it is refused: its key does not exist
	waits                      // it is decided about when keys were read
	again                      // keys were read meanwhile
	undecidable                // it cannot be told now
)

// park makes a token wait for keys that are still to be read, if there may be
// any beside those that it was checked with.
func (v *Verifier) park(p parked, checked *keySet) (parking, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	recent := !v.tried.IsZero() && time.Since(v.tried) < MinRefetch
	switch {
	case !v.config.Enabled():
		return final, nil
	case v.keys.Load() != checked:
		return again, nil
	case v.phase == stopped:
		return undecidable, errStopped
	case v.phase == beginning || v.fetching:
	case v.config.JWKS == "", recent && !v.failed:
		return final, nil
	case recent:
		return undecidable, errFetch
	}
	if len(v.parked) >= maxParked {
		return undecidable, errCrowded
	}
	v.parked = append(v.parked, p)
	select {
	case v.wake <- struct{}{}:
	default:
	}
	return waits, nil
}

// postpone hands a token to those who check slowly.
func (v *Verifier) postpone(p parked) (parking, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.phase == stopped {
		return undecidable, errStopped
	}
	select {
	case v.slow <- p:
		return waits, nil
	default:
		return undecidable, errBusy
	}
}

// work checks what takes long until ctx ends.
func (v *Verifier) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-v.slow:
			v.decide(p, anyTime)
		}
	}
}

// Run reads keys until ctx ends. It returns an error if a key file cannot be
// read to begin with; later the last good keys of a file are kept, as are those
// of a JWKS that cannot be fetched. What waits when it ends is told
// [grant.ErrUnavailable].
func (v *Verifier) Run(ctx context.Context) error {
	defer v.stop()
	if err := v.readFiles(); err != nil {
		return err
	}
	var workers sync.WaitGroup
	defer workers.Wait() // before stop
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		workers.Go(func() { v.work(ctx) })
	}
	v.refetch(ctx)
	tick := time.NewTicker(fileInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-v.wake:
			if v.waiting() {
				v.refetch(ctx)
			}
		case <-tick.C:
			v.rereadFiles(ctx)
			if v.config.JWKS != "" && !time.Now().Before(v.next) {
				v.refetch(ctx)
			}
		}
	}
}

func (v *Verifier) waiting() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.parked) > 0
}

// refetch fetches the JWKS, if there is one, and decides about all tokens that
// wait.
func (v *Verifier) refetch(ctx context.Context) {
	v.begin()
	var err error
	if v.config.JWKS != "" {
		err = v.fetch(ctx)
	}
	v.publish()
	v.next = time.Now().Add(v.config.Refresh)
	if err != nil {
		v.next = time.Now().Add(min(v.config.Refresh, retryTime))
		v.counts.jwksFailures.Add(1)
		v.log.WarnContext(ctx, "the keys of tokens were not fetched; the last good ones are kept", "url", v.config.JWKS, "error", err)
	}
	keys := v.keys.Load()
	for _, p := range v.end(err) {
		result, want := v.rules.check(p.token, keys, anyTime)
		if want == moreKeys && err != nil {
			result = verdict{outcome: undecided, detail: errFetch}
		}
		v.finish(result, p.done)
	}
}

// begin notes that a fetch begins.
func (v *Verifier) begin() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fetching, v.tried = true, time.Now()
}

// end notes how a fetch ended, and returns what waited for it.
func (v *Verifier) end(err error) []parked {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.phase, v.fetching, v.failed = running, false, err != nil
	waiting := v.parked
	v.parked = nil
	return waiting
}

// publish makes what was read the keys that tokens are checked with.
func (v *Verifier) publish() {
	var all []*key
	for _, path := range v.config.Keys {
		all = append(all, v.files[path].keys...)
	}
	v.keys.Store(newKeySet(append(all, v.jwks...), v.config.JWKS != "" && v.jwks == nil))
}

func (v *Verifier) stop() {
	v.mu.Lock()
	v.phase = stopped
	waiting := v.parked
	v.parked = nil
	for len(v.slow) > 0 {
		waiting = append(waiting, <-v.slow)
	}
	v.mu.Unlock()
	for _, p := range waiting {
		v.finish(verdict{outcome: undecided, detail: errStopped}, p.done)
	}
}
