package edge

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/edge/session"
)

// maxInspected bounds what one answer describes.
const maxInspected = 1000

// seen is one connection at the moment of a look.
type seen struct {
	id        uint64
	transport string
	mount     string
	address   netip.Addr
	age       time.Duration
	silence   time.Duration
	queued    int
	closing   bool
	session   *session.Session // nil if it is not there yet
}

// inspect finds connections. It walks over all of them, as disconnect does.
func (e *Edge) inspect(what *meshv1.Inspect) *meshv1.Inspected {
	var found []seen
	for c := range e.look {
		if c.matches(what) {
			found = append(found, c)
		}
	}
	result := &meshv1.Inspected{Matched: uint64(len(found))}
	slices.SortFunc(found, func(a, b seen) int {
		byID := cmp.Compare(a.id, b.id)
		if what.GetMinQueueBytes() > 0 {
			return cmp.Or(cmp.Compare(b.queued, a.queued), byID)
		}
		return byID
	})
	for _, c := range found[:min(len(found), int(what.GetLimit()), maxInspected)] {
		result.Connections = append(result.Connections, c.describe(e.cfg.ID, what.GetTopics()))
	}
	return result
}

// look yields every connection over all transports.
func (e *Edge) look(yield func(seen) bool) {
	for c := range e.sockets.All() {
		l, s := c.Look(), sessionOf(c.Handler())
		if !yield(seen{c.ID(), "websocket", c.Mount(), c.Address(), l.Age, l.Silence, l.Queued, l.Closing, s}) {
			return
		}
	}
	for polls := range e.polling {
		for c := range polls.All() {
			l, s := c.Look(), sessionOf(c.Handler())
			if !yield(seen{c.ID(), "longpoll", c.Mount(), c.Address(), l.Age, l.Silence, l.Queued, l.Closing, s}) {
				return
			}
		}
	}
}

func (c seen) matches(what *meshv1.Inspect) bool {
	switch {
	case what.GetId() != 0 && what.GetId() != c.id,
		what.GetMinQueueBytes() > uint64(max(c.queued, 0)):
		return false
	case c.session == nil:
		return what.GetUser() == "" && what.GetTopic() == ""
	}
	return c.session.Has(what.GetUser(), what.GetTopic())
}

func (c seen) describe(edge string, topics bool) *meshv1.ConnectionInfo {
	info := &meshv1.ConnectionInfo{
		Edge: edge, Id: c.id, Transport: c.transport, Mount: c.mount, Address: c.address.Unmap().String(),
		AgeMs: millis(c.age), SilenceMs: millis(c.silence), QueueBytes: uint64(max(c.queued, 0)), Closing: c.closing,
	}
	if c.session == nil {
		return info
	}
	l := c.session.Look()
	info.User, info.Channels = l.User, uint32(len(l.Topics)) //nolint:gosec // few
	info.Unanswered = uint32(max(l.Unanswered, 0))           //nolint:gosec // few
	if topics {
		slices.Sort(l.Topics)
		info.Topics = l.Topics
	}
	return info
}
