package phx

import (
	"fmt"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// The binary frames of Supabase's realtime-js, which does not understand those
// of Phoenix. An encoding says what the payload is.
const (
	userPushKind      = 3
	userBroadcastKind = 4

	opaqueEncoding = 0
	jsonEncoding   = 1
)

const eventBroadcast Term = `"broadcast"`

// decodeUserPush reads 3, five lengths of one byte (join_ref, ref, topic, event,
// metadata), the encoding, these five strings, and the payload until the end.
// Metadata asks Supabase to store the message; nothing here does.
func decodeUserPush(data []byte) (Message, error) {
	const lengths, strings = 7, 5
	if len(data) < lengths {
		return Message{}, fmt.Errorf("%w: truncated broadcast", ErrMalformed)
	}
	var tokens [strings]token
	payload, err := cutTokens(tokens[:], data[1:1+strings], data[lengths:])
	if err != nil {
		return Message{}, err
	}
	m, err := newMessage([4]token(tokens[:4]))
	if err != nil {
		return Message{}, err
	}
	event := m.Event
	m.Event = eventBroadcast
	switch data[lengths-1] {
	case opaqueEncoding:
		m.Payload, m.Binary, m.UserEvent = payload, true, event
		return m, nil
	case jsonEncoding:
		if !Valid(payload) {
			return Message{}, fmt.Errorf("%w: payload of a broadcast", ErrMalformed)
		}
		m.Payload, m.Object = wrapUserPush(event, payload), true
		return m, nil
	default:
		return Message{}, fmt.Errorf("%w: encoding of a broadcast", ErrMalformed)
	}
}

func wrapUserPush(event Term, payload []byte) []byte {
	const fixed = len(`{"type":"broadcast","event":,"payload":}`)
	b := make([]byte, 0, fixed+len(event)+len(payload))
	b = append(append(b, `{"type":"broadcast","event":`...), event...)
	b = append(append(b, `,"payload":`...), payload...)
	return append(b, '}')
}

// userBroadcast is 4, three lengths of one byte (topic, event, metadata), the
// encoding, topic and event, and the payload.
func userBroadcast(topic, event string, payload []byte) (wsframe.Frame, error) {
	if len(topic) > maxHeaderField || len(event) > maxHeaderField {
		return wsframe.Frame{}, ErrHeader
	}
	const fixed = 5
	return wsframe.Build(wsframe.Binary, fixed+len(topic)+len(event)+len(payload), func(b []byte) []byte {
		b = append(b, userBroadcastKind, byte(len(topic)), byte(len(event)), 0, opaqueEncoding) //nolint:gosec // at most maxHeaderField
		b = append(append(b, topic...), event...)
		return append(b, payload...)
	}), nil
}
