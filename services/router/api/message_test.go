package api

import (
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

func withJSON(text string) *routerv1.Message {
	return &routerv1.Message{Topic: "room:1", Event: "e", Payload: &routerv1.Message_Json{Json: text}}
}

func withStruct(fields map[string]any) *routerv1.Message {
	object, err := structpb.NewStruct(fields)
	if err != nil {
		return nil
	}
	return &routerv1.Message{Topic: "room:1", Event: "e", Payload: &routerv1.Message_Object{Object: object}}
}

func TestMessagesThatAreTaken(t *testing.T) {
	for name, c := range map[string]struct {
		message *routerv1.Message
		want    *meshv1.Broadcast
	}{
		"an object": {
			withJSON(" {\"a\": [1, null]}\n"),
			&meshv1.Broadcast{Topic: "room:1", Event: "e", Payload: []byte(" {\"a\": [1, null]}\n"), Encoding: meshv1.Encoding_ENCODING_JSON},
		},
		"nothing is the empty object": {
			&routerv1.Message{Topic: "room:1", Event: "e"},
			&meshv1.Broadcast{Topic: "room:1", Event: "e", Payload: []byte("{}"), Encoding: meshv1.Encoding_ENCODING_JSON},
		},
		"a struct": {
			withStruct(map[string]any{"b": []any{1, nil}, "a": "x"}),
			&meshv1.Broadcast{Topic: "room:1", Event: "e", Payload: []byte(`{"a":"x","b":[1,null]}`), Encoding: meshv1.Encoding_ENCODING_JSON},
		},
		"an empty struct": {
			&routerv1.Message{Topic: "room:1", Event: "e", Payload: &routerv1.Message_Object{}},
			&meshv1.Broadcast{Topic: "room:1", Event: "e", Payload: []byte("{}"), Encoding: meshv1.Encoding_ENCODING_JSON},
		},
		"bytes": {
			&routerv1.Message{Topic: "room:1", Event: "e", Payload: &routerv1.Message_Binary{Binary: []byte{0, 255}}},
			&meshv1.Broadcast{Topic: "room:1", Event: "e", Payload: []byte{0, 255}, Encoding: meshv1.Encoding_ENCODING_BINARY},
		},
		"the longest names": {
			&routerv1.Message{Topic: strings.Repeat("t", 1024), Event: strings.Repeat("e", 255)},
			&meshv1.Broadcast{
				Topic: strings.Repeat("t", 1024), Event: strings.Repeat("e", 255), Payload: []byte("{}"), Encoding: meshv1.Encoding_ENCODING_JSON,
			},
		},
	} {
		got, bad := validate(c.message)
		if bad != nil || !proto.Equal(got, c.want) {
			t.Errorf("%s: got %v, %v", name, got, bad)
		}
	}
}

func TestMessagesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		message *routerv1.Message
		fields  []string
	}{
		"none":                   {nil, []string{"message"}},
		"nothing set":            {&routerv1.Message{}, []string{"message.topic", "message.event"}},
		"reserved":               {&routerv1.Message{Topic: "phoenix", Event: "phx_close"}, []string{"message.topic", "message.event"}},
		"long names":             {&routerv1.Message{Topic: strings.Repeat("t", 1025), Event: strings.Repeat("e", 256)}, []string{"message.topic", "message.event"}},
		"an array":               {withJSON(`[{}]`), []string{"message.json"}},
		"an empty text":          {withJSON(``), []string{"message.json"}},
		"spaces":                 {withJSON(`  `), []string{"message.json"}},
		"a text that ends early": {withJSON(`{"a":`), []string{"message.json"}},
		"two objects":            {withJSON(`{}{}`), []string{"message.json"}},
		"no number":              {withStruct(map[string]any{"n": math.NaN()}), []string{"message.payload"}},
		"bytes that are no text": {withJSON("{\"a\":\"\xff\"}"), []string{"message.json"}},
		"bytes on a long topic": {
			&routerv1.Message{Topic: strings.Repeat("t", 256), Event: "e", Payload: &routerv1.Message_Binary{}}, []string{"message.topic"},
		},
	} {
		_, bad := validate(c.message)
		err := bad.err()
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var fields []string
		for _, d := range status.Convert(err).Details() {
			if r, ok := d.(*errdetails.BadRequest); ok {
				for _, v := range r.GetFieldViolations() {
					fields = append(fields, v.GetField())
				}
			}
		}
		if !slices.Equal(fields, c.fields) {
			t.Errorf("%s: fields %v, want %v", name, fields, c.fields)
		}
		if r := bad.result(); codes.Code(r.GetCode()) != codes.InvalidArgument || r.GetReason() == "" {
			t.Errorf("%s: result %v", name, r)
		}
	}
}

func TestMessageComesBackAsItWas(t *testing.T) {
	for _, m := range []*routerv1.Message{
		withJSON(`{"a": 1}`),
		{Topic: "room:1", Event: "e", Payload: &routerv1.Message_Binary{Binary: []byte{1, 2}}},
	} {
		b, bad := validate(m)
		if got := message(b); bad != nil || !proto.Equal(got, m) {
			t.Errorf("got %v, want %v", got, m)
		}
	}
}
