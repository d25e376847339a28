package client

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// Bounds of one call of several messages; more are sent in several calls.
const (
	maxBatch      = 1000
	maxBatchBytes = 4 << 20
)

// Receipt says what became of a message that was published.
type Receipt struct {
	Owner string // id of the router that ordered it
}

// Publish sends one message to every subscriber of its topic, and returns once
// the owner of the topic accepted it. payload is as in [Message]. A fleet that is
// overloaded is tried again until the deadline.
func (c *Client) Publish(ctx context.Context, topic, event string, payload any) (Receipt, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	m, err := Message{topic, event, payload}.encode()
	if err == nil {
		err = fits(m)
	}
	if err != nil {
		return Receipt{}, failed(topic, event, err)
	}
	once := c.publish
	if c.batcher != nil {
		once = c.batcher.publish
	}
	for tries := 1; ; tries++ {
		receipt, err := once(ctx, m)
		if err == nil {
			return receipt, nil
		}
		if !c.again(err) || !pause(ctx, tries) {
			return Receipt{}, failed(topic, event, err)
		}
	}
}

// again reports whether a publish that failed with err is worth another attempt.
func (c *Client) again(err error) bool {
	switch status.Code(err) { //nolint:exhaustive // the others are answers
	case codes.ResourceExhausted:
		return true
	case codes.Unavailable: // of one message of a batch, or of all routers
		return c.options.Repeat || !errors.Is(err, ErrUncertain)
	}
	return false
}

func (c *Client) publish(ctx context.Context, m *routerv1.Message) (Receipt, error) {
	var receipt Receipt
	err := c.call(ctx, c.options.Repeat, func(ctx context.Context, r routerv1.RouterServiceClient) error {
		resp, err := r.Publish(ctx, &routerv1.PublishRequest{Message: m})
		receipt.Owner = resp.GetOwner()
		return err
	})
	return receipt, err
}

// fits refuses what would be too large for a router in any case.
func fits(m *routerv1.Message) error {
	if size := proto.Size(m); size > maxMessageSize/2 {
		return fmt.Errorf("the message has %d bytes, more than %d", size, maxMessageSize/2)
	}
	return nil
}

func failed(topic, event string, err error) error {
	return fmt.Errorf("publish %q on %q: %w", event, topic, err)
}

// Result is what became of one message of several.
type Result struct {
	Receipt

	Err error // nil if the message was accepted
}

// PublishBatch sends several messages, in as few calls as they fit in; those of
// one topic keep their order. There is a result for each message. The error is
// nil if all were accepted; otherwise it says how many were not, and wraps the
// errors of the first few. A message that one call could not deliver is not sent
// again, since those behind it may have been.
func (c *Client) PublishBatch(ctx context.Context, messages []Message) ([]Result, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	results := make([]Result, len(messages))
	var batch []*routerv1.Message
	var places []int // in results, of the messages in batch
	bytes := 0
	send := func() {
		for i, r := range c.publishAll(ctx, batch) {
			results[places[i]] = r
		}
		batch, places, bytes = nil, nil, 0
	}
	for i, m := range messages {
		encoded, err := m.encode()
		if err == nil {
			err = fits(encoded)
		}
		if err != nil {
			results[i].Err = failed(m.Topic, m.Event, err)
			continue
		}
		size := proto.Size(encoded)
		if len(batch) == maxBatch || len(batch) > 0 && bytes+size > maxBatchBytes {
			send()
		}
		batch, places, bytes = append(batch, encoded), append(places, i), bytes+size
	}
	if len(batch) > 0 {
		send()
	}
	return results, sum(results)
}

// shownErrors is how many errors of a batch its own error wraps.
const shownErrors = 3

func sum(results []Result) error {
	var errs []error
	count := 0
	for _, r := range results {
		if r.Err == nil {
			continue
		}
		if count++; count <= shownErrors {
			errs = append(errs, r.Err)
		}
	}
	if count == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d messages were not published: %w", count, len(results), errors.Join(errs...))
}

// publishAll makes one call of all messages.
func (c *Client) publishAll(ctx context.Context, messages []*routerv1.Message) []Result {
	var resp *routerv1.PublishBatchResponse
	err := c.call(ctx, c.options.Repeat, func(ctx context.Context, r routerv1.RouterServiceClient) error {
		var err error
		resp, err = r.PublishBatch(ctx, &routerv1.PublishBatchRequest{Messages: messages})
		return err
	})
	if err == nil && len(resp.GetResults()) != len(messages) {
		err = fmt.Errorf("the router answered %d of %d messages (%w)", len(resp.GetResults()), len(messages), ErrUncertain)
	}
	results := make([]Result, len(messages))
	for i, m := range messages {
		if err != nil {
			results[i].Err = failed(m.GetTopic(), m.GetEvent(), err)
			continue
		}
		r := resp.GetResults()[i]
		results[i].Owner = r.GetOwner()
		if code := codes.Code(r.GetCode()); code != codes.OK { //nolint:gosec // a code
			err := status.Error(code, r.GetReason())
			results[i].Err = failed(m.GetTopic(), m.GetEvent(), conclude(err, uncertain(err)))
		}
	}
	return results
}
