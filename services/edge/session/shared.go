package session

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/namespace"
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
	Channels     int           // joined at once
	Unanswered   int           // pushes; then the client waits
	Waiting      int           // bytes of pushes that wait for handlers; then the client waits
	Rate         int           // messages each second, twice that in a burst; then the client is read more slowly. 0 for no limit
	RefusalDelay time.Duration // before a token or a handler refuses a join; other messages of the client wait too
	Grace        time.Duration // from the end of a token to that of the channels that it let in
}

// DefaultLimits returns Phoenix's limit of channels, and others that no honest
// client reaches.
func DefaultLimits() Limits {
	return Limits{Channels: 100, Unanswered: 1000, Waiting: 256 << 10, Rate: 2000, Grace: 30 * time.Second}
}

// Validate reports every limit that makes no sense.
func (l Limits) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	const maxRate = int(time.Second)
	check(l.Channels >= 1, "channels per socket: must be at least 1, got %d", l.Channels)
	check(l.Unanswered >= 1, "unanswered pushes per socket: must be at least 1, got %d", l.Unanswered)
	check(l.Waiting >= 1, "bytes of waiting pushes per socket: must be at least 1, got %d", l.Waiting)
	check(l.Rate >= 0 && l.Rate <= maxRate, "messages per second and socket: must be 0 to %d, got %d", maxRate, l.Rate)
	check(l.RefusalDelay >= 0, "delay of a refused join: must not be negative, got %s", l.RefusalDelay)
	check(l.Grace >= 0, "grace of a token: must not be negative, got %s", l.Grace)
	return errors.Join(errs...)
}

// Deps are what sessions work with.
type Deps struct {
	Hub        *hub.Hub
	Mesh       Mesh
	Edge       string // id of this edge, for broadcasts that leave out their sender
	Mount      string // path of the sockets, an attribute of their metrics; may be empty
	Namespaces *namespace.Set
	Backend    Backend // may be nil if no namespace has a handler
	Tokens     Tokens  // may be nil if no namespace needs a token
	People     People  // may be nil if no namespace has people
	Tracer     Tracer  // may be nil
	Meter      metric.Meter
}

// validate reports every part that a namespace needs and that is not there.
func (d *Deps) validate() error {
	var errs []error
	for _, ns := range d.Namespaces.All() {
		check := func(ok bool, what string) {
			if !ok {
				errs = append(errs, fmt.Errorf("namespace %q needs %s", ns.Topics, what))
			}
		}
		check(d.Backend != nil || !ns.AsksHandler(), "a backend to ask")
		check(d.Tokens != nil || ns.Join != namespace.JoinToken, "keys to check tokens with")
		check(d.People != nil || !ns.Presence.Enabled(), "a list of people")
	}
	return errors.Join(errs...)
}

// Shared is what all sessions of one mount have in common. It is safe for
// concurrent use.
type Shared struct {
	Deps

	limits   Limits
	supabase bool // a namespace speaks the dialect
	born     time.Time
	counts   counts
}

// NewShared returns what the sessions of a mount share.
func NewShared(deps Deps, limits Limits) (*Shared, error) {
	if err := errors.Join(limits.Validate(), deps.validate()); err != nil {
		return nil, err
	}
	s := &Shared{Deps: deps, limits: limits, born: time.Now()}
	for _, ns := range deps.Namespaces.All() {
		s.supabase = s.supabase || ns.Dialect == namespace.DialectSupabase
	}
	if err := s.counts.observe(deps.Meter, deps.Mount); err != nil {
		return nil, fmt.Errorf("register the metrics of sessions: %w", err)
	}
	return s, nil
}
