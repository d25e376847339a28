package edge

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/seeds"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
	"github.com/skein-mesh/skein/pkg/token"
	"github.com/skein-mesh/skein/services/edge/admit"
	"github.com/skein-mesh/skein/services/edge/callout"
	"github.com/skein-mesh/skein/services/edge/drain"
	"github.com/skein-mesh/skein/services/edge/longpoll"
	"github.com/skein-mesh/skein/services/edge/people"
	"github.com/skein-mesh/skein/services/edge/session"
	"github.com/skein-mesh/skein/services/edge/socket"
)

// Config of an edge.
type Config struct {
	ID                string        `conf:"id" usage:"name of this edge, unique in the fleet; empty takes the host's name and a random suffix"`
	Listen            string        `conf:"listen" usage:"host:port where clients connect; $PORT decides the port if nothing else does"`
	Admin             string        `conf:"admin" usage:"host:port of /healthz, /readyz, /metrics and /debug/pprof; empty for none"`
	Agent             string        `conf:"agent" usage:"host:port of HAProxy's agent-check; empty for none"`
	Routers           seeds.List    `conf:"routers" usage:"where some routers are found, which tell of all others: host:port,... or file:PATH, dns:NAME[:PORT], dns:_SERVICE._tcp.NAME, kubernetes:[NAMESPACE/]SELECTOR[:PORT] or exec:COMMAND ARGS"`
	DiscoveryInterval time.Duration `conf:"discovery-interval" usage:"how often files, DNS, Kubernetes and commands are asked where routers are"`
	UplinkBytes       int           `conf:"uplink-bytes" usage:"most bytes of publishes that may wait for one router"`
	Demo              bool          `conf:"demo" usage:"serve the demo page at /"`

	TraceClients bool `conf:"trace-clients" usage:"believe the trace that a client names in the header or parameter traceparent of its connection: whoever may connect can then have everything recorded that it asks for"`

	Insecure bool `conf:"insecure" usage:"allow gRPC without TLS to routers and presence instances on other machines"`
	tlsfiles.TLS
	tlsfiles.Public

	Sockets
	namespace.Settings
	Balance
	Draining
	telemetry.Config
}

// Sockets bounds client sockets and says who may have one.
type Sockets struct {
	MountOptions

	Mounts        []Mount       `conf:"mounts" usage:"further places for sockets beside /socket, as a list of mappings; what one does not say it takes from the options of the same names"`
	OutboxBytes   int           `conf:"outbox-bytes" usage:"bytes that may wait for one socket; one that stays over it for 2s, takes nothing at twice as much, or reaches eight times as much is closed with 1013"`
	SendBuffer    int           `conf:"send-buffer" usage:"bytes of the kernel's send buffer of one socket"`
	MaxUnanswered int           `conf:"max-unanswered" usage:"most pushes of one socket without an answer; then it is not read until one comes"`
	SocketsPerIP  int           `conf:"sockets-per-ip" usage:"most sockets of one address; 0 for no limit"`
	Handshake     time.Duration `conf:"handshake-timeout" usage:"how long a connection may take for its request"`
	ConnectInfo   []string      `conf:"connect-info" usage:"what handlers are told of a socket's request: any of peer_data, x_headers, uri, user_agent, trace_context_headers, sec_websocket_headers, auth_token"`
	JoinRefusal   time.Duration `conf:"join-refusal-delay" usage:"how late a refused join is answered"`
	Engine        string        `conf:"engine" usage:"how sockets are held: auto for epoll where it is possible, or portable"`
	Writer        string        `conf:"writer" usage:"how the epoll engine writes: auto for io_uring where kernel and container allow it, write for write(2), or uring to be warned when it has to be write(2)"`
	Loops         int           `conf:"loops" usage:"epoll loops; 0 for one for each two processors"`

	ProxyProtocol
	admit.Slowness
	HandlerCalls     int           `conf:"handler-calls" usage:"most calls to the handler of one namespace under way from this edge"`
	HandlerWaitBytes int           `conf:"handler-wait-bytes" usage:"most bytes of calls to the handler of one namespace that wait for their turn; more are refused"`
	TokenGrace       time.Duration `conf:"token-grace" usage:"how long a channel goes on after its token expired, so that the client can push a fresh one"`
	PresenceInterval time.Duration `conf:"presence-interval" usage:"least time between two presence_diff of a topic"`
	token.Config
}

