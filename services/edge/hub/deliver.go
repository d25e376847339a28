package hub

import (
	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
)

// Format is how a subscriber wants its frames.
type Format struct {
	Version phx.Version
	Deflate bool // frames may be compressed
}

// Message is one broadcast on its way to the subscribers of this edge. It
// belongs to the goroutine that delivers.
type Message struct {
	broadcast channel.Broadcast
	plain     variant          // as most subscribers want it: V2, not compressed
	others    *[others]variant // made for the first who wants one
}

const (
	formats = 2 * int(phx.Versions)
	others  = formats - 1
)

// variant is the frame of one format.
type variant struct {
	frame wsframe.Frame
	state encoding
}

type encoding uint8

const (
	unasked encoding = iota
	encoded
	unfit // the serializer has no frame for it
)

// Frame returns the broadcast in a format; false if its serializer cannot carry
// it, such as opaque bytes in V1. Each is encoded at its first call, once for
// all subscribers.
func (m *Message) Frame(f Format) (wsframe.Frame, bool) {
	v := &m.plain
	if f != (Format{}) {
		v = m.other(f)
	}
	if v.state == unasked {
		*v = m.encode(f)
	}
	return v.frame, v.state == encoded
}

func (m *Message) other(f Format) *variant {
	if m.others == nil {
		m.others = new([others]variant)
	}
	i := int(f.Version)
	if f.Deflate {
		i += int(phx.Versions)
	}
	return &m.others[i-1]
}

func (m *Message) encode(f Format) variant {
	if f.Deflate {
		frame, ok := m.Frame(Format{Version: f.Version})
		switch {
		case !ok:
			return variant{state: unfit}
		case len(frame.Payload()) >= wsframe.DeflateMin:
			frame = wsframe.Deflate(frame)
		}
		return variant{frame, encoded}
	}
	frame, err := f.Version.Broadcast(m.broadcast)
	if err != nil {
		return variant{state: unfit}
	}
	return variant{frame, encoded}
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
