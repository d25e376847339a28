package daemon

import (
	"errors"
	"fmt"
	"net"

	"github.com/skein-mesh/skein/pkg/apikey"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/serf"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
)

// Config is what an operator says about any member of the gossip.
type Config struct {
	ID            string `conf:"id" usage:"name of this process, unique in the fleet (default: the host's name and a random suffix)"`
	GRPC          string `conf:"grpc" usage:"address that the gRPC services listen on, host:port"`
	GRPCAdvertise string `conf:"grpc-advertise" usage:"address that others reach the gRPC services at, host:port (default: the one they listen on)"`
	Admin         string `conf:"admin" usage:"address of health, metrics and profiles, host:port"`

	serf.Settings
	tlsfiles.TLS
	apikey.List
	telemetry.Config
}

// Default returns a configuration that works on one machine, with the given
// addresses of gRPC and admin and port of gossip.
func Default(grpc, admin string, gossip int) Config {
	return Config{GRPC: grpc, Admin: admin, Settings: serf.DefaultSettings(gossip), Config: telemetry.Default()}
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
	check(c.Insecure || c.Enabled() || cluster.Loopback(c.GRPC),
		"grpc: %s is not a loopback address and nothing is encrypted there: "+
			"set tls-cert, tls-key and tls-ca or, on a network you trust, insecure", c.GRPC)
	return errors.Join(append(errs, c.Settings.Validate(), c.TLS.Validate(), c.List.Validate(), c.Config.Validate())...)
}

// security is how gRPC is protected.
func (c Config) security() rpc.SecuritySettings {
	return rpc.SecuritySettings{TLS: c.TLS, Keys: c.List, Insecure: c.Insecure}
}
