package client

import (
	"encoding/json"
	"errors"
	"fmt"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// Message is one event on a topic.
type Message struct {
	Topic string // 1 to 1024 bytes, such as "room:42"
	Event string // 1 to 255 bytes, such as "message"

	// Payload is what encoding/json makes an object of, a [json.RawMessage] that
	// is the text of one, a [Binary], or nil for the empty object. Of a message
	// that comes it is a json.RawMessage or a Binary.
	Payload any
}

// Binary is a payload that clients get in a binary frame. With it a topic has at
// most 255 bytes.
type Binary []byte

// Decode reads the payload of a message that came into v, as [json.Unmarshal]
// does.
func (m Message) Decode(v any) error {
	text, ok := m.Payload.(json.RawMessage)
	if !ok {
		return errors.New("the payload is not JSON")
	}
	return json.Unmarshal(text, v)
}

// encode is the message that goes to a router.
func (m Message) encode() (*routerv1.Message, error) {
	encoded := &routerv1.Message{Topic: m.Topic, Event: m.Event}
	switch payload := m.Payload.(type) {
	case nil:
	case Binary:
		encoded.Payload = &routerv1.Message_Binary{Binary: payload}
	case json.RawMessage:
		encoded.Payload = &routerv1.Message_Json{Json: string(payload)}
	default:
		text, err := json.Marshal(payload)
		if err != nil {
			return nil, fmt.Errorf("payload: %w", err)
		}
		encoded.Payload = &routerv1.Message_Json{Json: string(text)}
	}
	return encoded, nil
}

// decode is the message that came from a router.
func decode(m *routerv1.Message) Message {
	decoded := Message{Topic: m.GetTopic(), Event: m.GetEvent()}
	if payload, ok := m.GetPayload().(*routerv1.Message_Binary); ok {
		decoded.Payload = Binary(payload.Binary)
	} else {
		decoded.Payload = json.RawMessage(m.GetJson())
	}
	return decoded
}