// Balance says how many connections an edge should have, beside others.
type Balance struct {
	Group       string        `conf:"group" usage:"what this edge belongs to, such as blue or green: a rollout moves connections from one group to another"`
	Capacity    int           `conf:"capacity" usage:"the share of connections that this edge should have, in percent of one with 100"`
	MaxLifetime time.Duration `conf:"max-lifetime" usage:"age at which a socket is closed when its client waits for nothing, give or take a tenth; 0 for no limit"`
}

// maxCapacity is the largest share, in percent.
const maxCapacity = 1000

// Draining says how an edge is emptied: when it stops, and when an operator says so.
type Draining struct {
	Delay  time.Duration `conf:"drain-delay" usage:"how long to go on once the edge is to drain, so that balancers notice first: longer than HAProxy's agent-inter"`
	Spread time.Duration `conf:"drain-spread" usage:"most time over which the closing of all sockets is spread; it takes 10ms for each at most, but for those that wait for an answer 2s at least"`
	Wait   time.Duration `conf:"drain-wait" usage:"how long a client may take to answer the closing of its socket"`
}

// routersPort is where routers serve gRPC unless a strategy says otherwise.
const routersPort = 5000

// Default works on one machine, beside a router with its defaults.
func Default() Config {
	limits, mount, sessions := socket.Defaults(), socket.DefaultMount(), session.DefaultLimits()
	var admission admit.Config
	admission.SetDefaults()
	return Config{
		Listen:            "127.0.0.1:4000",
		Admin:             "127.0.0.1:4001",
		Agent:             "127.0.0.1:4002",
		Routers:           seeds.List{fmt.Sprintf("127.0.0.1:%d", routersPort)},
		DiscoveryInterval: seeds.DefaultInterval,
		UplinkBytes:       16 << 20,
		Sockets: Sockets{
			MountOptions: MountOptions{
				Config:          admission,
				LongPollWindow:  longpoll.Defaults().Window,
				MaxFrameSize:    mount.FrameBytes,
				MaxMessageSize:  mount.MessageBytes,
				Timeout:         mount.Idle,
				MaxJoins:        sessions.Channels,
				PushesPerSecond: sessions.Rate,
			},
			OutboxBytes:      limits.OutboxBytes,
			SendBuffer:       limits.SendBuffer,
			MaxUnanswered:    sessions.Unanswered,
			Handshake:        limits.Handshake,
			ConnectInfo:      callout.Parts(),
			ProxyProtocol:    ProxyProtocol{From: []string{"127.0.0.0/8", "::1/128"}},
			Slowness:         admit.DefaultSlowness(),
			Engine:           string(socket.Auto),
			Writer:           string(socket.AutoWriter),
			HandlerCalls:     callout.DefaultCalls,
			HandlerWaitBytes: callout.DefaultWaitBytes,
			TokenGrace:       sessions.Grace,
			PresenceInterval: people.Default("", 0).Interval,
			Config:           token.Default(),
		},
		Settings: namespace.DefaultSettings(),
		Balance:  Balance{Capacity: 100},
		Draining: Draining{Delay: 3 * time.Second, Spread: 20 * time.Second, Wait: limits.CloseWait},
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
	check(c.Group == "" || cluster.CheckID(c.Group) == nil, "group: %q must have up to %d letters, digits, '-', '.' and '_'", c.Group, cluster.MaxIDLen)
	check(c.Capacity >= 1 && c.Capacity <= maxCapacity, "capacity: must be 1 to %d, got %d", maxCapacity, c.Capacity)
	check(len(c.Routers) > 0, "routers: at least one is required")
	errs = append(errs, c.Routers.Validate("routers", c.DiscoveryInterval), c.validatePlaintext())
	check(c.UplinkBytes >= 1<<20, "uplink-bytes: must be at least %d, got %d", 1<<20, c.UplinkBytes)
	c.validate(check)
	asking := c.asking()
	asking.ConnectTimeout = 1 // reported with the settings that it comes from
	errs = append(errs, c.validateMounts(check), asking.Validate(), c.draining().Validate(), c.Slowness.Validate(),
		c.Sockets.Config.Validate(), c.Settings.Validate(), c.Config.Validate(),
		c.TLS.Validate(), c.Public.Validate())
	return errors.Join(errs...)
}

// validatePlaintext reports routers on other machines that would be reached
// without TLS. Those that are found later are refused when they are dialled.
func (c Config) validatePlaintext() error {
	if c.Insecure || c.TLS.Enabled() {
		return nil
	}
	sources, err := c.Routers.Sources("routers", routersPort)
	if err != nil {
		return nil //nolint:nilerr // reported with the list itself
	}
	var errs []error
	for _, source := range sources {
		static, _ := source.Strategy.(seeds.Static)
		for _, address := range static {
			if !cluster.Loopback(address) {
				errs = append(errs, fmt.Errorf("routers: %s: %w", address, tlsfiles.ErrPlaintext))
			}
		}
	}
	return errors.Join(errs...)
}

// validateMounts reports the options for all, and each mount as if these were the
// defaults: what it inherits is reported once.
func (c Config) validateMounts(check func(ok bool, format string, args ...any)) error {
	errs := []error{c.mount().validate("")}
	seen := map[string]bool{}
	for _, m := range c.Mounts {
		check(!seen[m.Path], "mounts: %q is given twice", m.Path)
		seen[m.Path] = true
		errs = append(errs, m.inherit(Default().MountOptions).validate(fmt.Sprintf("mount %q: ", m.Path)))
	}
	tokens := c.Sockets.Config
	for _, m := range c.mounts() {
		check(!m.AsksHandler() || c.ConnectHandler != "", "mount %q: it asks a handler: connect-handler says which", m.Path)
		check(m.Connect != admit.ConnectToken || tokens.Enabled(),
			"mount %q: it wants tokens: token-keys or token-jwks is needed to check them", m.Path)
	}
	for _, n := range c.Namespaces {
		check(n.Join != namespace.JoinToken || tokens.Enabled(),
			"namespace %q: join wants tokens: token-keys or token-jwks is needed to check them", n.Topics)
	}
	return errors.Join(errs...)
}

func (s Sockets) validate(check func(ok bool, format string, args ...any)) {
	check(s.OutboxBytes >= 1<<10, "outbox-bytes: must be at least 1024, got %d", s.OutboxBytes)
	check(s.SendBuffer >= 1<<10, "send-buffer: must be at least 1024, got %d", s.SendBuffer)
	check(s.MaxUnanswered >= 1, "max-unanswered: must be at least 1, got %d", s.MaxUnanswered)
	check(s.SocketsPerIP >= 0, "sockets-per-ip: must not be negative, got %d", s.SocketsPerIP)
	check(s.Handshake > 0, "handshake-timeout: must be positive, got %s", s.Handshake)
	check(s.JoinRefusal >= 0, "join-refusal-delay: must not be negative, got %s", s.JoinRefusal)
	check(s.TokenGrace >= 0, "token-grace: must not be negative, got %s", s.TokenGrace)
	check(s.PresenceInterval > 0, "presence-interval: must be positive, got %s", s.PresenceInterval)
	s.ProxyProtocol.validate(check)
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
}

// limits are those of package socket.
func (c Config) limits() socket.Limits {
	l := socket.Defaults()
	l.OutboxBytes, l.SendBuffer, l.Handshake = c.OutboxBytes, c.SendBuffer, c.Handshake
	for _, m := range c.mounts() {
		l.BodyBytes = max(l.BodyBytes, m.MaxMessageSize)
	}
	l.CloseWait = max(c.Wait, 1) // zero means the default there and "at once" here
	return l
}

// draining is how package drain is configured.
func (c Config) draining() drain.Config {
	return drain.Config{Delay: c.Delay, Spread: c.Spread, Wait: c.Wait, MaxLifetime: c.MaxLifetime}
}

// asking is how handlers are asked.
func (c Config) asking() callout.Config {
	return callout.Config{
		Edge: c.ID, ConnectInfo: c.ConnectInfo, ConnectTimeout: c.ConnectTimeout,
		Calls: c.HandlerCalls, WaitBytes: c.HandlerWaitBytes,
	}
}

// sessionLimits are those of the sessions of a mount.
func (c Config) sessionLimits(m Mount) session.Limits {
	l := session.DefaultLimits()
	l.Channels, l.Rate = m.MaxJoins, m.PushesPerSecond
	l.Unanswered, l.RefusalDelay, l.Grace = c.MaxUnanswered, c.JoinRefusal, c.TokenGrace
	return l
}
