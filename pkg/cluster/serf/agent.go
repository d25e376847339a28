package serf

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"
	gossip "github.com/hashicorp/serf/serf"

	"github.com/skein-mesh/skein/pkg/cluster"
)

// Bounds of what gossip does. A dead member is noticed within about two seconds
// and forgotten after minutes: names are never used twice, so that nothing is
// gained by remembering them for a day.
const (
	broadcastTimeout = time.Second
	leaveTimeout     = 2*broadcastTimeout + leaveDelay + time.Second
	leaveDelay       = 200 * time.Millisecond
	forgetAfter      = 5 * time.Minute
)

// eventBuffer must exceed what serf may still send after it was shut down, when
// nobody receives any more: all that its own buffer of 1,024 holds.
const eventBuffer = 2048

// agentConfig translates c, for self as it is now.
func agentConfig(c Config, self cluster.Member, events chan<- gossip.Event) (*gossip.Config, error) {
	list, err := listConfig(c)
	if err != nil {
		return nil, err
	}
	logger := newLogger(c.Log, c.Refusals)
	list.Logger = logger
	config := gossip.DefaultConfig()
	config.NodeName = nodeName(self)
	config.Tags = encodeTags(self)
	config.EventCh = events
	config.MemberlistConfig = list
	config.Logger = logger
	config.LogOutput = nil
	config.BroadcastTimeout = broadcastTimeout
	config.LeavePropagateDelay = leaveDelay
	config.ReapInterval = 15 * time.Second
	config.ReconnectInterval = time.Second
	config.ReconnectTimeout = forgetAfter
	config.TombstoneTimeout = forgetAfter
	config.RecentIntentTimeout = forgetAfter
	config.EnableNameConflictResolution = false // it would shut the loser down
	config.DisableCoordinates = true
	return config, nil
}

// listConfig returns the settings of the layer that detects failures. The
// library's own for local networks need 5 to 13 seconds for it.
func listConfig(c Config) (*memberlist.Config, error) {
	list := memberlist.DefaultLANConfig()
	list.ProbeInterval = 250 * time.Millisecond
	list.ProbeTimeout = 100 * time.Millisecond
	list.SuspicionMult = 3
	list.SuspicionMaxTimeoutMult = 2
	list.AwarenessMaxMultiplier = 3
	list.GossipInterval = 50 * time.Millisecond
	list.GossipNodes = 4
	list.IndirectChecks = 2
	list.TCPTimeout = 2 * time.Second
	list.PushPullInterval = 5 * time.Second
	list.EnableCompression = false // packets are small; it would allocate a dictionary for each
	list.LogOutput = nil
	list.Label = c.Cluster
	list.Transport = c.Transport
	keys, err := c.keys()
	if c.KeyFile != "" {
		keys, err = readKeys(c.KeyFile)
	}
	if err != nil {
		return nil, err
	}
	if len(keys) > 0 {
		if list.Keyring, err = memberlist.NewKeyring(keys, keys[0]); err != nil {
			return nil, fmt.Errorf("gossip-keys: %w", err)
		}
	}
	if c.Transport != nil {
		return list, nil
	}
	if list.BindAddr, list.BindPort, err = splitIP(c.Gossip); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	list.AdvertisePort = list.BindPort
	if c.Advertise != "" {
		if list.AdvertiseAddr, list.AdvertisePort, err = splitIP(c.Advertise); err != nil {
			return nil, fmt.Errorf("gossip-advertise: %w", err)
		}
	}
	return list, nil
}

// splitIP splits "host:port", with a host name resolved: memberlist wants
// numbers. No host means every interface.
func splitIP(address string) (string, int, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: %w", address, err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: port: %w", address, err)
	}
	if host == "" {
		return "0.0.0.0", int(port), nil
	}
	ip, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: %w", address, err)
	}
	return ip.String(), int(port), nil
}
