package handlers

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/skein-mesh/skein/pkg/channel"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

func jsonOf(text string) *handlerv1.Payload {
	return &handlerv1.Payload{Kind: &handlerv1.Payload_Json{Json: []byte(text)}}
}

func binary(size int) *handlerv1.Payload {
	return &handlerv1.Payload{Kind: &handlerv1.Payload_Binary{Binary: make([]byte, size)}}
}

func event(name string, p *handlerv1.Payload) *handlerv1.Event {
	return &handlerv1.Event{Name: name, Payload: p}
}

func text(size int) string { return strings.Repeat("x", size) }

func TestCheckConnect(t *testing.T) {
	for want, resp := range map[string]*handlerv1.ConnectResponse{
		"": {User: text(MaxName), Assigns: []byte(" {\"a\":1}\n"), Refusal: &handlerv1.Refusal{HttpStatus: 429, Reason: text(MaxReason)}},
		"refusal.http_status: must be 400 to 599, got 200": {Refusal: &handlerv1.Refusal{HttpStatus: 200}},
		"refusal.reason: must be at most 4096 bytes":       {Refusal: &handlerv1.Refusal{Reason: text(MaxReason + 1)}},
		"user: must be at most 1024 bytes, got 1025":       {User: text(MaxName + 1)},
		"assigns: must be a JSON object":                   {Assigns: []byte(" [1]")},
		"assigns: must be JSON text":                       {Assigns: []byte("{")},
		"assigns: must be UTF-8":                           {Assigns: []byte("{\"a\":\"\xff\"}")},
	} {
		compare(t, checkConnect(&handlerv1.ConnectRequest{}, resp), want)
	}
}

func TestCheckJoin(t *testing.T) {
	ask := &handlerv1.JoinRequest{Caller: caller("room:1")}
	for want, resp := range map[string]*handlerv1.JoinResponse{
		"": {
			Reply: jsonOf("[1]"), Assigns: []byte("{}"), Pushes: []*handlerv1.Event{event("a", nil), event("b", binary(MaxPayload))},
			Presence: &handlerv1.Person{Key: "ann"},
		},
		"reply.json: must be JSON text":                     {Reply: jsonOf("")},
		"reply.json: must be at most 1048576 bytes":         {Reply: jsonOf(text(MaxPayload + 1))},
		"reply.binary: must be at most 1048576 bytes":       {Reply: binary(MaxPayload + 1)},
		"pushes: must be at most 1000, got 1001":            {Pushes: slices.Repeat([]*handlerv1.Event{event("a", nil)}, MaxEvents+1)},
		"pushes[1].name: event: must be 1 to 255 bytes":     {Pushes: []*handlerv1.Event{event("a", nil), nil}},
		"pushes[0].name: event: must be 1 to 255 bytes,":    {Pushes: []*handlerv1.Event{event(text(256), nil)}},
		`pushes[0].name: event: "phx_reply" is reserved`:    {Pushes: []*handlerv1.Event{event("phx_reply", nil)}},
		"pushes[0].payload.json: must be JSON text":         {Pushes: []*handlerv1.Event{event("a", jsonOf("{}}"))}},
		"presence.key: must be 1 to 1024 bytes, got 0":      {Presence: &handlerv1.Person{}},
		"presence.meta: must be a JSON object":              {Presence: &handlerv1.Person{Key: "a", Meta: []byte("1")}},
		"all of it: must be at most 8388608 bytes, got 943": {Pushes: slices.Repeat([]*handlerv1.Event{event("a", binary(MaxPayload))}, 9)},
	} {
		compare(t, checkJoin(ask, resp), want)
	}
	long := &handlerv1.JoinRequest{Caller: caller(text(channel.MaxBinaryTopicLen + 1))}
	compare(t, checkJoin(long, &handlerv1.JoinResponse{Reply: jsonOf("{}")}), "")
	compare(t, checkJoin(long, &handlerv1.JoinResponse{Reply: binary(1)}), "reply.binary: must be JSON in a topic of more than 255 bytes")
}

