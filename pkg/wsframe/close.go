package wsframe

import (
	"encoding/binary"
	"unicode/utf8"
)

// MaxControl is the longest payload of a control frame, in bytes.
const MaxControl = 125

// IsControl reports whether the opcode is that of a control frame.
func (op Opcode) IsControl() bool { return op&0x8 != 0 }

// NewClose returns a close frame. A reason that does not fit is cut between two
// characters. [CodeNoStatus] makes a frame without code and reason.
func NewClose(code Code, reason string) Frame {
	if code == CodeNoStatus {
		return New(Close, nil)
	}
	if len(reason) > MaxControl-2 {
		end := MaxControl - 2
		for end > 0 && !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end]
	}
	return Build(Close, 2+len(reason), func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint16(b, uint16(code)), reason...)
	})
}

// ParseClose reads the payload of a client's close frame. Without a code it
// returns [CodeNoStatus]. Codes that nobody may send are an [Error].
func ParseClose(payload []byte) (Code, string, error) {
	switch len(payload) {
	case 0:
		return CodeNoStatus, "", nil
	case 1:
		return 0, "", &Error{CodeProtocol, "close payload of one byte"}
	}
	code, reason := Code(binary.BigEndian.Uint16(payload)), payload[2:]
	if !code.sendable() {
		return 0, "", &Error{CodeProtocol, "close code out of range"}
	}
	if !utf8.Valid(reason) {
		return 0, "", &Error{CodeProtocol, "close reason is not UTF-8"}
	}
	return code, string(reason), nil
}

// sendable reports whether a peer may send the code. 1012 to 2999 are refused
// as Phoenix on Bandit refuses them, although some are registered by now.
func (c Code) sendable() bool {
	switch {
	case c >= 3000:
		return c <= 4999
	case c == 1004, c == CodeNoStatus, c == CodeAbnormal:
		return false
	default:
		return c >= 1000 && c <= 1011
	}
}
