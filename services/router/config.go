package router

import (
	"errors"
	"fmt"
	"net"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/serf"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/services/router/api"
	"github.com/skein-mesh/skein/services/router/attach"
	"github.com/skein-mesh/skein/services/router/exchange"
	"github.com/skein-mesh/skein/services/router/mesh"
)

// Config is what an operator says about one router.
type Config struct {
	ID            string `conf:"id" usage:"name of this router, unique in the fleet (default: the host's name and a random suffix)"`
	GRPC          string `conf:"grpc" usage:"address that the gRPC services listen on, host:port"`
	GRPCAdvertise string `conf:"grpc-advertise" usage:"address that edges and other routers reach the gRPC services at, host:port (default: the one they listen on)"`
	Admin         string `conf:"admin" usage:"address of health, metrics and profiles, host:port"`

	Limits
	serf.Settings
	telemetry.Config
}

// Limits bound what may wait in a router.
type Limits struct {
	EdgeBytes       int `conf:"edge-bytes" usage:"most bytes of deliveries that may wait for one edge; more are dropped"`
	PeerBytes       int `conf:"peer-bytes" usage:"most bytes of forwards and deliveries that may wait for one router"`
	SubscriberBytes int `conf:"subscriber-bytes" usage:"most bytes that may wait for one backend's subscription; a slower one is closed"`
	HoldBytes       int `conf:"hold-bytes" usage:"most bytes of publishes that may wait while the fleet changes"`
}

// Default returns a configuration that works on one machine.
func Default() Config {
	return Config{
		GRPC:  "127.0.0.1:5000",
		Admin: "127.0.0.1:5001",
		Limits: Limits{
			EdgeBytes: attach.DefaultQueueBytes, PeerBytes: mesh.DefaultQueueBytes,
			SubscriberBytes: api.DefaultQueueBytes, HoldBytes: exchange.DefaultHeld,
		},
		Settings: serf.DefaultSettings(7946),
		Config:   telemetry.Default(),
	}
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if c.ID != "" {
		errs = append(errs, cluster.CheckID(c.ID))
	}
	address := func(name, value string) {
		_, _, err := net.SplitHostPort(value)
		check(err == nil, "%s: %q is not host:port", name, value)
	}
	address("grpc", c.GRPC)
	address("admin", c.Admin)
	if c.GRPCAdvertise != "" {
		address("grpc-advertise", c.GRPCAdvertise)
	}
	check(c.Insecure || serf.Loopback(c.GRPC),
		"grpc: %s is not a loopback address and nothing is encrypted there: on a network you trust, set insecure", c.GRPC)
	return errors.Join(append(errs, c.Limits.Validate(), c.Settings.Validate(), c.Config.Validate())...)
}

// Validate reports everything that is wrong with l.
func (l Limits) Validate() error {
	var errs []error
	least := func(name string, value int) {
		if value < minLimit {
			errs = append(errs, fmt.Errorf("%s: %d is less than %d bytes", name, value, minLimit))
		}
	}
	least("edge-bytes", l.EdgeBytes)
	least("peer-bytes", l.PeerBytes)
	least("subscriber-bytes", l.SubscriberBytes)
	least("hold-bytes", l.HoldBytes)
	return errors.Join(errs...)
}

const minLimit = 64 << 10 // one large message
