package bench

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
)

// Opcodes of RFC 6455 that a client meets.
const (
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xA
)

// maxFrame bounds what a frame may claim to be.
const maxFrame = 16 << 20

var (
	errFragmented = errors.New("fragmented frame")
	errReserved   = errors.New("reserved bits set")
	errHuge       = errors.New("frame over 16 MiB")
)

// frame is one frame as read. Its payload points into the buffer it was read
// from and is already unmasked.
type frame struct {
	op      byte
	payload []byte
}

// next takes the first frame of b. size is what it takes up, 0 if b does not
// hold all of it yet.
func next(b []byte) (f frame, size int, err error) {
	if len(b) < 2 {
		return f, 0, nil
	}
	switch {
	case b[0]&0x70 != 0:
		return f, 0, errReserved
	case b[0]&0x80 == 0 || b[0]&0x0f == 0:
		return f, 0, errFragmented
	}
	length, head := uint64(b[1]&0x7f), 2
	switch length {
	case 126:
		head = 4
	case 127:
		head = 10
	}
	masked := b[1]&0x80 != 0
	start := head
	if masked {
		start += 4
	}
	if len(b) < start {
		return f, 0, nil
	}
	switch head {
	case 4:
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 10:
		length = binary.BigEndian.Uint64(b[2:])
	}
	if length > maxFrame {
		return f, 0, errHuge
	}
	size = start + int(length)
	if len(b) < size {
		return f, 0, nil
	}
	payload := b[start:size]
	if masked {
		mask(payload, binary.LittleEndian.Uint32(b[head:]))
	}
	return frame{b[0] & 0x0f, payload}, size, nil
}

// appendFrame appends one frame as a client sends it: masked, with a fresh key.
func appendFrame(dst []byte, op byte, payload []byte) []byte {
	dst = appendHeader(dst, op, 0x80, len(payload))
	key := rand.Uint32()
	dst = binary.LittleEndian.AppendUint32(dst, key)
	start := len(dst)
	dst = append(dst, payload...)
	mask(dst[start:], key)
	return dst
}

// appendServerFrame appends one frame as a server sends it: not masked.
func appendServerFrame(dst []byte, op byte, payload []byte) []byte {
	return append(appendHeader(dst, op, 0, len(payload)), payload...)
}

func appendHeader(dst []byte, op, masked byte, n int) []byte {
	dst = append(dst, 0x80|op)
	switch {
	case n < 126:
		return append(dst, masked|byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, masked|126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, masked|127), uint64(n))
}

// mask applies the key, as RFC 6455 section 5.3 has it, eight bytes at a time.
func mask(b []byte, key uint32) {
	wide := uint64(key)<<32 | uint64(key)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(key >> (8 * (i & 3)))
	}
}
