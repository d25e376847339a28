package wsframe

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

// rsv1 marks the first frame of a compressed message (RFC 7692, section 6).
const rsv1 = 0x40

// DeflateMin is the payload, in bytes, from which compressing pays: below, what
// it saves of a typical JSON text is less than what the work costs.
const DeflateMin = 512

// flushed ends what a flush of deflate writes. It is not sent: both sides know
// it (RFC 7692, section 7.2.1).
const flushed = "\x00\x00\xff\xff"

// Deflate returns the compressed variant of a text or binary frame, for
// connections that negotiated permessage-deflate without context takeover. It
// returns f itself if that would not be smaller, and for all other frames. A
// frame for many connections should be compressed once: it costs some 7 µs for
// a KiB, and the variant can be shared like any frame. Deflate may be called
// concurrently; it keeps no memory.
func Deflate(f Frame) Frame {
	if op := f.Op(); op != Text && op != Binary || f.Deflated() {
		return f
	}
	out := appender(make([]byte, MaxHeader, MaxHeader+len(f.Payload())/2+64))
	if flate.StatelessDeflate(&out, f.Payload(), false, nil) != nil || !bytes.HasSuffix(out, []byte(flushed)) {
		return f // it never happens: an appender takes everything
	}
	d := seal(f.Op(), out[:len(out)-len(flushed)])
	d.wire[0] |= rsv1
	if d.Len() >= f.Len() {
		return f
	}
	return d
}

// appender is a writer that never fails.
type appender []byte

// Write implements io.Writer.
func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// Inflater decompresses messages of clients. It belongs to one goroutine, which
// may use it for all of its connections: with no context takeover, nothing of a
// message is needed for the next. It holds some 45 KiB, and what the last message
// inflated to. Its zero value is ready.
type Inflater struct {
	source  bytes.Reader
	reader  io.ReadCloser
	in, out []byte
}

const (
	// trailer makes a reader see the end of a message: the end of a flush, and an
	// empty final block.
	trailer = flushed + "\x01\x00\x00\xff\xff"
	// inflateKeep is the most that an inflater keeps of each of its buffers from
	// one message to the next, in bytes.
	inflateKeep = 64 << 10
	// inflateStart is the first size of the output, in bytes; it grows with what
	// comes out, never with what a client promises.
	inflateStart = 4 << 10
)

// inflate returns the decompressed payload of a message, which is valid until
// the next call, or an [Error]: one of more than limit bytes is not inflated any
// further.
func (z *Inflater) inflate(payload []byte, limit int) ([]byte, error) {
	if len(payload) == 0 { // nothing was compressed
		return payload, nil
	}
	if cap(z.in) > inflateKeep {
		z.in = nil
	}
	if cap(z.out) > inflateKeep || z.out == nil {
		z.out = make([]byte, 0, inflateStart)
	}
	z.in, z.out = append(append(z.in[:0], payload...), trailer...), z.out[:0]
	z.source.Reset(z.in)
	for {
		z.reset()
		err := z.read(limit)
		switch {
		case err != nil:
			return nil, err
		case z.source.Len() <= len(trailer):
			return z.out, nil
		}
		// The client ended a block as a stream's last one. What follows is a stream
		// of its own, at least the byte that aligns an empty block.
	}
}

// reset begins a stream at the place of the source.
func (z *Inflater) reset() {
	if r, ok := z.reader.(flate.Resetter); ok && r.Reset(&z.source, nil) == nil {
		return
	}
	z.reader = flate.NewReader(&z.source)
}

// read appends a stream to the output.
func (z *Inflater) read(limit int) error {
	for {
		if len(z.out) == cap(z.out) {
			z.out = append(z.out, 0)[:len(z.out)]
		}
		n, err := z.reader.Read(z.out[len(z.out):cap(z.out)])
		z.out = z.out[:len(z.out)+n]
		switch {
		case len(z.out) > limit:
			return &Error{CodeTooBig, "message over the limit"}
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &Error{CodeBadPayload, "compressed data is damaged"}
		}
	}
}
