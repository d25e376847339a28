package edge

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/skein-mesh/skein/services/edge/admit"
	"github.com/skein-mesh/skein/services/edge/socket"
)

// MountOptions are what a place for sockets allows. Zero, in one of
// [Config.Mounts], takes what the option of the same name says for all.
type MountOptions struct {
	admit.Config

	Compress        bool          `conf:"compress" usage:"compress messages of clients that offer permessage-deflate"`
	Subprotocols    []string      `conf:"subprotocols" usage:"WebSocket subprotocols; a client that offers some must offer one of these; empty to ignore what it offers"`
	WebSocketOnly   bool          `conf:"websocket-only" usage:"do not serve long-poll"`
	LongPollWindow  time.Duration `conf:"longpoll-window" usage:"how long a long-poll request waits for messages"`
	MaxFrameSize    int           `conf:"max-frame-size" usage:"most bytes of one frame of a client with its header; a larger one is closed with 1009"`
	MaxMessageSize  int           `conf:"max-fragmented-message-size" usage:"most bytes of one message of a client over all its fragments, inflated, and of one long-poll request; a larger one is closed with 1009"`
	Timeout         time.Duration `conf:"timeout" usage:"how long a socket may be silent; clients send a heartbeat each 30s, so less disconnects quiet ones"`
	MaxJoins        int           `conf:"max-joins" usage:"most channels joined at once on one socket"`
	PushesPerSecond int           `conf:"pushes-per-second" usage:"most messages a second of one socket, twice that in a burst; one that sends more is read more slowly"`
}

// Mount is a further place for sockets, with options of its own.
type Mount struct {
	Path string `conf:"path" usage:"where it is, such as /admin or /ws/:user_id: WebSockets are below it at /websocket, long-poll at /longpoll"`

	MountOptions
}

// SetDefaults fills nothing: what is left out is taken from the options for all.
func (Mount) SetDefaults() {}

// mount is the default one, at [socket.DefaultPath].
func (s Sockets) mount() Mount { return Mount{Path: socket.DefaultPath, MountOptions: s.MountOptions} }

// inherit takes what m does not say from the options for all.
func (m Mount) inherit(all MountOptions) Mount {
	m.CheckOrigin = orList(m.CheckOrigin, all.CheckOrigin)
	m.Connect = cmp.Or(m.Connect, all.Connect)
	m.TokenParam = cmp.Or(m.TokenParam, all.TokenParam)
	m.FilterParams = orList(m.FilterParams, all.FilterParams)
	m.Compress = m.Compress || all.Compress
	m.Subprotocols = orList(m.Subprotocols, all.Subprotocols)
	m.WebSocketOnly = m.WebSocketOnly || all.WebSocketOnly
	m.LongPollWindow = cmp.Or(m.LongPollWindow, all.LongPollWindow)
	m.MaxFrameSize = cmp.Or(m.MaxFrameSize, all.MaxFrameSize)
	m.MaxMessageSize = cmp.Or(m.MaxMessageSize, all.MaxMessageSize)
	m.Timeout = cmp.Or(m.Timeout, all.Timeout)
	m.MaxJoins = cmp.Or(m.MaxJoins, all.MaxJoins)
	m.PushesPerSecond = cmp.Or(m.PushesPerSecond, all.PushesPerSecond)
	return m
}

func orList(list, otherwise []string) []string {
	if len(list) > 0 {
		return list
	}
	return otherwise
}

// mounts are all of an edge: the default one, unless another takes its path,
// and those that were configured.
func (c Config) mounts() []Mount {
	all := []Mount{c.mount()}
	for _, m := range c.Mounts {
		m = m.inherit(c.MountOptions)
		if m.Path == socket.DefaultPath {
			all[0] = m
		} else {
			all = append(all, m)
		}
	}
	return all
}

// Bounds of what an operator may set.
const (
	minTimeout    = time.Second
	maxFrameBytes = 8 << 20 // half of what a message in the mesh may hold
	minFrameBytes = 1 << 10
)

// validate reports everything that is wrong with a mount, each behind prefix.
func (m Mount) validate(prefix string) error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(prefix+format, args...))
		}
	}
	if err := socket.CheckPath(m.Path); err != nil {
		check(false, "%v", err)
	}
	if err := m.Validate(); err != nil {
		for problem := range strings.SplitSeq(err.Error(), "\n") {
			check(false, "%s", problem)
		}
	}
	check(m.LongPollWindow >= minTimeout, "longpoll-window: must be at least %s, got %s", minTimeout, m.LongPollWindow)
	for _, size := range []struct {
		name  string
		bytes int
	}{{"max-frame-size", m.MaxFrameSize}, {"max-fragmented-message-size", m.MaxMessageSize}} {
		check(size.bytes >= minFrameBytes && size.bytes <= maxFrameBytes,
			"%s: must be %d to %d, got %d", size.name, minFrameBytes, maxFrameBytes, size.bytes)
	}
	check(m.Timeout >= minTimeout, "timeout: must be at least %s, got %s", minTimeout, m.Timeout)
	check(m.MaxJoins >= 1, "max-joins: must be at least 1, got %d", m.MaxJoins)
	check(m.PushesPerSecond >= 0, "pushes-per-second: must not be negative, got %d", m.PushesPerSecond)
	return errors.Join(errs...)
}
