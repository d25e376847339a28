// Package phx is the Phoenix V2 serializer: what clients send, as a [Message],
// and what they get, as encoded frames.
//
// A text frame is [join_ref, ref, topic, event, payload]. It is validated in a
// single pass, as strictly as Phoenix's own decoder (RFC 8259; lone surrogates
// and floats beyond float64 are refused). Payloads stay the bytes they are:
// never copied here, never re-encoded. Topic, event and refs may be any JSON
// term, see [Term].
//
// A binary frame of a client is 0, four lengths of one byte (join_ref, ref,
// topic, event), these four strings, and the payload until the end.
package phx

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Version is that of a serializer.
type Version uint8

// The versions: 1.0.0 sends maps and no binary frames.
const (
	V2 Version = iota
	V1
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
	Binary  bool   // came in a binary frame
	Object  bool   // Payload is a JSON object
}

// DecodeText decodes the payload of a text frame. Elements after the fifth are
// ignored, but must be JSON.
func DecodeText(data []byte) (Message, error) {
	s := scanner{data: data}
	head, payload, ok := s.message()
	if !ok {
		return Message{}, fmt.Errorf("%w: byte %d", ErrMalformed, s.pos)
	}
	m, err := newMessage(head)
	m.Payload, m.Object = payload, payload[0] == '{'
	return m, err
}

// pushKind is the first byte of the only binary frame that a client may send.
const pushKind = 0

// DecodeBinary decodes the payload of a binary frame.
func DecodeBinary(data []byte) (Message, error) {
	const lengths = 5
	if len(data) < lengths || data[0] != pushKind {
		return Message{}, fmt.Errorf("%w: not a binary push", ErrMalformed)
	}
	var head [4]token
	rest := data[lengths:]
	for i := range head {
		n := int(data[i+1])
		if n > len(rest) {
			return Message{}, fmt.Errorf("%w: truncated binary push", ErrMalformed)
		}
		head[i] = token{raw: rest[:n], form: plain}
		rest = rest[n:]
		if !utf8.Valid(head[i].raw) {
			return Message{}, fmt.Errorf("%w: not UTF-8", ErrMalformed)
		}
	}
	m, err := newMessage(head)
	m.Payload, m.Binary = rest, true
	return m, err
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
