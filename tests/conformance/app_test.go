package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

// app is the application that was recorded, as a handler: the channels room:*,
// presence:* and exact, and on mounts below /ws the fixture of Phoenix's own
// tests. It keeps nothing; what it has to know again it returns as assigns.
type app struct {
	handlerv1.UnimplementedChannelHandlerServer
}

// assigns of a socket, and with the presence key of a channel.
type assigns struct {
	Mount     string         `json:"mount"`
	Transport string         `json:"transport"`
	Token     string         `json:"token,omitempty"`
	Info      map[string]any `json:"info,omitempty"` // connect_info, where the fixture tells it
	Key       string         `json:"key,omitempty"`
}

func (a assigns) fixture() bool { return a.Mount == "/ws" || strings.HasPrefix(a.Mount, "/ws/") }

func (a assigns) bytes() []byte {
	return encode(a)
}

func assignsOf(c *handlerv1.Caller) (assigns, error) {
	var a assigns
	err := json.Unmarshal(c.GetAssigns(), &a)
	return a, err
}

// crash is what an exception in a channel of Phoenix is here.
func crash(format string, args ...any) error { return status.Errorf(codes.Internal, format, args...) }

// Connect lets everybody in who does not ask to be refused.
func (*app) Connect(_ context.Context, r *handlerv1.ConnectRequest) (*handlerv1.ConnectResponse, error) {
	params, info := r.GetParams(), r.GetInfo()
	switch {
	case params["refuse"] == "rate" || params["ratelimit"] == "true":
		return &handlerv1.ConnectResponse{Refusal: &handlerv1.Refusal{HttpStatus: 429, Reason: "rate limited"}}, nil
	case params["refuse"] != "" || params["reject"] == "true":
		return &handlerv1.ConnectResponse{Refusal: &handlerv1.Refusal{}}, nil
	}
	a := assigns{Mount: info.GetMount(), Transport: info.GetTransport(), Token: info.GetAuthToken()}
	if strings.HasPrefix(a.Mount, "/ws/connect_info") {
		a.Info = told(info)
	}
	return &handlerv1.ConnectResponse{User: params["user_id"], Assigns: a.bytes()}, nil
}

// told is a connect_info as the fixture pushes it.
func told(info *handlerv1.ConnectInfo) map[string]any {
	headers := func(list []*handlerv1.Header) map[string]string {
		all := map[string]string{}
		for _, h := range list {
			all[h.GetName()] = h.GetValue()
		}
		return all
	}
	return map[string]any{
		"uri": info.GetUri(), "address": info.GetPeerAddress(), "has_port": info.GetPeerPort() > 0,
		"user_agent": info.GetUserAgent(), "x_headers": headers(info.GetXHeaders()),
		"trace_context_headers":  headers(info.GetTraceContextHeaders()),
		"sec_websocket_protocol": headers(info.GetSecWebsocketHeaders())["sec-websocket-protocol"],
	}
}

// CheckOrigin lets one page in.
func (*app) CheckOrigin(_ context.Context, r *handlerv1.CheckOriginRequest) (*handlerv1.CheckOriginResponse, error) {
	return &handlerv1.CheckOriginResponse{Allowed: r.GetOrigin() == "https://asked.example"}, nil
}

// Join answers as the topic's name says.
func (*app) Join(ctx context.Context, r *handlerv1.JoinRequest) (*handlerv1.JoinResponse, error) {
	a, err := assignsOf(r.GetCaller())
	if err != nil {
		return nil, crash("assigns: %v", err)
	}
	params := r.GetParams()
	topic := r.GetCaller().GetTopic()
	switch {
	case a.fixture():
		return joinFixture(a), nil
	case strings.HasPrefix(topic, "presence:"):
		return joinPresence(a, params)
	}
	switch topic {
	case "room:hello":
		return &handlerv1.JoinResponse{Reply: text(`{"params":%s,"welcome":true}`, params.GetJson())}, nil
	case "room:forbidden":
		return &handlerv1.JoinResponse{Refused: true, Reply: text(`{"reason":"unauthorized"}`)}, nil
	case "room:crash":
		return nil, crash("this topic crashes")
	case "room:rubbish":
		return &handlerv1.JoinResponse{Reply: text(`{"no":`)}, nil
	case "room:binjoin":
		return &handlerv1.JoinResponse{Reply: opaque([]byte{1, 2, 3})}, nil
	case "room:greet":
		return &handlerv1.JoinResponse{Pushes: []*handlerv1.Event{{Name: "greeting", Payload: text(`{"hello":"there"}`)}}}, nil
	case "room:slow":
		return &handlerv1.JoinResponse{}, pause(ctx, params)
	}
	return &handlerv1.JoinResponse{}, nil
}

// pause takes as long as the payload's ms say.
func pause(ctx context.Context, payload *handlerv1.Payload) error {
	var p struct {
		Milliseconds int `json:"ms"`
	}
	if err := json.Unmarshal(payload.GetJson(), &p); err != nil {
		return crash("ms: %v", err)
	}
	timer := time.NewTimer(time.Duration(p.Milliseconds) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// joinPresence makes the channel a person: whom its params name, with what they
// tell.
func joinPresence(a assigns, params *handlerv1.Payload) (*handlerv1.JoinResponse, error) {
	var p struct {
		User string         `json:"user_id"`
		Meta map[string]any `json:"meta"`
	}
	if err := json.Unmarshal(params.GetJson(), &p); err != nil {
		return nil, crash("params: %v", err)
	}
	meta := map[string]any{"online_at": 1}
	maps.Copy(meta, p.Meta)
	a.Key = p.User
	return &handlerv1.JoinResponse{Assigns: a.bytes(), Presence: &handlerv1.Person{Key: p.User, Meta: encode(meta)}}, nil
}

func joinFixture(a assigns) *handlerv1.JoinResponse {
	joined := map[string]any{"status": "connected", "transport": a.Transport}
	if a.Info != nil {
		joined["connect_info"] = a.Info
	}
	payload := encode(joined)
	return &handlerv1.JoinResponse{Pushes: []*handlerv1.Event{{Name: "joined", Payload: text("%s", payload)}}}
}

// Leave is told of and changes nothing.
func (*app) Leave(context.Context, *handlerv1.LeaveRequest) (*handlerv1.LeaveResponse, error) {
	return &handlerv1.LeaveResponse{}, nil
}

// encode writes what was JSON before, or is made of texts and numbers.
func encode(value any) []byte {
	text, _ := json.Marshal(value) //nolint:errchkjson // such values always have a JSON form
	return text
}

// text makes a payload of JSON text.
func text(format string, args ...any) *handlerv1.Payload {
	return &handlerv1.Payload{Kind: &handlerv1.Payload_Json{Json: fmt.Appendf(nil, format, args...)}}
}

// opaque makes a binary payload.
func opaque(data []byte) *handlerv1.Payload {
	return &handlerv1.Payload{Kind: &handlerv1.Payload_Binary{Binary: data}}
}
