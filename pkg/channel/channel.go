// Package channel is the vocabulary of Phoenix Channels that every service
// shares. It imports only the standard library.
package channel

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of names, in bytes.
const (
	MaxTopicLen = 1024
	MaxEventLen = 255 // one length byte in the V2 binary frame

	// MaxBinaryTopicLen bounds the topic of a binary broadcast, which has one
	// length byte too.
	MaxBinaryTopicLen = 255
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

// Errors of [ValidateTopic], [ValidateEvent] and [Broadcast.Validate].
var (
	ErrTopic = errors.New("topic")
	ErrEvent = errors.New("event")
)

// What becomes of a publish, or of a wish to hear a topic, that the mesh could
// not carry out. Clients see them as the reason of an error reply.
var (
	// ErrUnavailable means that no router could take it in time, or that the
	// way to it broke before an answer came. The mesh does not try again.
	ErrUnavailable = errors.New("unavailable")
	// ErrOverloaded means that it was refused because too much waits already.
	ErrOverloaded = errors.New("overloaded")
	// ErrTimeout means that a handler did not answer in time: it may have acted.
	ErrTimeout = errors.New("timeout")
	// ErrCrashed means that a handler failed, or answered what makes no sense.
	ErrCrashed = errors.New("crashed")
)

// Validate reports whether b may enter the mesh. It does not look at the
// payload, which is validated where it is decoded.
func (b Broadcast) Validate() error {
	if err := ValidateTopic(b.Topic); err != nil {
		return err
	}
	if b.Binary && len(b.Topic) > MaxBinaryTopicLen {
		return fmt.Errorf("%w: must be at most %d bytes for a binary payload, got %d",
			ErrTopic, MaxBinaryTopicLen, len(b.Topic))
	}
	return ValidateEvent(b.Event)
}

// ValidateTopic reports whether a topic may be joined and published to: 1 to
// [MaxTopicLen] bytes of UTF-8, and not "phoenix", which is the protocol's own.
func ValidateTopic(topic string) error {
	switch {
	case topic == "" || len(topic) > MaxTopicLen:
		return fmt.Errorf("%w: must be 1 to %d bytes, got %d", ErrTopic, MaxTopicLen, len(topic))
	case topic == "phoenix":
		return fmt.Errorf("%w: %q is reserved for the protocol", ErrTopic, topic)
	case !utf8.ValidString(topic):
		return fmt.Errorf("%w: must be UTF-8", ErrTopic)
	}
	return nil
}

// ValidateEvent reports whether an event may be broadcast: 1 to [MaxEventLen]
// bytes of UTF-8, and without the prefix "phx_", which is the protocol's own.
func ValidateEvent(event string) error {
	switch {
	case event == "" || len(event) > MaxEventLen:
		return fmt.Errorf("%w: must be 1 to %d bytes, got %d", ErrEvent, MaxEventLen, len(event))
	case strings.HasPrefix(event, "phx_"):
		return fmt.Errorf("%w: %q is reserved for the protocol", ErrEvent, event)
	case !utf8.ValidString(event):
		return fmt.Errorf("%w: must be UTF-8", ErrEvent)
	}
	return nil
}
