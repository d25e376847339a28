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

const maxHeaderField = 255 // its length is one byte

const empty = "{}"

// OK is the reply with status ok and an empty response.
func OK(joinRef, ref, topic Term) wsframe.Frame {
	return textReply(address{joinRef, ref, topic}, StatusOK, empty)
}

// Refusal is the reply with status error and the response {"reason": reason}.
func Refusal(joinRef, ref, topic Term, reason string) wsframe.Frame {
	return textReply(address{joinRef, ref, topic}, StatusError, because(reason))
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

// Frame encodes r.
func (r Reply) Frame() (wsframe.Frame, error) {
	if !r.Binary {
		return textReply(address{r.JoinRef, r.Ref, r.Topic}, r.Status, r.Response), nil
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

// Frame encodes p.
func (p Push) Frame() (wsframe.Frame, error) {
	if !p.Binary {
		return textEvent(address{p.JoinRef, Null, p.Topic}, p.Event, p.Payload), nil
	}
	joinRef, ok1 := p.JoinRef.header()
	topic, ok2 := p.Topic.header()
	if !ok1 || !ok2 {
		return wsframe.Frame{}, ErrHeader
	}
	return binaryFrame(pushKind, p.Payload, joinRef, topic, p.Event)
}

// Broadcast encodes b, which must be valid: the same frame for every subscriber.
func Broadcast(b channel.Broadcast) wsframe.Frame {
	if b.Binary {
		return packBinary(broadcastKind, b.Payload, b.Topic, b.Event)
	}
	return textEvent(address{Null, Null, Text(b.Topic)}, b.Event, b.Payload)
}

// Close tells a client that its channel ended as it should. The join_ref stands
// in both slots.
func Close(joinRef, topic Term) wsframe.Frame {
	return textEvent(address{joinRef, joinRef, topic}, channel.EventClose, empty)
}

// Error tells a client that its channel broke; it will join again. The join_ref
// stands in both slots.
func Error(joinRef, topic Term, reason string) wsframe.Frame {
	return textEvent(address{joinRef, joinRef, topic}, channel.EventError, because(reason))
}

// because is the payload of whatever has a reason.
func because(reason string) []byte {
	b := make([]byte, 0, len(`{"reason":""}`)+len(reason))
	return append(appendQuoted(append(b, `{"reason":`...), reason), '}')
}

// address is where every text frame begins.
type address struct{ joinRef, ref, topic Term }

func (a address) len() int { return len(`[,,,`) + len(a.joinRef) + len(a.ref) + len(a.topic) }

func (a address) appendTo(f []byte) []byte {
	f = append(append(f, '['), a.joinRef...)
	f = append(append(f, ','), a.ref...)
	f = append(append(f, ','), a.topic...)
	return append(f, ',')
}

func textReply[P ~string | ~[]byte](a address, status string, response P) wsframe.Frame {
	const fixed = len(`"phx_reply",{"response":,"status":""}]`)
	return wsframe.Build(wsframe.Text, a.len()+fixed+len(response)+len(status), func(f []byte) []byte {
		f = append(a.appendTo(f), `"phx_reply",{"response":`...)
		f = append(f, response...)
		f = append(f, `,"status":`...)
		f = appendQuoted(f, status)
		return append(f, "}]"...)
	})
}

func textEvent[P ~string | ~[]byte](a address, event string, payload P) wsframe.Frame {
	return wsframe.Build(wsframe.Text, a.len()+len(`"",]`)+len(event)+len(payload), func(f []byte) []byte {
		f = append(appendQuoted(a.appendTo(f), event), ',')
		f = append(f, payload...)
		return append(f, ']')
	})
}

func binaryFrame(kind byte, payload []byte, fields ...string) (wsframe.Frame, error) {
	for _, f := range fields {
		if len(f) > maxHeaderField {
			return wsframe.Frame{}, ErrHeader
		}
	}
	return packBinary(kind, payload, fields...), nil
}

// packBinary is the kind, one length byte for each field, the fields and the
// payload.
func packBinary(kind byte, payload []byte, fields ...string) wsframe.Frame {
	size := 1 + len(payload)
	for _, f := range fields {
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
	})
}
