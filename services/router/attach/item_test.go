package attach

import (
	"testing"

	"google.golang.org/protobuf/proto"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

func TestPack(t *testing.T) {
	first, second := &meshv1.Broadcast{Topic: "a"}, &meshv1.Broadcast{Topic: "b"}
	early, late := &meshv1.View{Hash: 1}, &meshv1.View{Hash: 2}
	got := pack([]item{
		{delivery: first},
		{seq: 1},
		{view: early},
		{fence: 1},
		{interestAck: &meshv1.InterestAck{Seq: 1}},
		{delivery: second},
		{seq: 2, refused: meshv1.PublishError_PUBLISH_ERROR_OVERLOADED},
		{view: late},
		{interestAck: &meshv1.InterestAck{Seq: 2, View: 2}},
		{fence: 2},
		{}, // a publish may have the number 0
	})
	want := &meshv1.AttachResponse{
		View:       late,
		Deliveries: []*meshv1.Broadcast{first, second},
		Acks: []*meshv1.PublishAck{
			{Seq: 1}, {Seq: 2, Error: meshv1.PublishError_PUBLISH_ERROR_OVERLOADED}, {Seq: 0},
		},
		InterestAck: &meshv1.InterestAck{Seq: 2, View: 2},
		Fence:       2,
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Only deliveries may be refused for want of room, and an item is never larger
// on the wire than it says by more than its framing.
func TestCost(t *testing.T) {
	for _, it := range []item{{seq: 1}, {fence: 1}, {view: &meshv1.View{}}, {interestAck: &meshv1.InterestAck{}}} {
		if it.cost() != 0 {
			t.Errorf("%+v costs %d", it, it.cost())
		}
	}
	b := &meshv1.Broadcast{Topic: "room:1", Event: "e", Payload: make([]byte, 1000)}
	it := item{delivery: b}
	if size := proto.Size(&meshv1.AttachResponse{Deliveries: []*meshv1.Broadcast{b}}); it.size() < size || it.cost() != it.size() {
		t.Errorf("size %d, cost %d, on the wire %d", it.size(), it.cost(), size)
	}
}

func BenchmarkPack(b *testing.B) {
	items := make([]item, 256)
	for i := range items {
		items[i] = item{delivery: &meshv1.Broadcast{Topic: "room:1", Event: "e"}}
		if i%4 == 0 {
			items[i] = item{seq: uint64(i)}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		pack(items)
	}
}
