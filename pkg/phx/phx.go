// Package phx is the serializers of Phoenix: what clients send, as a [Message],
// and what they get, as encoded frames.
//
// A text frame of [V2] is [join_ref, ref, topic, event, payload], one of [V1] an
// object with these keys. It is validated in a single pass, as strictly as
// Phoenix's own decoder (RFC 8259; lone surrogates and floats beyond float64 are
// refused). Payloads stay the bytes they are: never copied here, never
// re-encoded. Topic, event and refs may be any JSON term, see [Term].
//
// A binary frame of a client is 0, four lengths of one byte (join_ref, ref,
// topic, event), these four strings, and the payload until the end. V1 has none.
package phx

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Version is that of a serializer. Its methods decode what its clients send and
// encode what they get.
type Version uint8

// The versions.
const (
	V2       Version = iota // 2.0.0
	V1                      // 1.0.0: objects in place of lists, and no binary frames
	Supabase                // 2.0.0 as Supabase's realtime-js speaks it, see [Message.UserEvent]

	Versions // how many there are
)

// Bounds that Phoenix does not have. What exceeds them does not decode.
const (
	MaxDepth  = 512  // of nested arrays and objects, the message itself not counted
	MaxRefLen = 1024 // bytes of a join_ref or ref: it is kept as long as its channel
)

// ErrMalformed is returned for what is not a message of the protocol. The
// connection cannot go on: Phoenix closes it with 1011.
var ErrMalformed = errors.New("phx: malformed message")

// Message is what a client sent.
type Message struct {
	JoinRef Term
	Ref     Term
	Topic   Term
	Event   Term
	Payload []byte // JSON text, or opaque bytes if Binary; aliases what was decoded
	Binary  bool   // Payload is opaque
	Object  bool   // Payload is a JSON object

	// UserEvent is the event within an opaque broadcast of [Supabase], whose own
	// event is always "broadcast"; empty in all other messages. If such a broadcast
	// has JSON, it becomes the message {"type","event","payload"} that a text frame
	// would have.
	UserEvent Term
}

// Decode decodes the payload of a text or binary frame.
func (v Version) Decode(data []byte, binary bool) (Message, error) {
	switch {
	case !binary:
		return v.decodeText(data)
	case v == V1:
		return Message{}, fmt.Errorf("%w: binary frame", ErrMalformed)
	case v == Supabase && len(data) > 0 && data[0] == userPushKind:
		return decodeUserPush(data)
	default:
		return decodeBinary(data)
	}
}

// decodeText reads a list, whose elements after the fifth are ignored, or an
// object of [V1].
func (v Version) decodeText(data []byte) (Message, error) {
	s := scanner{data: data}
	read := s.list
	if v == V1 {
		read = s.object
	}
	head, payload, ok := read()
	if !ok {
		return Message{}, fmt.Errorf("%w: byte %d", ErrMalformed, s.pos)
	}
	m, err := newMessage(head)
	m.Payload, m.Object = payload, payload[0] == '{'
	return m, err
}

// pushKind is the first byte of the only binary frame that a client of Phoenix
// may send.
const pushKind = 0

func decodeBinary(data []byte) (Message, error) {
	const lengths = 5
	if len(data) < lengths || data[0] != pushKind {
		return Message{}, fmt.Errorf("%w: not a binary push", ErrMalformed)
	}
	var head [4]token
	rest, err := cutTokens(head[:], data[1:lengths], data[lengths:])
	if err != nil {
		return Message{}, err
	}
	m, err := newMessage(head)
	m.Payload, m.Binary = rest, true
	return m, err
}

// cutTokens takes strings of the given lengths from the start of data and
// returns what is left.
func cutTokens(tokens []token, lengths, data []byte) ([]byte, error) {
	for i := range tokens {
		n := int(lengths[i])
		if n > len(data) {
			return nil, fmt.Errorf("%w: truncated binary frame", ErrMalformed)
		}
		tokens[i] = token{raw: data[:n], form: plain}
		data = data[n:]
		if !utf8.Valid(tokens[i].raw) {
			return nil, fmt.Errorf("%w: not UTF-8", ErrMalformed)
		}
	}
	return data, nil
}

// newMessage makes the terms of a message, all of one string: one allocation,
// and nothing of the frame is kept alive by them.
func newMessage(head [4]token) (Message, error) {
	if len(head[0].raw) > MaxRefLen || len(head[1].raw) > MaxRefLen {
		return Message{}, fmt.Errorf("%w: ref of more than %d bytes", ErrMalformed, MaxRefLen)
	}
	var scratch [128]byte
	var ends [4]int
	text := scratch[:0]
	for i, t := range head {
		text = t.appendTo(text)
		ends[i] = len(text)
	}
	terms := Term(text)
	return Message{
		JoinRef: terms[:ends[0]],
		Ref:     terms[ends[0]:ends[1]],
		Topic:   terms[ends[1]:ends[2]],
		Event:   terms[ends[2]:ends[3]],
	}, nil
}
