// Package wsframe encodes and decodes WebSocket frames (RFC 6455, section 5),
// compressed ones too (RFC 7692, permessage-deflate without context takeover).
package wsframe

import "encoding/binary"

// Opcode is the kind of a frame (RFC 6455, section 5.2).
type Opcode byte

// The opcodes of RFC 6455.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// Code says why a connection is closed (RFC 6455, section 7.4).
type Code uint16

// The codes that Skein sends or answers. It never starts a close with
// [CodeNormal]: phoenix.js before 1.8.16 does not come back from it.
const (
	CodeNormal     Code = 1000 // only as the echo of a client's own close
	CodeGoingAway  Code = 1001 // disconnected by a backend or operator
	CodeProtocol   Code = 1002 // broken framing, or silent for too long
	CodeNoStatus   Code = 1005 // never on the wire: a close without a code
	CodeAbnormal   Code = 1006 // never on the wire: the connection broke
	CodeBadPayload Code = 1007 // text that is not UTF-8, or damaged compression
	CodePolicy     Code = 1008 // a limit or a rule of the operator
	CodeTooBig     Code = 1009 // frame or message over the limit
	CodeInternal   Code = 1011 // a message that is not Phoenix's protocol
	CodeRestart    Code = 1012 // drain or rebalance: come back at once
	CodeTryAgain   Code = 1013 // too slow a reader
)

// Frame is one unmasked, final frame as a server sends it: encoded once, then
// shared by every connection that gets it. It is immutable.
type Frame struct {
	wire   []byte
	header uint8 // length of the header in wire
}

// MaxHeader is the longest header of an unmasked frame, in bytes.
const MaxHeader = 10

// New returns the frame with the given payload, which it copies.
func New(op Opcode, payload []byte) Frame {
	return Build(op, len(payload), func(b []byte) []byte { return append(b, payload...) })
}

// Build returns a frame whose payload is what fill appends. size is what the
// caller expects to append, in bytes: right, it saves a copy; wrong, it does no
// harm.
func Build(op Opcode, size int, fill func([]byte) []byte) Frame {
	return seal(op, fill(make([]byte, MaxHeader, MaxHeader+size)))
}

// seal puts the header right before the payload, for which the first MaxHeader
// bytes of buf are room.
func seal(op Opcode, buf []byte) Frame {
	n := len(buf) - MaxHeader
	h := headerLen(n)
	wire := buf[MaxHeader-h:]
	putHeader(wire, op, n)
	return Frame{wire: wire, header: uint8(h)} //nolint:gosec // at most MaxHeader
}

// Wire is the whole frame as it goes to the socket. It must not be changed.
func (f Frame) Wire() []byte { return f.wire }

// Payload is the frame's payload. It must not be changed.
func (f Frame) Payload() []byte { return f.wire[f.header:] }

// Op is the frame's opcode.
func (f Frame) Op() Opcode { return Opcode(f.wire[0] & 0x0f) }

// Deflated reports whether the payload is compressed, see [Deflate].
func (f Frame) Deflated() bool { return f.wire[0]&rsv1 != 0 }

// Len is the size of the whole frame in bytes.
func (f Frame) Len() int { return len(f.wire) }

func headerLen(payload int) int {
	switch {
	case payload < 126:
		return 2
	case payload <= 0xffff:
		return 4
	default:
		return 10
	}
}

func putHeader(b []byte, op Opcode, payload int) {
	b[0] = 0x80 | byte(op)
	switch {
	case payload < 126:
		b[1] = byte(payload) //nolint:gosec // checked above
	case payload <= 0xffff:
		b[1] = 126
		binary.BigEndian.PutUint16(b[2:], uint16(payload))
	default:
		b[1] = 127
		binary.BigEndian.PutUint64(b[2:], uint64(payload))
	}
}
