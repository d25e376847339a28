package attach

import (
	"google.golang.org/protobuf/proto"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// item is one thing that a router says to an edge: a delivery, a view, an
// interest acknowledgement, a fence, a call, or else the end of the publish seq.
type item struct {
	delivery    *meshv1.Broadcast
	view        *meshv1.View
	interestAck *meshv1.InterestAck
	call        *meshv1.EdgeCall
	fence       uint64
	seq         uint64
	refused     meshv1.PublishError
}

func (it item) isAck() bool {
	return it.delivery == nil && it.view == nil && it.interestAck == nil && it.call == nil && it.fence == 0
}

// Framing of a broadcast on the wire and its share of the queue's memory, and
// the size of anything small.
const (
	overhead = 64
	small    = 16
)

// cost is what an item takes of the queue's limit: deliveries are the bulk, and
// everything else must not be lost for want of room.
func (it item) cost() int {
	if it.delivery == nil {
		return 0
	}
	return it.size()
}

// size is roughly what an item takes on the wire.
func (it item) size() int {
	switch {
	case it.delivery != nil:
		b := it.delivery
		return overhead + len(b.GetTopic()) + len(b.GetEvent()) + len(b.GetPayload())
	case it.view != nil:
		return overhead * (1 + len(it.view.GetMembers()))
	case it.call != nil:
		return small + proto.Size(it.call)
	default:
		return small
	}
}

// pack puts items into one message. Its fields are handled in their own order,
// not in that of the items; that only moves deliveries before what follows them
// or what they do not depend on. Of views, fences and interest
// acknowledgements the last says it all.
func pack(items []item) *meshv1.AttachResponse {
	m := &meshv1.AttachResponse{}
	deliveries, acks := 0, 0
	for i := range items {
		switch {
		case items[i].delivery != nil:
			deliveries++
		case items[i].isAck():
			acks++
		}
	}
	if deliveries > 0 {
		m.Deliveries = make([]*meshv1.Broadcast, 0, deliveries)
	}
	if acks > 0 {
		m.Acks = make([]*meshv1.PublishAck, 0, acks)
	}
	for i := range items {
		switch it := &items[i]; {
		case it.delivery != nil:
			m.Deliveries = append(m.Deliveries, it.delivery)
		case it.view != nil:
			m.View = it.view
		case it.interestAck != nil:
			m.InterestAck = it.interestAck
		case it.call != nil:
			m.Calls = append(m.Calls, it.call)
		case it.fence != 0:
			m.Fence = it.fence
		default:
			m.Acks = append(m.Acks, &meshv1.PublishAck{Seq: it.seq, Error: it.refused})
		}
	}
	return m
}
