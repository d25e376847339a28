package client_test

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/client"
)

func TestTopicInfo(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, f *fleet) {
		c := f.client(t, client.Options{}, "gone", "r2")
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		got := listen(ctx, t, c, client.Subscription{Topic: "room:1"})
		<-got.placed
		receipt, err := c.Publish(t.Context(), "room:1", "e", nil)
		if err != nil {
			t.Fatal(err)
		}
		info, err := c.TopicInfo(t.Context(), "room:1")
		if err != nil || info.Topic != "room:1" || info.Owner != receipt.Owner || info.View == 0 ||
			len(info.Receivers) != 1 || info.Receivers[0] != (client.Receiver{ID: "r2", Reason: "subscription"}) {
			t.Errorf("%+v, %v", info, err)
		}
		if _, err := c.TopicInfo(t.Context(), ""); status.Code(err) != codes.InvalidArgument {
			t.Error(err)
		}
	})
}

func TestDisconnect(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		c := f.client(t, client.Options{}, "gone", "r1")
		defer c.Close()
		if ended, err := c.Disconnect(t.Context(), client.Target{User: "ada", Topic: "room:1"}); err != nil || ended != (client.Disconnected{}) {
			t.Errorf("%v, %v", ended, err)
		}
		if _, err := c.Disconnect(t.Context(), client.Target{}); status.Code(err) != codes.InvalidArgument {
			t.Error(err)
		}
		if _, err := c.Disconnect(t.Context(), client.Target{Edge: "e1", Connection: 1}); status.Code(err) != codes.NotFound {
			t.Error(err)
		}
	})
}
