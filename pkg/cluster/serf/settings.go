package serf

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/seeds"
)

// Settings are the options of a program that gossips.
type Settings struct {
	Gossip            string        `conf:"gossip" usage:"address that gossip listens on, TCP and UDP, host:port"`
	Advertise         string        `conf:"gossip-advertise" usage:"address other members reach this one's gossip at, host:port (default: the one it listens on)"`
	Join              seeds.List    `conf:"join" usage:"where gossip of some members is found, again and again: host:port,... or file:PATH, dns:NAME[:PORT], dns:_SERVICE._tcp.NAME, kubernetes:[NAMESPACE/]SELECTOR[:PORT] or exec:COMMAND ARGS"`
	DiscoveryInterval time.Duration `conf:"discovery-interval" usage:"how often files, DNS, Kubernetes and commands are asked where others are"`
	Cluster           string        `conf:"cluster" usage:"name of the cluster; members of other clusters are not heard"`
	Keys              []string      `conf:"gossip-keys" usage:"keys that encrypt gossip, each 16, 24 or 32 bytes in base64; the first encrypts, all decrypt" secret:"true"`
	KeyFile           string        `conf:"gossip-key-file" usage:"file of such keys, one on a line, in place of gossip-keys; its folder must be writable for skein keys rotate"`
	Insecure          bool          `conf:"insecure" usage:"allow gossip without a key and gRPC without TLS on addresses other than loopback"`
}

// DefaultPort is where routers gossip. Strategies that name no port mean it, in
// presence instances too: these join routers.
const DefaultPort = 7946

// DefaultSettings returns settings that work on one machine; gossip listens on
// port, which differs by service.
func DefaultSettings(port int) Settings {
	return Settings{Gossip: fmt.Sprintf("127.0.0.1:%d", port), DiscoveryInterval: seeds.DefaultInterval, Cluster: "skein"}
}

// Validate reports everything that is wrong with s.
func (s Settings) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	_, _, err := net.SplitHostPort(s.Gossip)
	check(err == nil, "gossip: %q is not host:port", s.Gossip)
	if s.Advertise != "" {
		_, _, err := net.SplitHostPort(s.Advertise)
		check(err == nil, "gossip-advertise: %q is not host:port", s.Advertise)
	}
	errs = append(errs, s.Join.Validate("join", s.DiscoveryInterval))
	check(s.Cluster != "" && len(s.Cluster) <= memberlist.LabelMaxSize,
		"cluster: the name must have 1 to %d bytes", memberlist.LabelMaxSize)
	_, err = s.keys()
	errs = append(errs, err)
	check(len(s.Keys) == 0 || s.KeyFile == "", "gossip-keys, gossip-key-file: give one of them")
	check(s.Insecure || len(s.Keys) > 0 || s.KeyFile != "" || cluster.Loopback(s.Gossip),
		"gossip: %s is not a loopback address, so whoever reaches it could join: "+
			"set gossip-keys or gossip-key-file (skein keys generate makes a key) or, on a network you trust, insecure", s.Gossip)
	return errors.Join(errs...)
}

// keys decodes the keys. An error never shows a key.
func (s Settings) keys() ([][]byte, error) {
	var errs []error
	keys := make([][]byte, 0, len(s.Keys))
	for i, encoded := range s.Keys {
		key, err := decodeKey(encoded)
		if err != nil {
			errs = append(errs, fmt.Errorf("gossip-keys: key %d %w", i+1, err))
		}
		keys = append(keys, key)
	}
	return keys, errors.Join(errs...)
}
