package hub

import (
	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
)

// Message is one broadcast on its way to the subscribers of this edge. It
// belongs to the goroutine that delivers.
type Message struct {
	broadcast channel.Broadcast
	frame     wsframe.Frame
	encoded   bool
}

// Frame returns the broadcast as a frame of the V2 serializer. It is encoded at
// the first call, once for all subscribers.
func (m *Message) Frame() wsframe.Frame {
	if !m.encoded {
		m.frame, m.encoded = phx.Broadcast(m.broadcast), true
	}
	return m.frame
}

// Deliver hands b to every subscriber of its topic but the excepted connection,
// and returns how many there were. It never blocks: a subscriber that is too
// slow closes its own socket.
func (h *Hub) Deliver(b channel.Broadcast) (subscribers int) {
	if b.Validate() != nil {
		h.counts.dropped[reasonInvalid].Add(1)
		return 0
	}
	var except uint64 // ids start at 1
	if b.Except.Edge == h.edge {
		except = b.Except.ID
	}
	sh := h.shard(b.Topic)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	t := sh.topics[b.Topic]
	if t == nil || !t.confirmed || len(t.members) == 0 {
		h.counts.dropped[reasonNoSubscriber].Add(1)
		return 0
	}
	n := t.deliver(&Message{broadcast: b}, except)
	h.counts.delivered.Add(uint64(n)) //nolint:gosec // a count
	return n
}

func (t *topic) deliver(m *Message, except uint64) int {
	if except == 0 {
		for _, s := range t.members {
			s.Deliver(m)
		}
		return len(t.members)
	}
	n := 0
	for _, s := range t.members {
		if s.seat().Connection != except {
			s.Deliver(m)
			n++
		}
	}
	return n
}
