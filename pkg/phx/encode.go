package phx

import (
	"errors"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/wsframe"
)

// The kinds of binary frames that a server sends; a push has [pushKind].
const (
	replyKind     = 1
	broadcastKind = 2
)

// Status of a reply; a handler may answer with others.
const (
	StatusOK    = "ok"
	StatusError = "error"
)

// ErrHeader is returned for a field that has no place in the header of a binary
// frame: longer than 255 bytes, or a ref that is an array or object.
var ErrHeader = errors.New("phx: unfit for the header of a binary frame")

// ErrBinary is returned for an opaque payload that the clients of a version
// cannot be given.
var ErrBinary = errors.New("phx: no binary frame of that kind in this version")

const maxHeaderField = 255 // its length is one byte

const empty = "{}"

// OK is the reply with status ok and an empty response.
func (v Version) OK(joinRef, ref, topic Term) wsframe.Frame {
	return textReply(v, address{joinRef, ref, topic}, StatusOK, empty)
}

// Refusal is the reply with status error and the response {"reason": reason}.
func (v Version) Refusal(joinRef, ref, topic Term, reason string) wsframe.Frame {
	return textReply(v, address{joinRef, ref, topic}, StatusError, because(reason))
}

// Reply answers a message of a client.
type Reply struct {
	JoinRef  Term // of the join of the channel, whatever the message had
	Ref      Term // of the message
	Topic    Term
	Status   string
	Response []byte // JSON text, or opaque bytes if Binary
	Binary   bool
}

// Reply encodes r. It fails with [ErrHeader] or [ErrBinary].
func (v Version) Reply(r Reply) (wsframe.Frame, error) {
	if !r.Binary {
		return textReply(v, address{r.JoinRef, r.Ref, r.Topic}, r.Status, r.Response), nil
	}
	if v != V2 {
		return wsframe.Frame{}, ErrBinary
	}
	joinRef, ok1 := r.JoinRef.header()
	ref, ok2 := r.Ref.header()
	topic, ok3 := r.Topic.header()
	if !ok1 || !ok2 || !ok3 {
		return wsframe.Frame{}, ErrHeader
	}
	return binaryFrame(replyKind, r.Response, joinRef, ref, topic, r.Status)
}

// Push is an event for one subscriber. A ref is never sent: it would name a
// message of the client.
type Push struct {
	JoinRef Term
	Topic   Term
	Event   string
	Payload []byte // JSON text, or opaque bytes if Binary
	Binary  bool
}

// Push encodes p. It fails with [ErrHeader] or [ErrBinary].
func (v Version) Push(p Push) (wsframe.Frame, error) {
	if !p.Binary {
		return textEvent(v, address{p.JoinRef, Null, p.Topic}, p.Event, p.Payload), nil
	}
	joinRef, ok1 := p.JoinRef.header()
	topic, ok2 := p.Topic.header()
	switch {
	case v == V1:
		return wsframe.Frame{}, ErrBinary
	case !ok1 || !ok2:
		return wsframe.Frame{}, ErrHeader
	case v == Supabase:
		return userBroadcast(topic, p.Event, p.Payload)
	}
	return binaryFrame(pushKind, p.Payload, joinRef, topic, p.Event)
}

// Broadcast encodes b, which must be valid: the same frame for every subscriber.
// It fails with [ErrBinary].
func (v Version) Broadcast(b channel.Broadcast) (wsframe.Frame, error) {
	switch {
	case !b.Binary:
		return textEvent(v, address{Null, Null, Text(b.Topic)}, b.Event, b.Payload), nil
	case v == V1:
		return wsframe.Frame{}, ErrBinary
	case v == Supabase:
		return userBroadcast(b.Topic, b.Event, b.Payload)
	}
	return binaryFrame(broadcastKind, b.Payload, b.Topic, b.Event)
}

// Close tells a client that its channel ended as it should. The join_ref stands
// in both slots.
func (v Version) Close(joinRef, topic Term) wsframe.Frame {
	return textEvent(v, address{joinRef, joinRef, topic}, channel.EventClose, empty)
}

// Error tells a client that its channel broke; it will join again. The join_ref
// stands in both slots.
func (v Version) Error(joinRef, topic Term, reason string) wsframe.Frame {
	return textEvent(v, address{joinRef, joinRef, topic}, channel.EventError, because(reason))
}

// because is the payload of whatever has a reason.
func because(reason string) []byte {
	b := make([]byte, 0, len(`{"reason":""}`)+len(reason))
	return append(appendQuoted(append(b, `{"reason":`...), reason), '}')
}

// address is what every text frame has around its event and payload.
type address struct{ joinRef, ref, topic Term }

func (a address) len(v Version) int {
	n := len(a.ref) + len(a.topic)
	if v == V1 {
		return n + len(`{"topic":,"event":,"payload":,"ref":}`)
	}
	return n + len(a.joinRef) + len(`[,,,,]`)
}

// open begins a frame, until the payload.
func (a address) open(v Version, f []byte, event string) []byte {
	if v == V1 {
		f = append(append(f, `{"topic":`...), a.topic...)
		f = appendQuoted(append(f, `,"event":`...), event)
		return append(f, `,"payload":`...)
	}
	f = append(append(f, '['), a.joinRef...)
	f = append(append(f, ','), a.ref...)
	f = append(append(f, ','), a.topic...)
	return append(appendQuoted(append(f, ','), event), ',')
}

// end is what follows the payload.
func (a address) end(v Version, f []byte) []byte {
	if v == V1 {
		return append(append(append(f, `,"ref":`...), a.ref...), '}')
	}
	return append(f, ']')
}

func textReply[P ~string | ~[]byte](v Version, a address, status string, response P) wsframe.Frame {
	const fixed = len(`"phx_reply"{"response":,"status":""}`)
	return wsframe.Build(wsframe.Text, a.len(v)+fixed+len(response)+len(status), func(f []byte) []byte {
		f = append(a.open(v, f, channel.EventReply), `{"response":`...)
		f = append(f, response...)
		f = appendQuoted(append(f, `,"status":`...), status)
		return a.end(v, append(f, '}'))
	})
}

func textEvent[P ~string | ~[]byte](v Version, a address, event string, payload P) wsframe.Frame {
	return wsframe.Build(wsframe.Text, a.len(v)+len(`""`)+len(event)+len(payload), func(f []byte) []byte {
		return a.end(v, append(a.open(v, f, event), payload...))
	})
}

// binaryFrame is the kind, one length byte for each field, the fields and the
// payload.
func binaryFrame(kind byte, payload []byte, fields ...string) (wsframe.Frame, error) {
	size := 1 + len(payload)
	for _, f := range fields {
		if len(f) > maxHeaderField {
			return wsframe.Frame{}, ErrHeader
		}
		size += 1 + len(f)
	}
	return wsframe.Build(wsframe.Binary, size, func(b []byte) []byte {
		b = append(b, kind)
		for _, f := range fields {
			b = append(b, byte(len(f))) //nolint:gosec // at most maxHeaderField
		}
		for _, f := range fields {
			b = append(b, f...)
		}
		return append(b, payload...)
	}), nil
}
