// Package channel is the vocabulary of Phoenix Channels that every service
// shares. It imports only the standard library.
package channel

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of names, in bytes.
const (
	MaxTopicLen = 1024
	MaxEventLen = 255 // one length byte in the V2 binary frame
)

// Events of the protocol itself. Clients act on them, so nobody may broadcast
// one; see [ValidateEvent].
const (
	EventJoin  = "phx_join"
	EventLeave = "phx_leave"
	EventClose = "phx_close"
	EventError = "phx_error"
	EventReply = "phx_reply"
)

// Broadcast is one event for every subscriber of a topic. It is immutable: the
// same value is handed to every subscriber of a process.
type Broadcast struct {
	Topic   string
	Event   string
	Payload []byte     // JSON text, or opaque bytes if Binary; never re-encoded
	Binary  bool       // clients get Payload in a binary frame
	Except  Connection // does not receive the broadcast; zero excludes nobody
	Trace   []byte     // W3C trace context: 16 bytes trace id, 8 span id, 1 flags; nil if not sampled
}

// Connection names one client connection in the fleet. The zero value names
// none.
type Connection struct {
	Edge string // id of the edge that holds the socket
	ID   uint64 // unique in one life of that edge, from 1
}

// Errors of [ValidateTopic] and [ValidateEvent].
var (
	ErrTopic = errors.New("topic")
	ErrEvent = errors.New("event")
)

// ValidateTopic reports whether a topic may be joined and published to: 1 to
// [MaxTopicLen] bytes, and not "phoenix", which is the protocol's own.
func ValidateTopic(topic string) error {
	switch {
	case topic == "" || len(topic) > MaxTopicLen:
		return fmt.Errorf("%w: must be 1 to %d bytes, got %d", ErrTopic, MaxTopicLen, len(topic))
	case topic == "phoenix":
		return fmt.Errorf("%w: %q is reserved for the protocol", ErrTopic, topic)
	}
	return nil
}

// ValidateEvent reports whether an event may be broadcast: 1 to [MaxEventLen]
// bytes, and without the prefix "phx_", which is the protocol's own.
func ValidateEvent(event string) error {
	switch {
	case event == "" || len(event) > MaxEventLen:
		return fmt.Errorf("%w: must be 1 to %d bytes, got %d", ErrEvent, MaxEventLen, len(event))
	case strings.HasPrefix(event, "phx_"):
		return fmt.Errorf("%w: %q is reserved for the protocol", ErrEvent, event)
	}
	return nil
}
