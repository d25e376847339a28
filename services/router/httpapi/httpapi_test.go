package httpapi_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/services/router/httpapi"
)

func withJSON(topic, text string) *routerv1.Message {
	return &routerv1.Message{Topic: topic, Event: "e", Payload: &routerv1.Message_Json{Json: text}}
}

func TestEveryMethod(t *testing.T) {
	const exact = `{"z": 9007199254740993, "a": [1e2, "<&>"], "z2": "é"}`
	for name, c := range map[string]struct {
		method, path, body string
		asked              proto.Message
		answer             string
	}{
		"publish an object": {
			"POST", "/v1/publish", `{"topic": "room:1", "event": "e", "payload": ` + exact + `}`,
			&routerv1.PublishRequest{Message: withJSON("room:1", exact)},
			`{"owner":"r1"}`,
		},
		"publish a text": {
			"POST", "/v1/publish", `{"topic":"room:1","event":"e","json":"{\"a\": 1}"}`,
			&routerv1.PublishRequest{Message: withJSON("room:1", `{"a": 1}`)},
			`{"owner":"r1"}`,
		},
		"publish bytes": {
			"POST", "/v1/publish", `{"topic":"room:1","event":"e","binary":"AAH/"}`,
			&routerv1.PublishRequest{Message: &routerv1.Message{Topic: "room:1", Event: "e", Payload: &routerv1.Message_Binary{Binary: []byte{0, 1, 255}}}},
			`{"owner":"r1"}`,
		},
		"publish nothing": {
			"POST", "/v1/publish", `{"topic":"room:1","event":"e","payload":null}`,
			&routerv1.PublishRequest{Message: &routerv1.Message{Topic: "room:1", Event: "e"}},
			`{"owner":"r1"}`,
		},
		"publish without a body": {"POST", "/v1/publish", "", &routerv1.PublishRequest{}, `{"owner":"r1"}`},
		"batch": {
			"POST", "/v1/publish/batch", `{"messages": [{"topic":"a","event":"e","payload":{"n":1}}, {"topic":"b","event":"e","json":"{}"}, {}]}`,
			&routerv1.PublishBatchRequest{Messages: []*routerv1.Message{withJSON("a", `{"n":1}`), withJSON("b", `{}`), {}}},
			`{"results":[{"code":0,"reason":"","owner":"r1"},{"code":3,"reason":"message.topic: is missing","owner":""}]}`,
		},
		"topic": {
			"GET", "/v1/topic?topic=room:a/b%20%3F", "",
			&routerv1.TopicInfoRequest{Topic: "room:a/b ?"},
			`{"topic":"room:a/b ?","owner":"r1","view":"1152921504606846976","receivers":[{"id":"e1","reason":"REASON_ROW"}]}`,
		},
		"disconnect": {
			"POST", "/v1/disconnect", `{"user":"u","topic":"room:1","connection":{"edge":"e1","id":7}}`,
			&routerv1.DisconnectRequest{User: "u", Topic: "room:1", Connection: &routerv1.Connection{Edge: "e1", Id: 7}},
			`{"connections":"2","channels":"0","edges":1}`,
		},
	} {
		b := &backend{}
		s := serve(t, b)
		code, answer := s.ask(t, c.method, c.path, c.body)
		asked, _ := b.last()
		if code != http.StatusOK || !sameJSON(t, answer, c.answer) {
			t.Errorf("%s: answered %d %s", name, code, answer)
		}
		if got, ok := asked.(proto.Message); !ok || !proto.Equal(got, c.asked) {
			t.Errorf("%s: asked %v, want %v", name, asked, c.asked)
		}
	}
}

func sameJSON(t *testing.T, got, want string) bool {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	return json.Unmarshal([]byte(got), &a) == nil && reflect.DeepEqual(a, b)
}

