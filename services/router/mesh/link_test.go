package mesh

import (
	"testing"

	"google.golang.org/protobuf/proto"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

func TestPackRequest(t *testing.T) {
	forward := &meshv1.Publish{Seq: 1, Broadcast: &meshv1.Broadcast{Topic: "a"}}
	delivery := &meshv1.Broadcast{Topic: "b"}
	rows := []*meshv1.HandedRows{{Edge: "x"}, {Edge: "y"}}
	subscriptions := &meshv1.Subscriptions{Seq: 2, Topics: []string{"a"}}
	edges := &meshv1.AttachedEdges{Edges: []*meshv1.Hello{{Id: "x"}}}
	got := packRequest([]outItem{
		{control: &meshv1.PeerRequest{Subscriptions: &meshv1.Subscriptions{Seq: 1}}},
		{forward: forward},
		{control: &meshv1.PeerRequest{Rows: rows[:1]}},
		{control: &meshv1.PeerRequest{Released: 1}},
		{control: &meshv1.PeerRequest{Edges: edges}},
		{delivery: delivery},
		{control: &meshv1.PeerRequest{Rows: rows[1:]}},
		{control: &meshv1.PeerRequest{Subscriptions: subscriptions}},
		{control: &meshv1.PeerRequest{Released: 2}},
	})
	want := &meshv1.PeerRequest{
		Subscriptions: subscriptions, Edges: edges, Rows: rows, Forwards: []*meshv1.Publish{forward},
		Deliveries: []*meshv1.Broadcast{delivery}, Released: 2,
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPackResponse(t *testing.T) {
	got := packResponse([]answer{{seq: 1}, {subscriptions: 3}, {seq: 2, refused: 1}, {subscriptions: 4}})
	want := &meshv1.PeerResponse{
		Acks:             []*meshv1.PublishAck{{Seq: 1}, {Seq: 2, Error: meshv1.PublishError_PUBLISH_ERROR_UNAVAILABLE}},
		SubscriptionsAck: 4,
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What a router says besides forwards and deliveries always fits the queue.
func TestControlsCostNothing(t *testing.T) {
	c := outItem{control: &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{{Topics: []string{"room:1", "room:2"}}}}}
	if c.cost() != 0 || c.size() < 16 {
		t.Errorf("cost %d, size %d", c.cost(), c.size())
	}
}
