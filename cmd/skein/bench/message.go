package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// event is the name of every message that is published.
const event = "bench"

// Bounds of a payload: the least holds the largest numbers.
const (
	minPayload = 64
	maxPayload = 60_000
)

func topicName(i int) string { return "bench:" + strconv.Itoa(i) }

// stamp says which message a payload is: the sequence number of one publisher
// of its topic, and when it was sent.
type stamp struct {
	publisher uint32
	seq       uint32
	sent      time.Duration // since the run began
}

// appendPayload appends the JSON object of a stamp, padded to size bytes.
func appendPayload(dst []byte, s stamp, size int) []byte {
	start := len(dst)
	dst = append(dst, `{"p":`...)
	dst = strconv.AppendUint(dst, uint64(s.publisher), 10)
	dst = append(dst, `,"n":`...)
	dst = strconv.AppendUint(dst, uint64(s.seq), 10)
	dst = append(dst, `,"t":`...)
	dst = strconv.AppendInt(dst, int64(s.sent), 10)
	dst = append(dst, `,"x":"`...)
	for len(dst)-start < size-2 {
		dst = append(dst, 'x')
	}
	return append(dst, `"}`...)
}

var errStamp = errors.New("not a payload of this run")

// parsePayload reads the stamp at the start of a payload.
func parsePayload(b []byte) (stamp, error) {
	p, b, ok1 := number(b, `{"p":`)
	n, b, ok2 := number(b, `,"n":`)
	t, _, ok3 := number(b, `,"t":`)
	if !ok1 || !ok2 || !ok3 || p > 1<<32-1 || n > 1<<32-1 {
		return stamp{}, errStamp
	}
	return stamp{uint32(p), uint32(n), time.Duration(t)}, nil
}

// number reads a prefix and the digits behind it.
func number(b []byte, prefix string) (v uint64, rest []byte, ok bool) {
	if len(b) <= len(prefix) || string(b[:len(prefix)]) != prefix {
		return 0, b, false
	}
	i := len(prefix)
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		v = v*10 + uint64(b[i]-'0')
	}
	return v, b[i:], i > len(prefix) && i-len(prefix) < 20
}

// broadcastHead is how every broadcast of a topic begins, up to its payload. A
// frame that begins so needs no JSON parser.
func broadcastHead(topic string) []byte {
	return fmt.Appendf(nil, `[null,null,%q,%q,`, topic, event)
}

// appendPush appends a message of the Phoenix protocol, V2 in JSON, with the
// payload of s.
func appendPush(dst []byte, topic string, s stamp, size int) []byte {
	dst = append(dst, `["1","`...)
	dst = strconv.AppendUint(dst, uint64(s.seq), 10)
	dst = append(dst, `","`...)
	dst = append(dst, topic...)
	dst = append(dst, `","`+event+`",`...)
	return append(appendPayload(dst, s, size), ']')
}

// message is a decoded message of the protocol.
type message struct {
	joinRef, ref, topic, event string
	payload                    json.RawMessage
}

func decode(b []byte) (message, error) {
	var fields []json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return message{}, fmt.Errorf("message: %w", err)
	}
	if len(fields) != 5 {
		return message{}, fmt.Errorf("message: %d fields, want 5", len(fields))
	}
	var m message
	for i, to := range []*string{&m.joinRef, &m.ref, &m.topic, &m.event} {
		if err := json.Unmarshal(fields[i], to); err != nil { // null leaves it empty
			return message{}, fmt.Errorf("message: field %d: %w", i, err)
		}
	}
	m.payload = fields[4]
	return m, nil
}

// replied says whether a reply's status is "ok".
func replied(payload []byte) bool {
	if bytes.HasPrefix(payload, []byte(`{"status":"ok"`)) {
		return true
	}
	var reply struct {
		Status string `json:"status"`
	}
	return json.Unmarshal(payload, &reply) == nil && reply.Status == "ok"
}
