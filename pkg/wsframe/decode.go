package wsframe

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// Limits bound what a client may send, in bytes. They are checked as soon as a
// header is read, before memory is spent on the payload.
type Limits struct {
	Frame   int // one frame with its header and mask, as Phoenix on Bandit counts it
	Message int // payload of one message, over all of its fragments and inflated
}

// wire is how many bytes of payload may make a message: deflate enlarges what it
// cannot compress by five bytes a block, and no library makes blocks below 16 KiB
// of that.
func (l Limits) wire(deflated bool) int {
	if !deflated {
		return l.Message
	}
	return l.Message + l.Message>>10 + 64
}

// MaxPayload is the longest payload of a client's frame under the limit.
func (l Limits) MaxPayload() int {
	for _, h := range []int{10, 4, 2} {
		if n := l.Frame - h - maskLen; headerLen(n) == h {
			return n
		}
	}
	// Between two header lengths: the longest payload of the shorter header.
	if l.Frame > 0xffff {
		return 0xffff
	}
	return min(max(l.Frame-2-maskLen, 0), 125)
}

// Error is a client's violation of RFC 6455 or of [Limits]. The connection is
// to be closed with Code.
type Error struct {
	Code   Code
	Reason string
}

// Error is the reason.
func (e *Error) Error() string { return "wsframe: " + e.Reason }

// Message is a complete data message or one control frame. A Message with Op
// [Continuation] is a fragment that was taken in: a sign of life, nothing more.
type Message struct {
	Op      Opcode
	Payload []byte
}

// Decoder turns the bytes a client sends into messages. It is incremental: it
// takes whatever arrived and keeps only what is incomplete, so an idle decoder
// holds no memory. The zero value is ready. After an error it must not be used.
type Decoder struct {
	partial  []byte // a frame that is not complete yet
	message  []byte // payload so far of a fragmented message
	op       Opcode // of that message, Continuation if there is none
	deflated bool   // that message is compressed
}

// Next takes the next frame from data, which it unmasks in place, and returns
// what follows it. Without a complete frame in data it keeps all of it and
// returns ok false: call again with later bytes. The payload is valid until
// data is overwritten, Next is called again, or z is used again. Compressed
// messages are inflated by z; without one, which means that compression was not
// negotiated, they are an [Error].
func (d *Decoder) Next(data []byte, limits Limits, z *Inflater) (m Message, rest []byte, ok bool, err error) {
	frame, rest, h, err := d.frame(data, limits, z != nil)
	if err != nil || frame == nil {
		return Message{}, nil, false, err
	}
	payload := frame[h.len:]
	unmask(payload, [maskLen]byte(frame[h.len-maskLen:]))
	m, err = d.accept(h, payload, limits, z)
	return m, rest, err == nil, err
}

// frame cuts the next frame from what was kept and data, or keeps data.
func (d *Decoder) frame(data []byte, limits Limits, deflate bool) (frame, rest []byte, h header, err error) {
	if len(d.partial) == 0 {
		h, err = d.header(data, limits, deflate)
		if err != nil {
			return nil, nil, h, err
		}
		if h.len == 0 || len(data) < h.total() {
			d.keep(data, h)
			return nil, nil, h, nil
		}
		return data[:h.total()], data[h.total():], h, nil
	}
	for {
		h, err = d.header(d.partial, limits, deflate)
		if err != nil {
			return nil, nil, h, err
		}
		want := headerWant(d.partial)
		if h.len > 0 {
			want = h.total()
		}
		n := min(want-len(d.partial), len(data))
		d.keep(data[:n], h)
		data = data[n:]
		switch {
		case len(d.partial) < want:
			return nil, nil, h, nil
		case h.len > 0:
			frame, d.partial = d.partial, nil
			return frame, data, h, nil
		}
	}
}

// smallFrame is the size up to which a frame's buffer is allocated at once.
const smallFrame = 4 << 10

// keep copies data behind the incomplete frame. A large buffer grows with what
// arrives, not with what a header promises.
func (d *Decoder) keep(data []byte, h header) {
	need := len(d.partial) + len(data)
	if need > cap(d.partial) {
		size := max(need, 2*cap(d.partial), 16)
		if h.len > 0 {
			size = max(need, min(h.total(), max(size, smallFrame)))
		}
		d.partial = slices.Grow(d.partial, size-len(d.partial))
	}
	d.partial = append(d.partial, data...)
}

