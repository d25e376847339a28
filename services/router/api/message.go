package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skein-mesh/skein/pkg/channel"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

const emptyObject = "{}"

// problems are what is wrong with a message, field by field.
type problems []*errdetails.BadRequest_FieldViolation

func badField(name, format string, args ...any) problems {
	return problems{{Field: name, Description: fmt.Sprintf(format, args...)}}
}

func (p problems) reason() string {
	reasons := make([]string, 0, len(p))
	for _, v := range p {
		reasons = append(reasons, v.GetField()+": "+v.GetDescription())
	}
	return strings.Join(reasons, "; ")
}

// err is the status of a call that consists of one message.
func (p problems) err() error {
	s := status.New(codes.InvalidArgument, p.reason())
	if detailed, err := s.WithDetails(&errdetails.BadRequest{FieldViolations: p}); err == nil {
		s = detailed
	}
	return s.Err()
}

// result is the result of one message of several.
func (p problems) result() *routerv1.PublishResult {
	return &routerv1.PublishResult{Code: int32(codes.InvalidArgument), Reason: p.reason()}
}

// field is the name of a message in every request that has one.
const field = "message"

// validate turns a backend's message into a broadcast, or tells everything that
// is wrong with it.
func validate(m *routerv1.Message) (*meshv1.Broadcast, problems) {
	if m == nil {
		return nil, badField(field, "is missing")
	}
	bad := validateTopic(m.GetTopic(), field+".topic")
	bad = append(bad, because(field+".event", channel.ValidateEvent(m.GetEvent()))...)
	b := &meshv1.Broadcast{Topic: m.GetTopic(), Event: m.GetEvent(), Encoding: meshv1.Encoding_ENCODING_JSON}
	switch payload := m.GetPayload().(type) {
	case *routerv1.Message_Binary:
		b.Payload, b.Encoding = payload.Binary, meshv1.Encoding_ENCODING_BINARY
	case *routerv1.Message_Json:
		b.Payload = []byte(payload.Json)
		if !isObject(b.GetPayload()) {
			bad = append(bad, badField(field+".json", "must be the text of a JSON object")...)
		}
	case *routerv1.Message_Object:
		var err error
		if b.Payload, err = objectText(payload.Object); err != nil {
			bad = append(bad, badField(field+".payload", "must have a JSON form: every value set, every number finite")...)
		}
	default:
		b.Payload = []byte(emptyObject)
	}
	if b.GetEncoding() == meshv1.Encoding_ENCODING_BINARY && len(m.GetTopic()) > maxBinaryTopic {
		bad = append(bad, badField(field+".topic", "must be at most %d bytes with a binary payload, got %d", maxBinaryTopic, len(m.GetTopic()))...)
	}
	if bad != nil {
		return nil, bad
	}
	return b, nil
}

// objectText is an object as JSON, the same each time.
func objectText(o *structpb.Struct) ([]byte, error) {
	text, err := protojson.Marshal(o)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer // protojson varies its spaces
	err = json.Compact(&compact, text)
	return compact.Bytes(), err
}

// maxBinaryTopic is what the one length byte of the V2 binary frame can say.
const maxBinaryTopic = 255

func validateTopic(topic, name string) problems {
	return because(name, channel.ValidateTopic(topic))
}

func because(name string, err error) problems {
	if err == nil {
		return nil
	}
	return badField(name, "%s", err.Error())
}

// isObject reports whether text is one JSON object in UTF-8: clients get these
// very bytes, and theirs are stricter than encoding/json about encoding.
func isObject(text []byte) bool {
	for _, c := range text {
		switch c {
		case ' ', '\t', '\n', '\r':
			continue
		case '{':
			return utf8.Valid(text) && json.Valid(text)
		}
		return false
	}
	return false
}

// explain turns an outcome into a status.
func explain(o exchange.Outcome) (codes.Code, string) {
	switch o.Error {
	case meshv1.PublishError_PUBLISH_ERROR_UNSPECIFIED:
		return codes.OK, ""
	case meshv1.PublishError_PUBLISH_ERROR_OVERLOADED:
		return codes.ResourceExhausted, "a queue on the way is full"
	case meshv1.PublishError_PUBLISH_ERROR_UNAVAILABLE:
		return codes.Unavailable, "the owner of the topic could not be reached, or was lost before it answered"
	default:
		return codes.Unavailable, o.Error.String()
	}
}

func resultOf(o exchange.Outcome) *routerv1.PublishResult {
	code, reason := explain(o)
	return &routerv1.PublishResult{Code: int32(code), //nolint:gosec // one of seventeen
		Reason: reason, Owner: o.Owner}
}

// message turns a broadcast into what backends see.
func message(b *meshv1.Broadcast) *routerv1.Message {
	m := &routerv1.Message{Topic: b.GetTopic(), Event: b.GetEvent()}
	if b.GetEncoding() == meshv1.Encoding_ENCODING_BINARY {
		m.Payload = &routerv1.Message_Binary{Binary: b.GetPayload()}
	} else {
		m.Payload = &routerv1.Message_Json{Json: string(b.GetPayload())}
	}
	return m
}
