// Package refusal counts and logs whom a process refused, and why. A peer that
// is refused again and again is counted each time and logged once a minute, so
// that neither a misconfigured fleet nor an attacker fills the log.
package refusal

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Reason is why somebody was refused. It is a label of the counter, so there are
// no others than these.
type Reason string

// Of a connection, before anything was said on it.
const (
	UnknownCA     Reason = "unknown_ca"     // a certificate that no known authority signed
	Expired       Reason = "expired"        // a certificate before or after its time
	NoCertificate Reason = "no_certificate" // a client that showed none
	WrongName     Reason = "wrong_name"     // a server whose certificate is for other names
	Plaintext     Reason = "plaintext"      // one side does not speak TLS, or would leave the machine without it
	Handshake     Reason = "handshake"      // anything else that TLS did not like
)

// Of a call.
const (
	NotMesh    Reason = "not_mesh"    // a call between services, without a certificate
	NoKey      Reason = "no_key"      // neither a certificate nor an API key
	UnknownKey Reason = "unknown_key" // an API key that is not configured
	Scope      Reason = "scope"       // an API key that may not make this call
	Topic      Reason = "topic"       // an API key that is for other topics
)

// Of gossip.
const (
	GossipKey     Reason = "gossip_key"     // encrypted with an unknown key, or not at all
	GossipCluster Reason = "gossip_cluster" // of a cluster with another name
)

const (
	logAgain = time.Minute
	maxPeers = 1024 // remembered at once; others are only counted
)

// Log counts and logs refusals. All methods may be called concurrently; those of
// a nil Log do nothing.
type Log struct {
	// Static after construction.
	log   *slog.Logger
	count metric.Int64Counter

	// mu guards the fields below.
	mu    sync.Mutex
	until map[key]time.Time // not logged again before
}

type key struct {
	reason Reason
	peer   string
}

// New returns a Log that writes to log and counts with meter.
func New(log *slog.Logger, meter metric.Meter) (*Log, error) {
	count, err := meter.Int64Counter("skein.refused",
		metric.WithDescription("Connections, calls and gossip of peers that were refused, by reason."))
	if err != nil {
		return nil, fmt.Errorf("metrics of refusals: %w", err)
	}
	return &Log{log: log, count: count, until: map[key]time.Time{}}, nil
}

// Add counts one refusal of peer, an address with or without a port, and logs
// what with args if the same was not logged for a minute.
func (l *Log) Add(ctx context.Context, reason Reason, peer, what string, args ...any) {
	if l == nil {
		return
	}
	l.count.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", string(reason))))
	if host, _, err := net.SplitHostPort(peer); err == nil {
		peer = host // the port differs each time
	}
	if l.pass(key{reason, peer}, time.Now()) {
		l.log.WarnContext(ctx, "refused", append([]any{"what", what, "reason", string(reason), "peer", peer}, args...)...)
	}
}

// pass reports whether k may be logged now.
func (l *Log) pass(k key, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.until[k]) {
		return false
	}
	if len(l.until) >= maxPeers {
		for other, until := range l.until {
			if !now.Before(until) {
				delete(l.until, other)
			}
		}
		if len(l.until) >= maxPeers {
			return false
		}
	}
	l.until[k] = now.Add(logAgain)
	return true
}
