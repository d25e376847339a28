package presence

import (
	"errors"

	"github.com/skein-mesh/skein/pkg/daemon"
	"github.com/skein-mesh/skein/services/presence/balance"
	"github.com/skein-mesh/skein/services/presence/kubernetes"
)

// Kubernetes is what an instance tells Kubernetes.
type Kubernetes = kubernetes.Settings

// Config is what an operator says about one presence instance.
type Config struct {
	daemon.Config
	balance.Settings
	Kubernetes
}

// Default returns a configuration that works on one machine.
func Default() Config {
	return Config{
		Config:   daemon.Default("127.0.0.1:6000", "127.0.0.1:6001", 7947),
		Settings: balance.Default(), Kubernetes: kubernetes.Default(),
	}
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	return errors.Join(c.Config.Validate(), c.Settings.Validate(), c.Kubernetes.Validate())
}
