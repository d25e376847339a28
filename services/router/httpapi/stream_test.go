package httpapi_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// steps of a subscription, one of each kind.
func steps() []*routerv1.SubscribeResponse {
	list := []*routerv1.SubscribeResponse{{Kind: &routerv1.SubscribeResponse_Subscribed{Subscribed: &routerv1.Subscribed{Router: "r1"}}}}
	for _, m := range []*routerv1.Message{
		withJSON("room:1", "{\"z\": 9007199254740993,\n \"a\": \"<\"}"),
		withJSON("room:1", `[1]`), // what clients push need not be an object
		{Topic: "room:1", Event: "b", Payload: &routerv1.Message_Binary{Binary: []byte{0, 255}}},
	} {
		list = append(list, &routerv1.SubscribeResponse{Kind: &routerv1.SubscribeResponse_Message{Message: m}})
	}
	return list
}

func TestSubscriptions(t *testing.T) {
	want := []string{
		`{"result":{"subscribed":{"router":"r1"}}}`,
		`{"result":{"message":{"event":"e","payload":{"z":9007199254740993,"a":"<"},"topic":"room:1"}}}`,
		`{"result":{"message":{"event":"e","payload":[1],"topic":"room:1"}}}`,
		`{"result":{"message":{"topic":"room:1","event":"b","binary":"AP8="}}}`,
		`{"error":{"code":8,"message":"too slow","details":[]}}`,
	}
	for _, c := range []struct{ accept, contentType, before string }{
		{"", "application/x-ndjson", ""},
		{"text/event-stream", "text/event-stream", "data: "},
	} {
		s := serve(t, &backend{steps: steps(), fails: status.Error(codes.ResourceExhausted, "too slow")})
		resp := s.request(t.Context(), t, "GET /v1/subscribe?topic=room:1", "", "Accept", c.accept)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != c.contentType {
			t.Errorf("%q: %s, %s", c.accept, resp.Status, resp.Header.Get("Content-Type"))
		}
		stream := bufio.NewReader(resp.Body)
		for _, w := range want {
			line := nextLine(t, stream)
			text, ok := strings.CutPrefix(line, c.before)
			if !ok || !sameJSON(t, text, w) {
				t.Errorf("%q: got %s, want %s%s", c.accept, line, c.before, w)
			}
		}
		if line, err := stream.ReadString('x'); err == nil || strings.TrimSpace(line) != "" {
			t.Errorf("%q: then %q, %v", c.accept, line, err)
		}
	}
}

// Numbers that a double cannot hold reach who listens as they were published.
func TestPayloadsAreNotReencoded(t *testing.T) {
	s := serve(t, &backend{steps: steps()[1:2]})
	resp := s.request(t.Context(), t, "GET /v1/subscribe?prefix=room:", "")
	if line := nextLine(t, bufio.NewReader(resp.Body)); !strings.Contains(line, `{"z":9007199254740993,"a":"<"}`) {
		t.Errorf("got %s", line)
	}
}

func TestFiltersOfSubscriptions(t *testing.T) {
	for query, want := range map[string]*routerv1.SubscribeRequest{
		"topic=room:1":   {Filter: &routerv1.SubscribeRequest_Topic{Topic: "room:1"}},
		"prefix=room%3A": {Filter: &routerv1.SubscribeRequest_Prefix{Prefix: "room:"}},
		"prefix=":        {Filter: &routerv1.SubscribeRequest_Prefix{}},
		"":               {},
	} {
		b := &backend{steps: steps()}
		s := serve(t, b)
		if code, answer := s.ask(t, "GET", "/v1/subscribe?"+query, ""); code != http.StatusOK {
			t.Errorf("%q: %d %s", query, code, answer)
		}
		if asked, ok := first(b.last()).(proto.Message); !ok || !proto.Equal(asked, want) {
			t.Errorf("%q: asked %v, want %v", query, asked, want)
		}
	}
	code, answer := serve(t, &backend{}).ask(t, "GET", "/v1/subscribe?topic=a&prefix=b", "")
	if code != http.StatusBadRequest {
		t.Errorf("two filters: %d %s", code, answer)
	}
}

func first[T, U any](v T, _ U) T { return v }

const patience = 10 * time.Second

func TestAListenerThatGoesEndsItsSubscription(t *testing.T) {
	b := &backend{steps: steps(), ended: make(chan struct{})}
	s := serve(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	resp := s.request(ctx, t, "GET /v1/subscribe?topic=room:1", "")
	nextLine(t, bufio.NewReader(resp.Body))
	cancel()
	select {
	case <-b.ended:
	case <-time.After(patience):
		t.Error("the subscription goes on")
	}
}

func TestStoppingEndsSubscriptions(t *testing.T) {
	b := &backend{steps: steps(), ended: make(chan struct{})}
	s := serve(t, b)
	resp := s.request(t.Context(), t, "GET /v1/subscribe?topic=room:1", "")
	nextLine(t, bufio.NewReader(resp.Body))
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	select {
	case <-b.ended:
	case <-time.After(patience):
		t.Error("the subscription goes on")
	}
}