// accept handles a complete frame.
func (d *Decoder) accept(h header, payload []byte, limits Limits, z *Inflater) (Message, error) {
	if h.op.IsControl() {
		return Message{Op: h.op, Payload: payload}, nil
	}
	op, deflated := h.op, h.deflated
	if h.op == Continuation {
		op, deflated = d.op, d.deflated
	}
	if len(d.message)+len(payload) > limits.wire(deflated) {
		return Message{}, &Error{CodeTooBig, "message over the limit"}
	}
	if !h.final {
		d.message, d.op, d.deflated = append(d.message, payload...), op, deflated
		return Message{Op: Continuation}, nil
	}
	if h.op == Continuation {
		payload, d.message = append(d.message, payload...), nil
		d.op, d.deflated = Continuation, false
	}
	if deflated {
		var err error
		if payload, err = z.inflate(payload, limits.Message); err != nil {
			return Message{}, err
		}
	}
	if op == Text && !utf8.Valid(payload) {
		return Message{}, &Error{CodeBadPayload, "text is not UTF-8"}
	}
	return Message{Op: op, Payload: payload}, nil
}

const maskLen = 4

// header of a client's frame. len is zero as long as it is incomplete.
type header struct {
	op       Opcode
	final    bool
	deflated bool
	len      int // with the mask
	payload  int
}

func (h header) total() int { return h.len + h.payload }

// headerWant says how many bytes of a frame must be there to know its header,
// or, with fewer than two, to know that.
func headerWant(b []byte) int {
	if len(b) < 2 {
		return 2
	}
	switch b[1] & 0x7f {
	case 126:
		return 4 + maskLen
	case 127:
		return 10 + maskLen
	default:
		return 2 + maskLen
	}
}

// header parses the header at the start of b and refuses what the protocol or
// the limits forbid as early as it shows.
func (d *Decoder) header(b []byte, limits Limits, deflate bool) (header, error) {
	if len(b) < 2 {
		return header{}, nil
	}
	h := header{op: Opcode(b[0] & 0x0f), final: b[0]&0x80 != 0}
	h.deflated = deflate && b[0]&rsv1 != 0 && (h.op == Text || h.op == Binary)
	if err := d.check(h, b); err != nil {
		return header{}, err
	}
	want := headerWant(b)
	if len(b) < want {
		return header{}, nil
	}
	size := uint64(b[1] & 0x7f)
	switch size {
	case 126:
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		size = binary.BigEndian.Uint64(b[2:])
	}
	if size>>63 != 0 {
		return header{}, &Error{CodeProtocol, "length with its highest bit set"}
	}
	if size > uint64(max(limits.Frame, 0)) || want+int(size) > limits.Frame {
		return header{}, &Error{CodeTooBig, "frame over the limit"}
	}
	h.len, h.payload = want, int(size)
	return h, nil
}

// check refuses a frame by its first two bytes.
func (d *Decoder) check(h header, b []byte) error {
	reserved := b[0] & 0x70
	if h.deflated {
		reserved &^= rsv1
	}
	switch {
	case reserved != 0:
		return &Error{CodeProtocol, "reserved bit set"}
	case b[1]&0x80 == 0:
		return &Error{CodeProtocol, "frame is not masked"}
	case h.op.IsControl() && b[1]&0x7f > MaxControl:
		return &Error{CodeProtocol, "control frame over 125 bytes"}
	case h.op.IsControl() && !h.final:
		return &Error{CodeProtocol, "fragmented control frame"}
	}
	switch h.op {
	case Close, Ping, Pong:
	case Continuation:
		if d.op == Continuation {
			return &Error{CodeProtocol, "continuation of nothing"}
		}
	case Text, Binary:
		if d.op != Continuation {
			return &Error{CodeProtocol, "new message inside a fragmented one"}
		}
	default:
		return &Error{CodeProtocol, "reserved opcode"}
	}
	return nil
}

// unmask XORs b with the key, eight bytes at a time.
func unmask(b []byte, key [maskLen]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	for len(b) >= 32 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		binary.LittleEndian.PutUint64(b[8:], binary.LittleEndian.Uint64(b[8:])^k)
		binary.LittleEndian.PutUint64(b[16:], binary.LittleEndian.Uint64(b[16:])^k)
		binary.LittleEndian.PutUint64(b[24:], binary.LittleEndian.Uint64(b[24:])^k)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}
