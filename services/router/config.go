package router

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/daemon"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/services/router/api"
	"github.com/skein-mesh/skein/services/router/attach"
	"github.com/skein-mesh/skein/services/router/exchange"
	"github.com/skein-mesh/skein/services/router/handlers"
	"github.com/skein-mesh/skein/services/router/mesh"
)

// Config is what an operator says about one router.
type Config struct {
	HTTP string `conf:"http" usage:"host:port of the API for backends as JSON over HTTP, not encrypted; empty opens none"`

	daemon.Config
	namespace.Settings
	Limits

	HandlerCA string `conf:"handler-tls-ca" usage:"file of the authorities that sign the certificates of handlers, PEM; handlers see the one of tls-cert; empty for gRPC without TLS"`
}

// Limits bound what may wait in a router, or be under way.
type Limits struct {
	EdgeBytes       int `conf:"edge-bytes" usage:"most bytes of deliveries that may wait for one edge; more are dropped"`
	PeerBytes       int `conf:"peer-bytes" usage:"most bytes of forwards and deliveries that may wait for one router"`
	SubscriberBytes int `conf:"subscriber-bytes" usage:"most bytes that may wait for one backend's subscription; a slower one is closed"`
	HoldBytes       int `conf:"hold-bytes" usage:"most bytes of publishes that may wait while the fleet changes"`
	HandlerCalls    int `conf:"handler-calls" usage:"most calls under way to one handler; those beyond it are refused"`
}

// Default returns a configuration that works on one machine.
func Default() Config {
	return Config{
		Config:   daemon.Default("127.0.0.1:5000", "127.0.0.1:5001", 7946),
		Settings: namespace.DefaultSettings(),
		Limits: Limits{
			EdgeBytes: attach.DefaultQueueBytes, PeerBytes: mesh.DefaultQueueBytes,
			SubscriberBytes: api.DefaultQueueBytes, HoldBytes: exchange.DefaultHeld,
			HandlerCalls: handlers.DefaultCalls,
		},
	}
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	return errors.Join(c.validateHTTP(), c.Config.Validate(), c.Settings.Validate(), c.Limits.Validate())
}

func (c Config) validateHTTP() error {
	if c.HTTP == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.HTTP); err != nil {
		return fmt.Errorf("http: %q is not host:port", c.HTTP)
	}
	if !c.Insecure && !cluster.Loopback(c.HTTP) {
		return fmt.Errorf("http: %s is not a loopback address and nothing is encrypted there: on a network you trust, set insecure", c.HTTP)
	}
	return nil
}

// ListenHTTP opens the port of the HTTP API; the listener is nil if there is to
// be none.
func (c Config) ListenHTTP(ctx context.Context) (net.Listener, error) {
	if c.HTTP == "" {
		return nil, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.HTTP)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	return listener, nil
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
	if l.HandlerCalls < 1 {
		errs = append(errs, fmt.Errorf("handler-calls: must be at least 1, got %d", l.HandlerCalls))
	}
	return errors.Join(errs...)
}

const minLimit = 64 << 10 // one large message
