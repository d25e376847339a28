// Package node describes a process to operators and changes its log level and
// which messages begin a trace, in the same way for an edge, a router and a
// presence instance.
package node

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/telemetry"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Bounds of how long something else than what is configured counts.
const (
	minTime     = time.Second
	maxTime     = 24 * time.Hour
	defaultTime = 5 * time.Minute
)

// Node is one process. Its methods may be called concurrently.
type Node struct {
	// Static after construction.
	id, service, version string
	incarnation          uint64
	born                 time.Time
	telemetry            *telemetry.Telemetry
	gossip               func() cluster.Gossip // nil for a process that does not gossip
	entered              bool
}

// Options say what a process is.
type Options struct {
	ID          string
	Incarnation uint64
	Service     string // "edge", "router" or "presence"
	Version     string // of the software
	Telemetry   *telemetry.Telemetry
	// Entered says that messages enter the fleet here, so that traces begin here.
	Entered bool
	// Membership is asked how its gossip is protected, if it gossips; nil for none.
	Membership cluster.Membership
}

// New returns the process that starts now.
func New(o Options) *Node {
	n := &Node{
		id: o.ID, service: o.Service, version: o.Version, incarnation: o.Incarnation, born: time.Now(),
		telemetry: o.Telemetry, entered: o.Entered,
	}
	if g, ok := o.Membership.(interface{ Gossip() cluster.Gossip }); ok {
		n.gossip = g.Gossip
	}
	return n
}

// ID of the process.
func (n *Node) ID() string { return n.id }

// Describe says what the process is, now.
func (n *Node) Describe() *meshv1.NodeInfo {
	now := time.Now()
	info := &meshv1.NodeInfo{
		Id: n.id, Incarnation: n.incarnation, Service: n.service, Version: n.version,
		Clock: timestamppb.New(now), UptimeMs: uint64(max(now.Sub(n.born).Milliseconds(), 0)),
		LogLevel: n.LogLevel(),
	}
	if n.entered {
		info.Sampling = n.Sampling()
	}
	if n.gossip != nil {
		g := n.gossip()
		info.Gossip = &meshv1.Gossip{Encrypted: g.Encrypted, Loopback: g.Loopback}
	}
	return info
}

// LogLevel is what counts now.
func (n *Node) LogLevel() *meshv1.LogLevel {
	now, configured, until := n.telemetry.Level.Look()
	level := &meshv1.LogLevel{Level: name(now), Configured: name(configured)}
	if !until.IsZero() {
		level.Until = timestamppb.New(until)
	}
	return level
}

// SetLogLevel changes what counts, and logs that at whichever of the two levels
// shows it.
func (n *Node) SetLogLevel(ctx context.Context, req *meshv1.SetLogLevel) (*meshv1.LogLevel, error) {
	level, d, err := CheckLogLevel(req.GetLevel(), req.GetForMs())
	if err != nil {
		return nil, err
	}
	attrs := []any{"level", req.GetLevel(), "for", d.String(), "by", req.GetBy()}
	if req.GetLevel() == "" {
		attrs = []any{"level", n.LogLevel().GetConfigured(), "by", req.GetBy()}
	}
	shown := n.telemetry.Log.Enabled(ctx, slog.LevelWarn)
	if shown {
		n.telemetry.Log.WarnContext(ctx, "log level changes", attrs...)
	}
	if req.GetLevel() == "" {
		n.telemetry.Level.Reset()
	} else {
		n.telemetry.Level.Set(level, d)
	}
	if !shown {
		n.telemetry.Log.WarnContext(ctx, "log level changed", attrs...)
	}
	return n.LogLevel(), nil
}

// CheckLogLevel says what is wrong with a change of the log level; 0 milliseconds
// mean five minutes.
func CheckLogLevel(level string, forMs uint64) (slog.Level, time.Duration, error) {
	levels := map[string]slog.Level{
		"": 0, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	l, ok := levels[level]
	if !ok {
		return 0, 0, fmt.Errorf("level must be debug, info, warn or error, or empty for the configured one, got %q", level)
	}
	d, err := lasting("another level", forMs)
	return l, d, err
}

// lasting is how long a change counts.
func lasting(what string, forMs uint64) (time.Duration, error) {
	d := time.Duration(min(forMs, 1<<40)) * time.Millisecond
	if forMs == 0 {
		d = defaultTime
	}
	if d < minTime || d > maxTime {
		return 0, fmt.Errorf("%s counts for %s to %s, got %s", what, minTime, maxTime, d)
	}
	return d, nil
}

func name(l slog.Level) string { return strings.ToLower(l.String()) }
