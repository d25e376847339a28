package serf

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	gossip "github.com/hashicorp/serf/serf"

	"github.com/skein-mesh/skein/pkg/cluster/seeds"
)

// Seeds are tried each second while one of them is not a member, at once when
// they are found elsewhere, and now and then when all are members: two halves of
// a fleet that forgot each other meet again there. A seed that was restarted
// without seeds of its own is alone until somebody does.
const (
	joinMissing    = time.Second
	joinComplete   = 10 * time.Second
	resolveTimeout = 2 * time.Second
)

// watchSeeds returns what finds the seeds, nil if there are none to be found.
func (c Config) watchSeeds() (*seeds.Watcher, error) {
	sources, err := c.Join.Sources("join", DefaultPort)
	if err != nil {
		return nil, err
	}
	if c.Seeds != nil {
		sources = []seeds.Source{{Name: "seeds", Strategy: c.Seeds}}
	}
	if len(sources) == 0 {
		return nil, nil
	}
	return seeds.Watch(sources, seeds.Options{Interval: c.DiscoveryInterval, Log: c.Log, Meter: c.Meter})
}

// findSeeds asks where the seeds are until ctx ends. The channel is closed then.
func (s *Serf) findSeeds(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	if s.seeds == nil {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		_ = s.seeds.Run(ctx) // it only ends
	}()
	return done
}

// joinSeeds joins seeds that are not yet known until ctx ends.
func (s *Serf) joinSeeds(ctx context.Context, agent *gossip.Serf) {
	if s.seeds == nil {
		return
	}
	for attempt := 0; ; attempt++ {
		found := s.seeds.Addresses()
		reached, missing := s.joinOnce(ctx, agent, found)
		if !reached && attempt%10 == 0 && len(found) > 0 && ctx.Err() == nil { // the watcher says that there are none
			s.config.Log.Warn("gossip: no seed can be reached yet", "seeds", found)
		}
		if !reached {
			s.seeds.Refresh()
		}
		wait := joinComplete
		if missing {
			wait = joinMissing
		}
		select {
		case <-ctx.Done():
			return
		case <-s.seeds.Changed():
			attempt = -1
		case <-time.After(jitter(wait)):
		}
	}
}

// joinOnce tries every seed that is not a member yet and reports whether it
// knows one at the end, and whether it does not know another.
func (s *Serf) joinOnce(ctx context.Context, agent *gossip.Serf, found []string) (reached, missing bool) {
	known := aliveAddresses(agent)
	addresses := s.resolve(ctx, found)
	missing = len(addresses) == 0
	for _, address := range addresses {
		if ctx.Err() != nil {
			return reached, true
		}
		if !slices.Contains(known, address) {
			// The cause is logged by memberlist; others may be reached.
			if n, err := agent.Join([]string{address}, true); err != nil || n == 0 {
				missing = true
				continue
			}
		}
		reached = true
	}
	if reached && !s.joined.Swap(true) {
		s.config.Log.Info("gossip: joined", "members", len(s.Members()))
		s.signal()
	}
	return reached, missing
}

// resolve looks names up anew, and returns "ip:port" each.
func (s *Serf) resolve(ctx context.Context, found []string) []string {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	var addresses []string
	for _, seed := range found {
		host, port, err := net.SplitHostPort(seed)
		if err != nil {
			continue // no strategy says that
		}
		ips := []string{host}
		if net.ParseIP(host) == nil {
			if ips, err = s.config.Resolve(ctx, host); err != nil {
				s.config.Log.Debug("gossip: resolve seed", "seed", seed, "error", err)
			}
		}
		for _, ip := range ips {
			addresses = append(addresses, net.JoinHostPort(ip, port))
		}
	}
	slices.Sort(addresses)
	return slices.Compact(addresses)
}

// aliveAddresses returns where the living members gossip, this one included.
func aliveAddresses(agent *gossip.Serf) []string {
	var addresses []string
	for _, node := range agent.Members() {
		if node.Status == gossip.StatusAlive {
			addresses = append(addresses, address(node))
		}
	}
	return addresses
}

// address returns where a member gossips. (memberlist's own list of nodes would
// be a data race.)
func address(node gossip.Member) string {
	return net.JoinHostPort(node.Addr.String(), strconv.Itoa(int(node.Port)))
}

// jitter spreads d by a quarter either way, so that a fleet that was started at
// once does not stay in step.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2) //nolint:gosec // jitter
}
