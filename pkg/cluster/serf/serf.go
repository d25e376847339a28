// Package serf is a [cluster.Membership] over serf's gossip: SWIM failure
// detection with settings fast enough for routing, encryption, a label that
// keeps clusters apart, and seeds that are joined again and again, so that a
// fleet finds itself even after every member it knew was replaced.
//
// # Goroutines
//
// Run follows serf's events, one child joins the seeds, and one asks where they
// are, with those of package seeds; serf adds about seventeen of its own. A leave has a goroutine that Run waits for. Serf does
// not wait for its own: a few end up to a few seconds after Run returned, and
// one stays for ever if Run failed because it could not listen.
package serf

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
	gossip "github.com/hashicorp/serf/serf"
	"go.opentelemetry.io/otel/metric"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/seeds"
	"github.com/skein-mesh/skein/pkg/refusal"
)

// Config says who a member is and how it gossips.
type Config struct {
	Settings
	Self cluster.Member // its incarnation must exceed that of every earlier life of its id

	Log      *slog.Logger
	Meter    metric.Meter
	Refusals *refusal.Log // of gossip that cannot be read; nil for none

	// Transport replaces the sockets and Gossip with them, for tests.
	Transport memberlist.Transport
	// Seeds replaces Join, for tests.
	Seeds seeds.Strategy
	// Resolve looks up the addresses of a host among the seeds; nil asks the system.
	Resolve func(ctx context.Context, host string) ([]string, error)
}

// Serf is a member of a gossiping fleet. Its methods may be called concurrently
// and before Run, which may be called once.
type Serf struct {
	// Static after construction.
	config  Config
	seeds   *seeds.Watcher // nil for none
	metrics *metrics
	changed chan struct{}
	created chan struct{} // closed once agent is set

	joined atomic.Bool // a seed was reached, or there is none to reach

	tags     sync.Mutex // held while tags go out, so that they go out in order
	rotating sync.Mutex // held while this member gives the fleet a new key

	// mu guards the fields below. It is a leaf.
	mu       sync.Mutex
	self     cluster.Member
	agent    *gossip.Serf   // nil until Run created it
	leaving  chan struct{}  // closed when the leave that was begun is over; nil until it begins
	imposter cluster.Member // the latest process that took over this one's id
}

var _ cluster.Membership = (*Serf)(nil)

// New returns a membership that does nothing until Run.
func New(c Config) (*Serf, error) {
	settings := c.Settings
	if c.Transport != nil {
		settings.Gossip = "127.0.0.1:0" // not used, and not to be complained about
	}
	if err := errors.Join(settings.Validate(), c.Self.Validate()); err != nil {
		return nil, fmt.Errorf("gossip settings: %w", err)
	}
	if len(c.Self.Address) > maxAddressLen {
		return nil, fmt.Errorf("gossip settings: the address of the gRPC server is longer than %d bytes", maxAddressLen)
	}
	if c.Resolve == nil {
		c.Resolve = net.DefaultResolver.LookupHost
	}
	metrics, err := newMetrics(c.Meter)
	if err != nil {
		return nil, err
	}
	watcher, err := c.watchSeeds()
	if err != nil {
		return nil, err
	}
	s := &Serf{
		config:  c,
		seeds:   watcher,
		metrics: metrics,
		changed: make(chan struct{}, 1),
		created: make(chan struct{}),
		self:    c.Self,
	}
	s.joined.Store(watcher == nil)
	return s, s.observe()
}

// Run gossips until ctx ends, then leaves.
func (s *Serf) Run(ctx context.Context) error {
	events := make(chan gossip.Event, eventBuffer)
	agent, keys, err := s.create(events)
	if err != nil {
		return fmt.Errorf("start gossip: %w", err)
	}
	following, joining := make(chan struct{}), make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(following)
		s.follow(context.WithoutCancel(ctx), events, keys, stopped)
	}()
	joinCtx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(joining)
		s.joinSeeds(joinCtx, agent)
	}()
	finding := s.findSeeds(joinCtx)
	<-ctx.Done()
	err = s.stop(context.WithoutCancel(ctx), agent)
	cancel()
	<-joining
	<-finding
	close(stopped) // serf sends events until it is shut down
	<-following
	return err
}

// Self implements [cluster.Membership].
func (s *Serf) Self() cluster.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.self
}

// Changed implements [cluster.Membership].
func (s *Serf) Changed() <-chan struct{} { return s.changed }

// Joined reports whether this member reached a seed, or is one itself, or was
// given none. Until then it may be alone for want of luck, not of members.
func (s *Serf) Joined() bool { return s.joined.Load() }

// GossipAddress returns where other members reach this one, "" before Run.
func (s *Serf) GossipAddress() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.agent == nil {
		return ""
	}
	return address(s.agent.LocalMember())
}

// Gossip says how the gossip of this member is protected.
func (s *Serf) Gossip() cluster.Gossip {
	return cluster.Gossip{Encrypted: len(s.config.Keys) > 0 || s.config.KeyFile != "", Loopback: cluster.Loopback(s.config.Gossip)}
}

// Created returns a channel that is closed once this member gossips.
func (s *Serf) Created() <-chan struct{} { return s.created }

// SetState implements [cluster.Membership]. It returns once the news went out to
// some members, or after a second without: then they learn it from the next
// exchange of full state.
func (s *Serf) SetState(state cluster.State) error {
	s.tags.Lock()
	defer s.tags.Unlock()
	next := s.Self()
	if next.State == state {
		return nil
	}
	next.State = state
	if err := next.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	s.self = next
	agent, leaving := s.agent, s.leaving
	s.mu.Unlock()
	s.signal()
	if agent == nil || leaving != nil {
		return nil
	}
	if err := agent.SetTags(encodeTags(next)); err != nil {
		s.config.Log.Warn("gossip: the new state goes out late", "state", state, "error", err)
	}
	return nil
}

// Leave tells the others that this member goes, and waits until the news went
// out or ctx ends. Run goes on until its own context ends; a second call waits
// for the first one's leave.
func (s *Serf) Leave(ctx context.Context) error {
	s.mu.Lock()
	if s.agent == nil {
		s.mu.Unlock()
		return nil
	}
	if s.leaving == nil {
		s.leaving = make(chan struct{})
		agent, done := s.agent, s.leaving
		go func() {
			defer close(done)
			if err := agent.Leave(); err != nil {
				s.config.Log.Warn("gossip: leave", "error", err)
			}
		}()
	}
	leaving := s.leaving
	s.mu.Unlock()
	select {
	case <-leaving:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leave gossip: %w", ctx.Err())
	}
}

func (s *Serf) create(events chan<- gossip.Event) (*gossip.Serf, keyring, error) {
	s.tags.Lock()
	defer s.tags.Unlock()
	config, err := agentConfig(s.config, s.Self(), events)
	if err != nil {
		return nil, keyring{}, err
	}
	agent, err := gossip.Create(config)
	if err != nil {
		return nil, keyring{}, err
	}
	s.mu.Lock()
	s.agent = agent
	s.mu.Unlock()
	close(s.created)
	s.signal()
	return agent, keyring{config.MemberlistConfig.Keyring, s.config.KeyFile}, nil
}

// stop leaves and shuts serf down. The leave must have ended by then: serf
// panics when it is shut down in the middle of one.
func (s *Serf) stop(ctx context.Context, agent *gossip.Serf) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	err := s.Leave(ctx)
	<-s.leaving
	if shutdown := agent.Shutdown(); shutdown != nil {
		err = errors.Join(err, fmt.Errorf("stop gossip: %w", shutdown))
	}
	return err
}

func (s *Serf) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
