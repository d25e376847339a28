package namespace

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Settings are the part of a configuration that edges and routers share: both
// must be told the same, so one file may serve both.
type Settings struct {
	Namespaces     []Namespace   `conf:"namespaces" usage:"what topics are, as a list of mappings; an exact name beats a prefix and a longer prefix a shorter one, and a topic that none is about cannot be joined; edges and routers need the same"`
	ConnectHandler string        `conf:"connect-handler" usage:"gRPC target of the backend that decides about sockets and origins, such as dns:///chat:50051; routers call it"`
	ConnectTimeout time.Duration `conf:"connect-timeout" usage:"how long the backend that decides about sockets and origins may take for an answer"`
}

// DefaultSettings are those of a fleet without a backend.
func DefaultSettings() Settings {
	return Settings{Namespaces: Default(), ConnectTimeout: DefaultTimeout}
}

// Validate reports everything that is wrong with s.
func (s Settings) Validate() error {
	var errs []error
	seen := map[string]bool{}
	for i := range s.Namespaces {
		n := &s.Namespaces[i]
		errs = append(errs, n.Validate())
		if n.Handler != "" {
			errs = append(errs, checkTarget(fmt.Sprintf("namespace %q: handler", n.Topics), n.Handler))
		}
		if seen[n.Topics] && n.Topics != "" {
			errs = append(errs, twice(n.Topics))
		}
		seen[n.Topics] = true
	}
	if s.ConnectHandler != "" {
		errs = append(errs, checkTarget("connect-handler", s.ConnectHandler))
	}
	if s.ConnectTimeout <= 0 {
		errs = append(errs, fmt.Errorf("connect-timeout: must be positive, got %s", s.ConnectTimeout))
	}
	return errors.Join(errs...)
}

func twice(topics string) error { return fmt.Errorf("namespaces: %q is given twice", topics) }

// checkTarget finds the slips that gRPC would report as a name that does not
// resolve: a URL of the web, a space, a host without a port.
func checkTarget(name, target string) error {
	const like = "want host:port or a gRPC target such as dns:///chat:50051"
	scheme, _, hasScheme := strings.Cut(target, "://")
	switch {
	case strings.ContainsAny(target, " \t\r\n"):
		return fmt.Errorf("%s: %q has a space: %s", name, target, like)
	case hasScheme && (scheme == "http" || scheme == "https"):
		return fmt.Errorf("%s: %q is a URL of the web: %s", name, target, like)
	case !strings.Contains(target, ":"):
		return fmt.Errorf("%s: %q has no port: %s", name, target, like)
	}
	return nil
}
