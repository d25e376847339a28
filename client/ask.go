package client

import (
	"context"
	"fmt"
	"strings"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// Target names what to disconnect: what matches every field that is set.
type Target struct {
	User       string // closes the sockets of a user
	Connection uint64 // closes one socket of Edge
	Edge       string // that holds Connection
	Topic      string // ends the channels of a topic; sockets stay open, with User or Connection only theirs are meant
}

// Disconnected says what was ended.
type Disconnected struct {
	Connections uint64 // that were closed
	Channels    uint64 // that were ended on connections that stay open
	Edges       uint32 // that were told
}

// Disconnect ends sockets or channels on every edge. It is tried again until
// every edge did so or the deadline is there, and counts what the last attempt
// ended.
func (c *Client) Disconnect(ctx context.Context, t Target) (Disconnected, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	req := &routerv1.DisconnectRequest{User: t.User, Topic: t.Topic}
	if t.Connection != 0 || t.Edge != "" {
		req.Connection = &routerv1.Connection{Edge: t.Edge, Id: t.Connection}
	}
	var resp *routerv1.DisconnectResponse
	err := c.call(ctx, true, func(ctx context.Context, r routerv1.RouterServiceClient) error {
		var err error
		resp, err = r.Disconnect(ctx, req)
		return err
	})
	if err != nil {
		return Disconnected{}, fmt.Errorf("disconnect: %w", err)
	}
	return Disconnected{resp.GetConnections(), resp.GetChannels(), resp.GetEdges()}, nil
}

// TopicInfo explains a topic as its owner sees it.
type TopicInfo struct {
	Topic     string
	Owner     string     // id of the router that orders the topic
	View      uint64     // hash of the owner's view
	Receivers []Receiver // those that a message published now would be sent to
}

// Receiver is an edge or router that a message would be sent to.
type Receiver struct {
	ID     string
	Reason string // row, flood or subscription
}

// TopicInfo asks who owns a topic, and who would receive a message now.
func (c *Client) TopicInfo(ctx context.Context, topic string) (TopicInfo, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	var resp *routerv1.TopicInfoResponse
	err := c.call(ctx, true, func(ctx context.Context, r routerv1.RouterServiceClient) error {
		var err error
		resp, err = r.TopicInfo(ctx, &routerv1.TopicInfoRequest{Topic: topic})
		return err
	})
	if err != nil {
		return TopicInfo{}, fmt.Errorf("topic %q: %w", topic, err)
	}
	info := TopicInfo{Topic: resp.GetTopic(), Owner: resp.GetOwner(), View: resp.GetView()}
	for _, r := range resp.GetReceivers() {
		reason := strings.ToLower(strings.TrimPrefix(r.GetReason().String(), "REASON_"))
		info.Receivers = append(info.Receivers, Receiver{r.GetId(), reason})
	}
	return info, nil
}
