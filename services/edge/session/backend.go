package session

import "github.com/skein-mesh/skein/pkg/namespace"

// Backend asks the handlers of namespaces. Each done is called exactly once, by
// any goroutine, maybe before the method returns, and within the namespace's
// timeout and a moment: with an answer, or with [channel.ErrUnavailable],
// [channel.ErrTimeout] or [channel.ErrOverloaded] for what may be tried again,
// or [channel.ErrCrashed] for a handler that failed or answered rubbish. The
// caller keeps the calls of one channel in order by awaiting each.
type Backend interface {
	Join(ns *namespace.Namespace, c Caller, params Payload, done func(JoinAnswer, error))
	Push(ns *namespace.Namespace, c Caller, event, ref string, p Payload, done func(PushAnswer, error))
	// Leave tells that a channel is over. Nobody waits for it. It may be called
	// under a lock of the hub, so it must only queue.
	Leave(ns *namespace.Namespace, c Caller, reason LeaveReason)
}

// Caller is the channel on whose behalf a handler is asked.
type Caller struct {
	Connection uint64 // id of the socket in this edge
	Topic      string
	JoinRef    string
	User       string
	Claims     []byte // of the token as JSON text; nil for none
	Assigns    []byte // of the channel as JSON text, else of the socket; nil for none
	Trace      []byte // context of the trace that the call belongs to; nil for none
}

// Payload is JSON text, or opaque bytes.
type Payload struct {
	Data   []byte
	Binary bool
}

// Event is a named payload.
type Event struct {
	Name string
	Payload
}

// Reply answers a join or a push.
type Reply struct {
	Status string // ok, error or whatever the handler chose
	Payload
}

// Person is who a channel is seen to be in its topic.
type Person struct {
	Key  string
	Meta []byte // JSON object
}

// JoinAnswer is what a handler says to a join.
type JoinAnswer struct {
	Refused  bool // Reply.Status is then error
	Reply    Reply
	Assigns  []byte  // replaces the channel's, unless nil
	Pushes   []Event // to this client, behind the reply
	Presence *Person // nil if the handler says nothing of it
}

// PushAnswer is what a handler says to a push.
type PushAnswer struct {
	Reply      *Reply      // nil for none
	Assigns    []byte      // replaces the channel's, unless nil
	Pushes     []Event     // to this client, before the reply
	Broadcasts []Broadcast // to the topic, before the reply
	Stop       bool        // ends the channel with phx_close, behind the reply
	Presence   *Person     // updates who the channel is; nil for no change
	Untrack    bool        // the channel is nobody any more
}

// Broadcast is an event for everybody in the channel's topic, or in another.
type Broadcast struct {
	Topic     string // empty for the channel's own
	Event     Event
	NotSender bool // this client does not get it
}

// LeaveReason is why a channel ended. The set is closed.
type LeaveReason int

// The reasons.
const (
	LeftByClient LeaveReason = iota // phx_leave
	LeftClosed                      // its socket closed
	LeftReplaced                    // joined again on the same socket
	LeftCrashed                     // a push failed in the handler
	LeftStopped                     // the handler ended it
	LeftKicked                      // a backend ended it
	LeftExpired                     // its token expired
	LeftLost                        // no router could serve the topic
)
