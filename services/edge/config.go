package edge

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/services/edge/session"
	"github.com/skein-mesh/skein/services/edge/socket"
)

// Config of an edge.
type Config struct {
	ID          string   `conf:"id" usage:"name of this edge, unique in the fleet; empty takes the host's name and a random suffix"`
	Listen      string   `conf:"listen" usage:"host:port where clients connect; $PORT decides the port if nothing else does"`
	Admin       string   `conf:"admin" usage:"host:port of /healthz, /readyz, /metrics and /debug/pprof; empty for none"`
	Agent       string   `conf:"agent" usage:"host:port of HAProxy's agent-check; empty for none"`
	Routers     []string `conf:"routers" usage:"host:port of some routers to begin with; they tell of all others"`
	UplinkBytes int      `conf:"uplink-bytes" usage:"most bytes of publishes that may wait for one router"`
	Demo        bool     `conf:"demo" usage:"serve the demo page at /"`

	Sockets
	Draining
	telemetry.Config
}

// Sockets bounds client sockets.
type Sockets struct {
	CheckOrigin   []string      `conf:"check-origin" usage:"origins of pages that may connect: own for the host they ask for, off for all, or a list such as https://example.com,//*.example.org"`
	OutboxBytes   int           `conf:"outbox-bytes" usage:"bytes that may wait for one socket; one that stays over it for 2s, takes nothing at twice as much, or reaches eight times as much is closed with 1013"`
	SendBuffer    int           `conf:"send-buffer" usage:"bytes of the kernel's send buffer of one socket"`
	MaxFrameSize  int           `conf:"max-frame-size" usage:"most bytes of one message of a client; a larger one is closed with 1009"`
	MaxJoins      int           `conf:"max-joins" usage:"most channels joined at once on one socket"`
	MaxUnanswered int           `conf:"max-unanswered" usage:"most pushes of one socket without an answer; then it is not read until one comes"`
	SocketsPerIP  int           `conf:"sockets-per-ip" usage:"most sockets of one address; 0 for no limit"`
	Timeout       time.Duration `conf:"timeout" usage:"how long a socket may be silent; clients send a heartbeat each 30s, so less disconnects quiet ones"`
	Handshake     time.Duration `conf:"handshake-timeout" usage:"how long a connection may take for its request"`
	Engine        string        `conf:"engine" usage:"how sockets are held: auto for epoll where it is possible, or portable"`
	Writer        string        `conf:"writer" usage:"how the epoll engine writes: auto for io_uring where kernel and container allow it, write for write(2), or uring to be warned when it has to be write(2)"`
	Loops         int           `conf:"loops" usage:"epoll loops; 0 for one for each two processors"`
}

// Draining says how an edge stops.
type Draining struct {
	Delay  time.Duration `conf:"drain-delay" usage:"how long to go on after SIGTERM, so that balancers notice first"`
	Spread time.Duration `conf:"drain-spread" usage:"most time over which the closing of all sockets is spread"`
	Wait   time.Duration `conf:"drain-wait" usage:"how long a client may take to answer the closing of its socket"`
}

// Default works on one machine, beside a router with its defaults.
func Default() Config {
	limits, sessions := socket.Defaults(), session.DefaultLimits()
	return Config{
		Listen:      "127.0.0.1:4000",
		Admin:       "127.0.0.1:4001",
		Agent:       "127.0.0.1:4002",
		Routers:     []string{"127.0.0.1:5000"},
		UplinkBytes: 16 << 20,
		Sockets: Sockets{
			CheckOrigin:   []string{originOwn},
			OutboxBytes:   limits.OutboxBytes,
			SendBuffer:    limits.SendBuffer,
			MaxFrameSize:  limits.FrameBytes,
			MaxJoins:      sessions.Channels,
			MaxUnanswered: sessions.Unanswered,
			Timeout:       limits.Idle,
			Handshake:     limits.Handshake,
			Engine:        string(socket.Auto),
			Writer:        string(socket.AutoWriter),
		},
		Draining: Draining{Delay: 500 * time.Millisecond, Spread: limits.Drain, Wait: limits.CloseWait},
		Config:   telemetry.Default(),
	}
}

