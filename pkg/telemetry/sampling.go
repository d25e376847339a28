package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Bounds of the topics that have a ratio of their own.
const (
	MaxTopicRatios = 100
	MaxTopicName   = 1024 // bytes
)

// TopicRatio is the share of messages of some topics that begin a trace.
type TopicRatio struct {
	Topics string    // a topic, or what topics begin with and a star
	Ratio  float64   // 0 to 1
	Until  time.Time // zero for what is configured, which always counts
}

// ParseTopicRatio reads "TOPIC=RATIO". The topic may hold equals signs.
func ParseTopicRatio(text string) (TopicRatio, error) {
	i := strings.LastIndexByte(text, '=')
	if i < 0 {
		return TopicRatio{}, fmt.Errorf("%.80q is not TOPIC=RATIO, such as room:*=0.5", text)
	}
	ratio, err := strconv.ParseFloat(text[i+1:], 64)
	if err != nil {
		return TopicRatio{}, fmt.Errorf("%.80q: %.20q is not a number from 0 to 1", text, text[i+1:])
	}
	r := TopicRatio{Topics: text[:i], Ratio: ratio}
	return r, r.Validate()
}

// Validate says what is wrong with it.
func (r TopicRatio) Validate() error {
	switch {
	case r.Topics == "" || len(r.Topics) > MaxTopicName:
		return fmt.Errorf("topics: must have 1 to %d bytes, got %d", MaxTopicName, len(r.Topics))
	case !(r.Ratio >= 0 && r.Ratio <= 1): // NaN is neither
		return fmt.Errorf("%.80q: %v is not between 0 and 1", r.Topics, r.Ratio)
	}
	return nil
}

// rank is how special topics are.
func (r TopicRatio) rank() int {
	if strings.HasSuffix(r.Topics, "*") {
		return 2*len(r.Topics) - 1
	}
	return 2 * len(r.Topics)
}

// compare puts first what matches first: the more special, and of the same topics
// what counts for a while.
func (r TopicRatio) compare(other TopicRatio) int {
	return cmp.Or(cmp.Compare(other.rank(), r.rank()), cmp.Compare(r.Topics, other.Topics), other.Until.Compare(r.Until))
}

func (r TopicRatio) matches(topic string) bool {
	if prefix, ok := strings.CutSuffix(r.Topics, "*"); ok {
		return strings.HasPrefix(topic, prefix)
	}
	return r.Topics == topic
}

// Sampling decides which messages begin a trace: a share of all, or another
// share of some topics, which are configured or set for a while. All methods may
// be called concurrently.
type Sampling struct {
	// Static after construction.
	ratio float64

	topics atomic.Pointer[[]TopicRatio] // in the order in which they match; nil if there are none

	mu sync.Mutex // held while topics are changed
}

// NewSampling returns a sampling of a ratio from 0 to 1 of all topics but those
// that have their own. Of two for the same topics the later one counts.
func NewSampling(ratio float64, topics ...TopicRatio) (*Sampling, error) {
	s := &Sampling{ratio: ratio}
	for _, t := range topics {
		if err := s.put(t); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Set gives topics a ratio of their own for d, in place of the one that was set
// before; after that what is configured counts again. The longest that matches a
// topic counts, and a whole name before what it begins with. Messages whose trace
// began elsewhere are recorded whatever it says.
func (s *Sampling) Set(topics string, ratio float64, d time.Duration) error {
	return s.put(TopicRatio{Topics: topics, Ratio: ratio, Until: time.Now().Add(d)})
}

func (s *Sampling) put(r TopicRatio) error {
	if err := r.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := append(s.without(r.Topics, !r.Until.IsZero()), r)
	if len(next) > MaxTopicRatios {
		return fmt.Errorf("there are %d ratios of topics already, which is the most: reset one", MaxTopicRatios)
	}
	slices.SortFunc(next, TopicRatio.compare)
	s.topics.Store(&next)
	return nil
}

// Reset makes what is configured for topics count again.
func (s *Sampling) Reset(topics string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.without(topics, true)
	s.topics.Store(&next)
	if len(next) == 0 {
		s.topics.Store(nil)
	}
}

// Ratio is the share of messages of all topics without their own.
func (s *Sampling) Ratio() float64 { return s.ratio }

// Topics returns the ratios that count now, in the order in which they match.
// The slice belongs to the caller.
func (s *Sampling) Topics() []TopicRatio {
	return slices.CompactFunc(s.without("", false), func(a, b TopicRatio) bool { return a.Topics == b.Topics })
}

// without is a copy of the ratios that are not over, but for that of the given
// topics which is configured, or set for a while.
func (s *Sampling) without(topics string, while bool) []TopicRatio {
	var left []TopicRatio
	now := time.Now()
	if all := s.topics.Load(); all != nil {
		for _, r := range *all {
			if !r.over(now) && (r.Topics != topics || r.Until.IsZero() == while) {
				left = append(left, r)
			}
		}
	}
	return left
}

func (r TopicRatio) over(now time.Time) bool { return !r.Until.IsZero() && !now.Before(r.Until) }

// begins decides about a message whose trace was not recorded so far. followed
// says that whoever began it decided so.
func (s *Sampling) begins(topic string, followed bool) bool {
	ratio, own := s.of(topic)
	if followed && !own {
		return false
	}
	return ratio > 0 && rand.Float64() < ratio //nolint:gosec // which ones is no secret
}

// of returns the ratio of a topic, and whether it is its own.
func (s *Sampling) of(topic string) (ratio float64, own bool) {
	all := s.topics.Load()
	if all == nil || topic == "" {
		return s.ratio, false
	}
	var now time.Time
	for _, r := range *all {
		if !r.matches(topic) {
			continue
		}
		if now.IsZero() && !r.Until.IsZero() {
			now = time.Now()
		}
		if !r.over(now) {
			return r.Ratio, true
		}
	}
	return s.ratio, false
}

// chosen marks a context whose next root span is recorded.
type chosen struct{}

// choice is the sampler of root spans: it records what [Tracer.Begin] chose, and
// of those that others start, such as calls of backends, the usual ratio.
type choice struct{ sdktrace.Sampler }

// ShouldSample implements [sdktrace.Sampler].
func (c choice) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if p.ParentContext.Value(chosen{}) != nil {
		return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
	}
	return c.Sampler.ShouldSample(p)
}

// sampler is what a tracer provider needs for [Tracer.Begin] to work.
func (s *Sampling) sampler() sdktrace.Sampler {
	return sdktrace.ParentBased(choice{sdktrace.TraceIDRatioBased(s.ratio)})
}

// choose returns ctx with nothing before it in a trace that will be recorded.
func choose(ctx context.Context) context.Context {
	return context.WithValue(trace.ContextWithSpanContext(ctx, trace.SpanContext{}), chosen{}, true)
}

// parseTopicRatios reads a list, and reports every problem at once.
func parseTopicRatios(list []string) ([]TopicRatio, error) {
	var all []TopicRatio
	var errs []error
	for _, text := range list {
		r, err := ParseTopicRatio(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("trace-topics: %w", err))
			continue
		}
		all = append(all, r)
	}
	if len(all) > MaxTopicRatios {
		errs = append(errs, fmt.Errorf("trace-topics: at most %d, got %d", MaxTopicRatios, len(all)))
	}
	return all, errors.Join(errs...)
}
