package httpapi

import (
	"bytes"
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// Whatever object a caller writes is what clients see, byte for byte, and what a
// subscriber reads is that object again.
func TestPayloadsStayWhatTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload, err := json.Marshal(rapid.MapOf(rapid.String(), rapid.Float64()).Draw(t, "payload"))
		if err != nil {
			t.Fatal(err)
		}
		body := append([]byte(`{"payload" : `), payload...)
		body = append(body, `, "topic":"t", "event":"e"}`...)
		var m *routerv1.Message
		if err := newCodec(lines()).Unmarshal(body, &m); err != nil || m.GetJson() != string(payload) {
			t.Fatalf("%s became %v, %v", body, m, err)
		}
		text, err := newCodec(lines()).Marshal(map[string]any{"result": &routerv1.SubscribeResponse{
			Kind: &routerv1.SubscribeResponse_Message{Message: m},
		}})
		var line struct {
			Result struct {
				Message struct{ Payload json.RawMessage }
			}
		}
		var compact bytes.Buffer
		if err != nil || json.Unmarshal(text, &line) != nil || json.Compact(&compact, payload) != nil {
			t.Fatalf("%s, %v", text, err)
		}
		if !bytes.Equal(line.Result.Message.Payload, compact.Bytes()) || bytes.ContainsRune(text, '\n') {
			t.Fatalf("%s is shown as %s", payload, text)
		}
	})
}

// Whatever comes is refused or is a request, and never anything else than the
// parser of protos makes of the same with its payload in quotes.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{
		`{"topic":"a","event":"e","payload":{"x":[1,{"payload":2}]}}`, `{"messages":[{"payload":{}},{"json":"{}"}]}`,
		`{"payload":null}`, `[]`, `{`, `null`, `{"messages":null}`, "{\"topic\":\"\xff\"}", `{"user":"u","connection":{"id":"7"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c := newCodec(lines())
		var m *routerv1.Message
		if c.Unmarshal(text, &m) == nil && m.GetObject() != nil {
			t.Errorf("%q was taken apart", text)
		}
		var batch routerv1.PublishBatchRequest
		if c.Unmarshal(text, &batch) == nil {
			for _, m := range batch.GetMessages() {
				if m.GetJson() != "" && m.GetObject() != nil {
					t.Errorf("%q was taken apart", text)
				}
			}
		}
		var d, direct routerv1.DisconnectRequest
		ours, theirs := c.Unmarshal(text, &d), protojson.Unmarshal(text, &direct)
		if (ours == nil) != (theirs == nil) || ours == nil && !proto.Equal(&d, &direct) {
			t.Errorf("%q: %v and %v", text, ours, theirs)
		}
	})
}
