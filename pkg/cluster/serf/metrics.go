package serf

import (
	"context"
	"errors"
	"fmt"

	gossip "github.com/hashicorp/serf/serf"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// metrics counts what happens to members.
type metrics struct{ changes metric.Int64Counter }

func newMetrics(meter metric.Meter) (*metrics, error) {
	if meter == nil {
		meter = noop.Meter{}
	}
	changes, err := meter.Int64Counter("skein.cluster.changes",
		metric.WithDescription("Changes of members that gossip told of, by kind: joined, updated, left, failed or forgotten."))
	if err != nil {
		return nil, fmt.Errorf("gossip metrics: %w", err)
	}
	return &metrics{changes}, nil
}

// observe shows who is known, and how sure this member may be of it.
func (s *Serf) observe() error {
	meter := s.config.Meter
	if meter == nil {
		return nil
	}
	members, err1 := meter.Int64ObservableGauge("skein.cluster.members",
		metric.WithDescription("Members that gossip knows, this one included, by role and state."))
	health, err2 := meter.Int64ObservableGauge("skein.cluster.health",
		metric.WithDescription("How much this member doubts its own network: 0 is healthy, more slows its probes down."))
	_, err3 := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		type kind struct{ role, state string }
		known := map[kind]int64{}
		for _, m := range s.Members() {
			known[kind{string(m.Role), string(m.State)}]++
		}
		for k, n := range known {
			o.ObserveInt64(members, n, metric.WithAttributes(attribute.String("role", k.role), attribute.String("state", k.state)))
		}
		if agent := s.running(); agent != nil {
			o.ObserveInt64(health, int64(agent.Memberlist().GetHealthScore()))
		}
		return nil
	}, members, health)
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("gossip metrics: %w", err)
	}
	return nil
}

// running is the agent; nil before Run.
func (s *Serf) running() *gossip.Serf {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agent
}

func (m *metrics) count(ctx context.Context, change gossip.MemberEvent) {
	kind := attribute.String("kind", kindOf(change.Type))
	m.changes.Add(ctx, int64(len(change.Members)), metric.WithAttributes(kind))
}

func kindOf(t gossip.EventType) string {
	switch t {
	case gossip.EventMemberJoin:
		return "joined"
	case gossip.EventMemberUpdate:
		return "updated"
	case gossip.EventMemberLeave:
		return "left"
	case gossip.EventMemberFailed:
		return "failed"
	default:
		return "forgotten"
	}
}
