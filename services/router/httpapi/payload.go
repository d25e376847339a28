package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// Names of a message's fields in JSON.
const (
	payloadField  = "payload"
	jsonField     = "json"
	messageField  = "message"
	messagesField = "messages"
)

// hidePayload makes the payload of a message a string, its json: as an object the
// parser of protos would take it apart, and lose the order of keys and large
// integers. What is not shaped like a message is left for that parser to refuse.
func hidePayload(text []byte) ([]byte, error) {
	message, ok := parse[map[string]json.RawMessage](text)
	if !ok || message[payloadField] == nil {
		return text, nil
	}
	if err := hide(message); err != nil {
		return nil, err
	}
	return json.Marshal(message)
}

// hidePayloads is [hidePayload] for the messages of a batch.
func hidePayloads(text []byte) ([]byte, error) {
	batch, ok := parse[map[string]json.RawMessage](text)
	if !ok {
		return text, nil
	}
	messages, ok := parse[[]map[string]json.RawMessage](batch[messagesField])
	if !ok {
		return text, nil
	}
	for _, m := range messages {
		if err := hide(m); err != nil {
			return nil, err
		}
	}
	hidden, err := json.Marshal(messages)
	if err != nil {
		return nil, err
	}
	batch[messagesField] = hidden
	return json.Marshal(batch)
}

// parse reports whether text has the shape of a T.
func parse[T any](text []byte) (parsed T, ok bool) {
	ok = json.Unmarshal(text, &parsed) == nil
	return parsed, ok
}

func hide(message map[string]json.RawMessage) error {
	payload, ok := message[payloadField]
	if !ok || string(payload) == "null" {
		return nil
	}
	if message[jsonField] != nil {
		return errors.New("a message has either a payload or json")
	}
	if payload[0] != '{' {
		return errors.New("payload: must be a JSON object")
	}
	quoted, err := json.Marshal(string(payload))
	delete(message, payloadField)
	message[jsonField] = quoted
	return err
}

// showPayload is the other way: in text, which is a step of a subscription with
// message m, it puts the payload itself in place of its json.
func showPayload(text []byte, m *routerv1.Message) ([]byte, error) {
	payload, ok := m.GetPayload().(*routerv1.Message_Json)
	if !ok {
		return text, nil
	}
	var step map[string]map[string]json.RawMessage
	if err := json.Unmarshal(text, &step); err != nil {
		return nil, err
	}
	delete(step[messageField], jsonField)
	step[messageField][payloadField] = json.RawMessage(payload.Json)
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(step)
	return bytes.TrimSpace(b.Bytes()), err
}
