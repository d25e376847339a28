package session

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/services/edge/hub"
)

// Mesh carries what clients push.
type Mesh interface {
	// Publish hands b over. done is called exactly once, by any goroutine,
	// maybe before Publish returns, and never with a lock held that the hub's
	// [hub.Interest] takes. It gets nil when the owner of the topic has ordered
	// b and everything that it delivered to this edge before is in the hub;
	// else [channel.ErrUnavailable] or [channel.ErrOverloaded].
	Publish(b channel.Broadcast, done func(error))
}

// Limits bound one session.
type Limits struct {
	Channels   int // joined at once
	Unanswered int // pushes; then the client waits
}

// DefaultLimits returns Phoenix's limit of channels, and one of pushes that no
// honest client reaches.
func DefaultLimits() Limits { return Limits{Channels: 100, Unanswered: 1000} }

// Validate reports every limit that makes no sense.
func (l Limits) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(l.Channels >= 1, "channels per socket: must be at least 1, got %d", l.Channels)
	check(l.Unanswered >= 1, "unanswered pushes per socket: must be at least 1, got %d", l.Unanswered)
	return errors.Join(errs...)
}

// Shared is what all sessions of an edge have in common.
type Shared struct {
	hub    *hub.Hub
	mesh   Mesh
	limits Limits
	counts counts
}

// NewShared returns what the sessions of an edge share.
func NewShared(h *hub.Hub, mesh Mesh, limits Limits, meter metric.Meter) (*Shared, error) {
	if err := limits.Validate(); err != nil {
		return nil, err
	}
	s := &Shared{hub: h, mesh: mesh, limits: limits}
	if err := s.counts.observe(meter); err != nil {
		return nil, fmt.Errorf("register the metrics of sessions: %w", err)
	}
	return s, nil
}

// outcome is what became of a message of a client. The set is closed.
type outcome int

const (
	joinedOK        outcome = iota // join answered ok
	joinFailed                     // join: the mesh did not confirm the topic
	pushed                         // push relayed
	pushFailed                     // push: the mesh did not take it
	unreplied                      // push whose channel ended before the answer came
	unmatchedTopic                 // not joined, or not a topic
	tooManyChannels                // join over the limit
	staleRef                       // dropped in silence: it is for an earlier channel
	crashed                        // not relayable: the channel was ended
	failed                         // channel ended because the mesh lost its topic
	malformed                      // not a message: the socket was closed
	outcomes
)

func (o outcome) String() string {
	return [outcomes]string{
		"joined", "join_failed", "pushed", "push_failed", "unreplied", "unmatched_topic",
		"too_many_channels", "stale_join_ref", "channel_crash", "channel_failed", "malformed",
	}[o]
}

type counts [outcomes]atomic.Uint64

func (c *counts) add(o outcome) { c[o].Add(1) }

// observe reports the counters when they are collected.
func (c *counts) observe(meter metric.Meter) error {
	messages, err := meter.Int64ObservableCounter("skein.edge.protocol",
		metric.WithDescription("What became of clients' messages and channels, by reason."), metric.WithUnit("{event}"))
	if err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for i := range outcomes {
			o.ObserveInt64(messages, int64(c[i].Load()), //nolint:gosec // never that many
				metric.WithAttributes(attribute.Stringer("reason", i)))
		}
		return nil
	}, messages)
	return err
}
