package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

const (
	jsonType    = "application/json"
	linesType   = "application/x-ndjson"
	eventStream = "text/event-stream"
)

// framing is how the messages of a stream follow one another.
type framing struct{ contentType, before, after string }

func lines() framing  { return framing{linesType, "", "\n"} }
func events() framing { return framing{eventStream, "data: ", "\n\n"} } // server-sent events

// codec is the gateway's way between JSON and protos, except that the payload of
// a message stays the text it is. It implements [runtime.Marshaler],
// [runtime.Delimited] and [runtime.StreamContentType].
type codec struct {
	runtime.JSONPb

	framing framing
}

func newCodec(f framing) *codec {
	return &codec{runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{EmitUnpopulated: true}}, f}
}

// ContentType implements [runtime.Marshaler].
func (*codec) ContentType(any) string { return jsonType }

// StreamContentType implements [runtime.StreamContentType].
func (c *codec) StreamContentType(any) string { return c.framing.contentType }

// Delimiter implements [runtime.Delimited].
func (c *codec) Delimiter() []byte { return []byte(c.framing.after) }

// Marshal implements [runtime.Marshaler]. What the gateway wraps in a map is a
// part of a stream.
func (c *codec) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case map[string]any:
		text, err := c.result(v["result"])
		return fmt.Appendf(nil, `%s{"result":%s}`, c.framing.before, text), err
	case map[string]proto.Message:
		text, err := c.JSONPb.Marshal(v)
		return append([]byte(c.framing.before), text...), err
	}
	text, err := c.JSONPb.Marshal(v)
	return append(text, '\n'), err
}

func (c *codec) result(v any) ([]byte, error) {
	text, err := c.JSONPb.Marshal(v)
	step, ok := v.(*routerv1.SubscribeResponse)
	if err != nil || !ok {
		return text, err
	}
	return showPayload(text, step.GetMessage())
}

// NewEncoder implements [runtime.Marshaler].
func (c *codec) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		text, err := c.Marshal(v)
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	})
}

// NewDecoder implements [runtime.Marshaler]: it takes one value from r.
func (c *codec) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		text, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			return io.EOF
		}
		return c.Unmarshal(text, v)
	})
}

// Unmarshal implements [runtime.Marshaler].
func (*codec) Unmarshal(text []byte, v any) error {
	if !utf8.Valid(text) {
		return errors.New("body: is not UTF-8")
	}
	var err error
	switch v := v.(type) {
	case **routerv1.Message:
		*v = &routerv1.Message{}
		if text, err = hidePayload(text); err == nil {
			err = protojson.Unmarshal(text, *v)
		}
	case *routerv1.PublishBatchRequest:
		if text, err = hidePayloads(text); err == nil {
			err = protojson.Unmarshal(text, v)
		}
	case proto.Message:
		err = protojson.Unmarshal(text, v)
	default:
		err = fmt.Errorf("no request has a %T", v)
	}
	if err != nil {
		return fmt.Errorf("body: %s", plain(err))
	}
	return nil
}

// plain is an error in words for people, without the parser's own.
func plain(err error) string {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ") // protojson's way to keep its texts from being relied on
	return strings.TrimPrefix(text, "proto: ")
}
