package session

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// outcome is what became of a message or a channel of a client. The set is
// closed.
type outcome int

const (
	joinedOK        outcome = iota // join answered ok
	joinFailed                     // join: the mesh did not confirm the topic
	joinRefused                    // join: a token or a handler did not allow it, or a backend ended it meanwhile
	pushed                         // push relayed, or handed to a handler
	pushDenied                     // push: not allowed by the namespace or the token
	pushFailed                     // push: the mesh did not take it, or the handler did not answer
	unreplied                      // push whose channel ended before the answer came
	broadcastFailed                // broadcast of a handler that the mesh did not take
	unmatchedTopic                 // not joined, or no topic of a namespace
	tooManyChannels                // join over the limit
	staleRef                       // dropped in silence: it is for an earlier channel, or one that is being left
	crashed                        // push that nothing can be done with, or whose handler failed: the channel was ended
	failed                         // channel ended because the mesh lost its topic
	stopped                        // channel ended by its handler
	kicked                         // channel or socket ended by a backend
	refreshed                      // token replaced by a newer one
	notRefreshed                   // token that did not replace the earlier one
	expired                        // channel ended because its token did, or because the new one does not allow it
	unfit                          // broadcast of opaque bytes that the client's serializer has no frame for
	paced                          // pause of a client that sends more than the limit
	malformed                      // not a message: the socket was closed
	outcomes
)

func (o outcome) String() string {
	return [outcomes]string{
		"joined", "join_failed", "join_refused", "pushed", "push_denied", "push_failed", "unreplied", "broadcast_failed",
		"unmatched_topic", "too_many_channels", "stale_join_ref", "channel_crash", "channel_failed", "channel_stopped",
		"disconnected", "token_refreshed", "token_not_refreshed", "token_expired", "binary_unfit", "rate_limited", "malformed",
	}[o]
}

type counts [outcomes]atomic.Uint64

func (c *counts) add(o outcome) { c[o].Add(1) }

// observe reports the counters when they are collected.
func (c *counts) observe(meter metric.Meter, mount string) error {
	messages, err := meter.Int64ObservableCounter("skein.edge.protocol",
		metric.WithDescription("What became of clients' messages and channels, by reason."), metric.WithUnit("{event}"))
	if err != nil {
		return err
	}
	var attributes [outcomes]metric.MeasurementOption
	for i := range outcomes {
		set := []attribute.KeyValue{attribute.Stringer("reason", i)}
		if mount != "" {
			set = append(set, attribute.String("mount", mount))
		}
		attributes[i] = metric.WithAttributes(set...)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for i := range outcomes {
			o.ObserveInt64(messages, int64(c[i].Load()), attributes[i]) //nolint:gosec // never that many
		}
		return nil
	}, messages)
	return err
}