// What is no request gets an answer that says so, and the backend is not asked.
func TestWhatIsRefused(t *testing.T) {
	b := &backend{}
	s := serve(t, b)
	large := `{"topic":"a","event":"e","payload":{"x":"` + strings.Repeat("x", httpapi.MaxBody) + `"}}`
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code               codes.Code
		says               string
		headers            []string
	}{
		"no JSON":             {"POST", "/v1/publish", `{"topic":`, 400, codes.InvalidArgument, "body: ", nil},
		"an array":            {"POST", "/v1/publish", `[]`, 400, codes.InvalidArgument, "body: ", nil},
		"two values":          {"POST", "/v1/publish", `{} {}`, 400, codes.InvalidArgument, "body: ", nil},
		"a field unknown":     {"POST", "/v1/publish", `{"topics":"a"}`, 400, codes.InvalidArgument, `unknown field "topics"`, nil},
		"a payload that is 1": {"POST", "/v1/publish", `{"payload":1}`, 400, codes.InvalidArgument, "payload: must be a JSON object", nil},
		"two payloads":        {"POST", "/v1/publish", `{"payload":{},"json":"{}"}`, 400, codes.InvalidArgument, "either a payload or json", nil},
		"payload and bytes":   {"POST", "/v1/publish", `{"payload":{},"binary":""}`, 400, codes.InvalidArgument, "oneof", nil},
		"no UTF-8":            {"POST", "/v1/publish", "{\"topic\":\"\xff\"}", 400, codes.InvalidArgument, "UTF-8", nil},
		"a batch of texts":    {"POST", "/v1/publish/batch", `{"messages":["a"]}`, 400, codes.InvalidArgument, "body: ", nil},
		"a batch with 1":      {"POST", "/v1/publish/batch", `{"messages":[{"payload":1}]}`, 400, codes.InvalidArgument, "payload: must be", nil},
		"a number as a user":  {"POST", "/v1/disconnect", `{"user":1}`, 400, codes.InvalidArgument, "body: ", nil},
		"too large":           {"POST", "/v1/publish", large, 413, codes.ResourceExhausted, "8388608 bytes", nil},
		"another path":        {"GET", "/v1/nothing", "", 404, codes.NotFound, "/openapi.json", nil},
		"another method":      {"GET", "/v1/publish", "", 405, codes.Unimplemented, "not for GET", nil},
		"an overridden one":   {"POST", "/v1/topic", "topic=a", 405, codes.Unimplemented, "not for POST", []string{"X-HTTP-Method-Override", "GET", "Content-Type", "application/x-www-form-urlencoded"}},
		"a preflight":         {"OPTIONS", "/v1/publish", "", 403, codes.PermissionDenied, "browser", []string{"Origin", "https://example.com"}},
		"a page":              {"POST", "/v1/publish", `{}`, 403, codes.PermissionDenied, "browser", []string{"Origin", "null"}},
		"a page of our own":   {"GET", "/v1/topic?topic=a", "", 403, codes.PermissionDenied, "browser", []string{"Sec-Fetch-Site", "same-origin"}},
		"no deadline":         {"GET", "/v1/topic?topic=a", "", 400, codes.InvalidArgument, "timeout", []string{"Grpc-Timeout", "soon"}},
	} {
		code, answer := s.ask(t, c.method, c.path, c.body, c.headers...)
		var got struct {
			Code    codes.Code
			Message string
		}
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Errorf("%s: %v in %s", name, err, answer)
		}
		if code != c.status || got.Code != c.code || !strings.Contains(got.Message, c.says) || strings.Contains(got.Message, "proto:") {
			t.Errorf("%s: answered %d %s", name, code, answer)
		}
	}
	if asked, _ := b.last(); asked != nil {
		t.Errorf("asked %v", asked)
	}
}

func TestErrorsOfTheBackend(t *testing.T) {
	detailed, err := status.New(codes.InvalidArgument, "no").WithDetails(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "f"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err    error
		status int
		answer string
	}{
		{detailed.Err(), 400, `{"code":3,"message":"no","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"f"}]}]}`},
		{status.Error(codes.Unauthenticated, "who?"), 401, `{"code":16,"message":"who?"}`},
		{status.Error(codes.PermissionDenied, "not you"), 403, `{"code":7,"message":"not you"}`},
		{status.Error(codes.Unavailable, "later"), 503, `{"code":14,"message":"later"}`},
		{status.Error(codes.ResourceExhausted, "full"), 429, `{"code":8,"message":"full"}`},
	} {
		s := serve(t, &backend{fails: c.err})
		code, answer := s.ask(t, "POST", "/v1/publish", `{}`)
		if code != c.status || !sameJSON(t, answer, c.answer) {
			t.Errorf("%v: answered %d %s", c.err, code, answer)
		}
		resp := s.request(t.Context(), t, "GET /v1/topic?topic=a", "")
		if challenge := resp.Header.Get("WWW-Authenticate"); (challenge == "Bearer") != (c.status == 401) {
			t.Errorf("%v: challenge %q", c.err, challenge)
		}
		// A subscription that fails at once has the status of its error.
		resp = s.request(t.Context(), t, "GET /v1/subscribe?topic=a", "")
		if resp.StatusCode != c.status {
			t.Errorf("%v: subscribing: %s", c.err, resp.Status)
		}
	}
}

// Keys and trace context reach the interceptors; nothing else that a caller
// writes becomes metadata.
func TestHeadersThatArePassed(t *testing.T) {
	b := &backend{}
	s := serve(t, b)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	s.ask(t, "POST", "/v1/publish", `{}`, "Authorization", "Bearer key", "Traceparent", trace,
		"Grpc-Metadata-Skein-Asked-By-Router", "r2", "Cookie", "c=1", "Accept", "*/*")
	_, header := b.last()
	if !slices.Equal(header.Get("authorization"), []string{"Bearer key"}) || !slices.Equal(header.Get("traceparent"), []string{trace}) {
		t.Errorf("metadata %v", header)
	}
	for key := range header {
		if strings.Contains(key, "asked") || strings.Contains(key, "cookie") || key == "accept" || key == "grpcgateway-accept" {
			t.Errorf("passed on %s", key)
		}
	}
}

func TestOpenAPINamesEveryMethod(t *testing.T) {
	s := serve(t, &backend{})
	code, text := s.ask(t, "GET", "/openapi.json", "", "Sec-Fetch-Site", "none")
	var document struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal([]byte(text), &document); code != http.StatusOK || err != nil {
		t.Fatal(code, err)
	}
	var described []string
	for path, methods := range document.Paths {
		for method, operation := range methods {
			described = append(described, operation.OperationID)
			if code, answer := s.ask(t, strings.ToUpper(method), path, ""); code == http.StatusNotFound || code == http.StatusMethodNotAllowed {
				t.Errorf("%s %s is described and not served: %s", method, path, answer)
			}
		}
	}
	methods := routerv1.File_skein_router_v1_router_proto.Services().ByName("RouterService").Methods()
	for i := range methods.Len() {
		m := methods.Get(i)
		if want := !m.IsStreamingClient(); slices.Contains(described, "RouterService_"+string(m.Name())) != want {
			t.Errorf("%s: want %v in %v", m.Name(), want, described)
		}
	}
}
