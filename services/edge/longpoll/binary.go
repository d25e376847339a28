package longpoll

import (
	"encoding/base64"
	"encoding/json"
	"errors"

	"github.com/skein-mesh/skein/pkg/channel"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Kinds of the binary frames that a server sends.
const (
	pushKind = iota
	replyKind
	broadcastKind
)

var errBinary = errors.New("longpoll: not a binary frame of the protocol")

// bytesInText stands where a binary payload would.
type bytesInText map[string]string

func newBytesInText(payload []byte) bytesInText {
	return bytesInText{"_skein_b64": base64.StdEncoding.EncodeToString(payload)}
}

// text is a message as it stands among those of an answer.
func text(m *meshv1.PollMessage) (string, error) {
	if !m.GetBinary() {
		return string(m.GetData()), nil
	}
	message, err := unpack(m.GetData())
	if err != nil {
		return "", err
	}
	encoded, err := json.Marshal(message)
	return string(encoded), err
}

// unpack turns a binary frame into the [join_ref, ref, topic, event, payload] of
// a text frame.
func unpack(frame []byte) ([5]any, error) {
	if len(frame) == 0 {
		return [5]any{}, errBinary
	}
	switch frame[0] {
	case pushKind:
		f, payload, ok := fields(frame, 3)
		return [5]any{orNull(f[0]), nil, f[1], f[2], payload}, notOK(ok)
	case replyKind:
		f, payload, ok := fields(frame, 4)
		response := map[string]any{"status": f[3], "response": payload}
		return [5]any{orNull(f[0]), orNull(f[1]), f[2], channel.EventReply, response}, notOK(ok)
	case broadcastKind:
		f, payload, ok := fields(frame, 2)
		return [5]any{nil, nil, f[0], f[1], payload}, notOK(ok)
	}
	return [5]any{}, errBinary
}

// fields are the n strings of a frame's header, and what follows them.
func fields(frame []byte, n int) (f [4]string, payload bytesInText, ok bool) {
	if len(frame) < 1+n {
		return f, payload, false
	}
	rest := frame[1+n:]
	for i := range n {
		size := int(frame[1+i])
		if size > len(rest) {
			return f, payload, false
		}
		f[i], rest = string(rest[:size]), rest[size:]
	}
	return f, newBytesInText(rest), true
}

// orNull is null for a ref that is not there.
func orNull(ref string) any {
	if ref == "" {
		return nil
	}
	return ref
}

func notOK(ok bool) error {
	if ok {
		return nil
	}
	return errBinary
}
