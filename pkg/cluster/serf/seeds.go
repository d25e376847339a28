package serf

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	gossip "github.com/hashicorp/serf/serf"
)

// Seeds are tried each second while one of them is not a member, and resolved
// anew now and then when all are: two halves of a fleet that forgot each other
// meet again there. A seed that was restarted without seeds of its own is alone
// until somebody does.
const (
	joinMissing    = time.Second
	joinComplete   = 10 * time.Second
	resolveTimeout = 2 * time.Second
)

// seeds finds the addresses of the members to begin with.
type seeds struct {
	list    []string
	resolve func(ctx context.Context, host string) ([]string, error)
	log     *slog.Logger
}

// joinSeeds joins seeds that are not yet known until ctx ends.
func (s *Serf) joinSeeds(ctx context.Context, agent *gossip.Serf) {
	if len(s.seeds.list) == 0 {
		return
	}
	for attempt := 0; ; attempt++ {
		reached, missing := s.joinOnce(ctx, agent)
		if !reached && attempt%10 == 0 && ctx.Err() == nil {
			s.config.Log.Warn("gossip: no seed can be reached yet", "seeds", s.seeds.list)
		}
		wait := joinComplete
		if missing {
			wait = joinMissing
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(jitter(wait)):
		}
	}
}

// joinOnce tries every seed that is not a member yet and reports whether it
// knows one at the end, and whether it does not know another.
func (s *Serf) joinOnce(ctx context.Context, agent *gossip.Serf) (reached, missing bool) {
	known := aliveAddresses(agent)
	addresses := s.seeds.addresses(ctx)
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

// addresses resolves every seed anew, "ip:port" each.
func (s seeds) addresses(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	var addresses []string
	for _, seed := range s.list {
		host, port, err := net.SplitHostPort(seed)
		if err != nil {
			continue // refused by New
		}
		ips := []string{host}
		if net.ParseIP(host) == nil {
			if ips, err = s.resolve(ctx, host); err != nil {
				s.log.Debug("gossip: resolve seed", "seed", seed, "error", err)
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