func TestCheckPush(t *testing.T) {
	ask := &handlerv1.PushRequest{Caller: caller("room:1")}
	broadcast := func(topic string, e *handlerv1.Event) *handlerv1.PushResponse {
		return &handlerv1.PushResponse{Broadcasts: []*handlerv1.Broadcast{{Topic: topic, Event: e}}}
	}
	for want, resp := range map[string]*handlerv1.PushResponse{
		"": {
			Reply: &handlerv1.Reply{Status: text(MaxStatus), Response: jsonOf("null")}, Stop: true,
			Broadcasts: []*handlerv1.Broadcast{{Event: event("a", binary(1))}, {Topic: "other", Event: event("b", jsonOf(`"x"`))}},
			Presence:   &handlerv1.PushResponse_Track{Track: &handlerv1.Person{Key: "ann", Meta: []byte("{}")}},
		},
		"reply.status: must be at most 255 bytes, got 256":      {Reply: &handlerv1.Reply{Status: text(MaxStatus + 1)}},
		"reply.response.json: must be JSON text":                {Reply: &handlerv1.Reply{Response: jsonOf("nope")}},
		"assigns: must be a JSON object":                        {Assigns: []byte("null")},
		"pushes[0].name: event: must be 1 to 255 bytes":         {Pushes: []*handlerv1.Event{{}}},
		"broadcasts: must be at most 1000, got 1001":            {Broadcasts: make([]*handlerv1.Broadcast, MaxEvents+1)},
		"broadcasts[0]: topic: must be 1 to 1024 bytes":         broadcast(text(channel.MaxTopicLen+1), event("a", nil)),
		`broadcasts[0]: topic: "phoenix" is reserved`:           broadcast("phoenix", event("a", nil)),
		"broadcasts[0].event.name: event: must be":              broadcast("", nil),
		"broadcasts[0].event.payload.binary: must be JSON in a": broadcast(text(channel.MaxBinaryTopicLen+1), event("a", binary(1))),
		"track.key: must be 1 to 1024 bytes, got 0":             {Presence: &handlerv1.PushResponse_Track{Track: &handlerv1.Person{}}},
	} {
		compare(t, checkPush(ask, resp), want)
	}
}

func compare(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil && want != "" || err != nil && (want == "" || !strings.HasPrefix(err.Error(), want)) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// An answer that is accepted can be told to clients, whatever bytes it came from.
func FuzzCheckPush(f *testing.F) {
	for _, seed := range []*handlerv1.PushResponse{
		{},
		{Reply: &handlerv1.Reply{Status: "ok", Response: jsonOf(`{"a":1}`)}, Assigns: []byte("{}")},
		{Pushes: []*handlerv1.Event{event("a", binary(3))}, Broadcasts: []*handlerv1.Broadcast{{Topic: "t", Event: event("b", jsonOf("[]"))}}},
	} {
		wire, err := proto.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	ask := &handlerv1.PushRequest{Caller: caller("room:1")}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var resp handlerv1.PushResponse
		if proto.Unmarshal(wire, &resp) != nil || checkPush(ask, &resp) != nil {
			return
		}
		for _, e := range resp.GetPushes() {
			if channel.ValidateEvent(e.GetName()) != nil {
				t.Errorf("event %q", e.GetName())
			}
			if kind, ok := e.GetPayload().GetKind().(*handlerv1.Payload_Json); ok && (!json.Valid(kind.Json) || !utf8.Valid(kind.Json)) {
				t.Errorf("payload %q", kind.Json)
			}
		}
		if a := resp.GetAssigns(); len(a) > 0 && json.Unmarshal(a, &map[string]any{}) != nil {
			t.Errorf("assigns %q", a)
		}
	})
}

// Every method has its rule, and a push is never among those tried again.
func TestServiceConfigKnowsEveryMethod(t *testing.T) {
	var config struct {
		MethodConfig []struct {
			Name        []struct{ Service, Method string }
			RetryPolicy *struct{}
		}
	}
	if err := json.Unmarshal([]byte(serviceConfig), &config); err != nil {
		t.Fatal(err)
	}
	service := handlerv1.File_skein_handler_v1_handler_proto.Services().ByName("ChannelHandler")
	named := 0
	for _, c := range config.MethodConfig {
		for _, n := range c.Name {
			named++
			if n.Service != string(service.FullName()) || service.Methods().ByName(protoreflect.Name(n.Method)) == nil {
				t.Errorf("%s/%s is no method", n.Service, n.Method)
			}
			if retried := c.RetryPolicy != nil; retried == (n.Method == "Push") {
				t.Errorf("%s is retried: %v", n.Method, retried)
			}
		}
	}
	if named != service.Methods().Len() {
		t.Errorf("%d of %d methods have a rule", named, service.Methods().Len())
	}
}
