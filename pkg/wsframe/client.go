package wsframe

import "encoding/binary"

// AppendClient appends the frame that a client sends: masked with the key, the
// last one of its message if final. Load generators and tests use it.
func AppendClient(dst []byte, op Opcode, final bool, key [4]byte, payload []byte) []byte {
	first := byte(op)
	if final {
		first |= 0x80
	}
	switch n := len(payload); headerLen(n) {
	case 2:
		dst = append(dst, first, 0x80|byte(n)) //nolint:gosec // fits, by headerLen
	case 4:
		dst = binary.BigEndian.AppendUint16(append(dst, first, 0x80|126), uint16(n)) //nolint:gosec // fits, by headerLen
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, 0x80|127), uint64(n))
	}
	dst = append(dst, key[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	unmask(dst[start:], key)
	return dst
}
