package longpoll

import (
	"bytes"
	"encoding/base64"
	"errors"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// maxBatch is how many messages one POST may hold. phoenix.js sends at most 100
// since 1.8.6, before that whatever one turn of its event loop made. Phoenix
// drops what is over 100 and says 200.
const maxBatch = 4096

var errBatch = errors.New("longpoll: too many messages in one request")

// ndjson is the type of a body that has one message in each line.
const ndjson = "application/x-ndjson"

// parseBody returns the messages of a POST. They alias body.
func parseBody(contentType string, body []byte) ([]*meshv1.PollMessage, error) {
	if contentType != ndjson {
		return []*meshv1.PollMessage{parseMessage(body)}, nil
	}
	var messages []*meshv1.PollMessage
	for line := range bytes.Lines(body) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			continue
		}
		if len(messages) == maxBatch {
			return nil, errBatch
		}
		messages = append(messages, parseMessage(line))
	}
	return messages, nil
}

// parseMessage takes what does not begin like a message of either serializer for
// base64 of a binary one; what is neither is left to the session to refuse.
func parseMessage(text []byte) *meshv1.PollMessage {
	if len(text) > 0 && text[0] != '[' && text[0] != '{' {
		if data, err := base64.StdEncoding.AppendDecode(nil, text); err == nil {
			return &meshv1.PollMessage{Data: data, Binary: true}
		}
	}
	return &meshv1.PollMessage{Data: text}
}