// Bounds of what an operator may set.
const (
	minTimeout    = time.Second
	maxFrameBytes = 8 << 20 // half of what a message in the mesh may hold
)

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if c.ID != "" {
		check(cluster.CheckID(c.ID) == nil, "id: %v", cluster.CheckID(c.ID))
	}
	for _, a := range []struct {
		name, address string
		required      bool
	}{{"listen", c.Listen, true}, {"admin", c.Admin, false}, {"agent", c.Agent, false}} {
		if a.address != "" || a.required {
			_, _, err := net.SplitHostPort(a.address)
			check(err == nil, "%s: %q is not host:port", a.name, a.address)
		}
	}
	check(len(c.Routers) > 0, "routers: at least one is required")
	for _, r := range c.Routers {
		check(r != "", "routers: an address is empty")
	}
	check(c.UplinkBytes >= 1<<20, "uplink-bytes: must be at least %d, got %d", 1<<20, c.UplinkBytes)
	errs = append(errs, c.Sockets.validate(check), c.Draining.validate(), c.Config.Validate())
	return errors.Join(errs...)
}

func (s Sockets) validate(check func(ok bool, format string, args ...any)) error {
	check(s.OutboxBytes >= 1<<10, "outbox-bytes: must be at least 1024, got %d", s.OutboxBytes)
	check(s.SendBuffer >= 1<<10, "send-buffer: must be at least 1024, got %d", s.SendBuffer)
	check(s.MaxFrameSize >= 1<<10 && s.MaxFrameSize <= maxFrameBytes,
		"max-frame-size: must be 1024 to %d, got %d", maxFrameBytes, s.MaxFrameSize)
	check(s.MaxJoins >= 1, "max-joins: must be at least 1, got %d", s.MaxJoins)
	check(s.MaxUnanswered >= 1, "max-unanswered: must be at least 1, got %d", s.MaxUnanswered)
	check(s.SocketsPerIP >= 0, "sockets-per-ip: must not be negative, got %d", s.SocketsPerIP)
	check(s.Timeout >= minTimeout, "timeout: must be at least %s, got %s", minTimeout, s.Timeout)
	check(s.Handshake > 0, "handshake-timeout: must be positive, got %s", s.Handshake)
	check(s.Loops >= 0, "loops: must not be negative, got %d", s.Loops)
	switch socket.Engine(s.Engine) {
	case socket.Auto, socket.Portable:
	default:
		check(false, "engine: %q is neither auto nor portable", s.Engine)
	}
	switch socket.Writer(s.Writer) {
	case socket.AutoWriter, socket.WriteCalls, socket.UringWriter:
	default:
		check(false, "writer: %q is none of auto, write and uring", s.Writer)
	}
	_, err := parseOrigins(s.CheckOrigin)
	return err
}

func (d Draining) validate() error {
	for _, v := range []struct {
		name  string
		value time.Duration
	}{{"drain-delay", d.Delay}, {"drain-spread", d.Spread}, {"drain-wait", d.Wait}} {
		if v.value < 0 {
			return fmt.Errorf("%s: must not be negative, got %s", v.name, v.value)
		}
	}
	return nil
}

// limits are those of package socket.
func (c Config) limits() socket.Limits {
	l := socket.Defaults()
	l.OutboxBytes, l.SendBuffer, l.PerIP = c.OutboxBytes, c.SendBuffer, c.SocketsPerIP
	l.FrameBytes, l.MessageBytes = c.MaxFrameSize, c.MaxFrameSize
	l.Idle, l.Handshake = c.Timeout, c.Handshake
	// Zero means the default there and "at once" here.
	l.Drain, l.CloseWait = max(c.Spread, 1), max(c.Wait, 1)
	return l
}
