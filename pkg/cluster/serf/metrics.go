package serf

import (
	"context"
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
