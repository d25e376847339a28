package callout

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skein-mesh/skein/pkg/channel"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
	"github.com/skein-mesh/skein/services/edge/handshake"
	"github.com/skein-mesh/skein/services/edge/session"
)

var empty handshake.Request

func request() *handshake.Request {
	u, _ := url.Parse("http://example.com/socket/websocket?vsn=2.0.0&a=1&a=2")
	return &handshake.Request{
		Connection: 9, Transport: handshake.WebSocket, URL: u, Params: u.Query(), Origin: "https://page", HasOrigin: true,
		Remote: netip.MustParseAddrPort("[::ffff:10.1.2.3]:4711"), AuthToken: "secret",
		Header: http.Header{
			"User-Agent": {"browser\xff"}, "X-Two": {"2"}, "X-One": {"1", "1b"}, "Traceparent": {"tp"}, "Tracestate": {"ts"},
			"Sec-Websocket-Version": {"13"}, "Cookie": {"private"},
		},
	}
}

func TestConnect(t *testing.T) {
	inWorld(t, Default("e1"), func(t *testing.T, w *world) {
		a := w.serve("a", &router{connect: &handlerv1.ConnectResponse{User: "ann", Assigns: []byte(`{"a":1}`)}})
		got, err := w.Connect(t.Context(), request(), []byte(`{"sub":"x"}`))
		if want := (ConnectAnswer{User: "ann", Assigns: []byte(`{"a":1}`)}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v", got, err)
		}
		want := &handlerv1.ConnectRequest{
			Socket: &handlerv1.Socket{Edge: "e1", Id: 9}, Params: map[string]string{"vsn": "2.0.0", "a": "2"}, Claims: []byte(`{"sub":"x"}`),
			Info: &handlerv1.ConnectInfo{
				Mount: "/socket", Transport: "websocket", Uri: "http://example.com/socket/websocket?vsn=2.0.0&a=1&a=2",
				PeerAddress: "10.1.2.3", PeerPort: 4711, UserAgent: "browser\uFFFD", Origin: "https://page", AuthToken: "secret",
				XHeaders:            []*handlerv1.Header{{Name: "x-one", Value: "1"}, {Name: "x-one", Value: "1b"}, {Name: "x-two", Value: "2"}},
				TraceContextHeaders: []*handlerv1.Header{{Name: "traceparent", Value: "tp"}, {Name: "tracestate", Value: "ts"}},
				SecWebsocketHeaders: []*handlerv1.Header{{Name: "sec-websocket-version", Value: "13"}},
			},
		}
		if asked := a.take(); len(asked) != 1 || !proto.Equal(asked[0].(proto.Message), want) {
			t.Errorf("asked %v\nwant %v", asked, want)
		}
		for refusal, want := range map[*handlerv1.Refusal]ConnectAnswer{
			{}:                                {Refused: true, Status: 403},
			{HttpStatus: 429, Reason: "slow"}: {Refused: true, Status: 429, Reason: "slow"},
		} {
			a.connect = &handlerv1.ConnectResponse{Refusal: refusal}
			if got, err := w.Connect(t.Context(), request(), nil); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v", got, err)
			}
		}
		if ok, err := w.CheckOrigin(t.Context(), request()); !ok || err != nil {
			t.Errorf("got %v, %v", ok, err)
		}
	})
}

func TestOnlyWhatIsConfiguredIsTold(t *testing.T) {
	for part, want := range map[string]*handlerv1.ConnectInfo{
		"":                  {},
		PeerData:            {PeerAddress: "10.1.2.3", PeerPort: 4711},
		XHeaders:            {XHeaders: []*handlerv1.Header{{Name: "x-one", Value: "1"}, {Name: "x-one", Value: "1b"}, {Name: "x-two", Value: "2"}}},
		URI:                 {Uri: "http://example.com/socket/websocket?vsn=2.0.0&a=1&a=2"},
		UserAgent:           {UserAgent: "browser\uFFFD"},
		TraceContextHeaders: {TraceContextHeaders: []*handlerv1.Header{{Name: "traceparent", Value: "tp"}, {Name: "tracestate", Value: "ts"}}},
		SecWebSocketHeaders: {SecWebsocketHeaders: []*handlerv1.Header{{Name: "sec-websocket-version", Value: "13"}}},
		AuthToken:           {AuthToken: "secret"},
	} {
		want.Mount, want.Transport, want.Origin = "/socket", "websocket", "https://page"
		c := &Callout{told: map[string]bool{part: true}}
		if got := c.info(request()); !proto.Equal(got, want) {
			t.Errorf("%s: got %v", part, got)
		}
	}
}

func TestConnectEndsInTime(t *testing.T) {
	cfg := Default("e1")
	cfg.ConnectTimeout, cfg.Calls = time.Second, 1
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.serve("a", &router{before: stuck})
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := w.Connect(ctx, &empty, nil); !errors.Is(err, channel.ErrTimeout) || time.Since(began) != time.Millisecond {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := w.CheckOrigin(ctx, &empty); !errors.Is(err, channel.ErrUnavailable) || time.Since(began) != 2*time.Millisecond {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		began = time.Now()
		if _, err := w.Connect(t.Context(), &empty, nil); !errors.Is(err, channel.ErrTimeout) || time.Since(began) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		time.AfterFunc(time.Millisecond, w.stop)
		if _, err := w.Connect(t.Context(), &empty, nil); err == nil {
			t.Error("a stop is no answer")
		}
	})
}

func jsonOf(text string) *handlerv1.Payload {
	return &handlerv1.Payload{Kind: &handlerv1.Payload_Json{Json: []byte(text)}}
}

func TestPushAnswers(t *testing.T) {
	resp := &handlerv1.PushResponse{
		Reply: &handlerv1.Reply{Response: &handlerv1.Payload{Kind: &handlerv1.Payload_Binary{Binary: []byte{1}}}}, Assigns: []byte(`{}`), Stop: true,
		Pushes: []*handlerv1.Event{{Name: "p", Payload: jsonOf(`[1]`)}},
		Broadcasts: []*handlerv1.Broadcast{
			{Event: &handlerv1.Event{Name: "b"}}, {Topic: "t", NotSender: true, Event: &handlerv1.Event{Name: "c", Payload: jsonOf("1")}},
		},
		Presence: &handlerv1.PushResponse_Track{Track: &handlerv1.Person{Key: "ann", Meta: []byte(`{"m":1}`)}},
	}
	text := func(s string) session.Payload { return session.Payload{Data: []byte(s)} }
	want := session.PushAnswer{
		Reply: &session.Reply{Status: "ok", Payload: session.Payload{Data: []byte{1}, Binary: true}}, Assigns: []byte(`{}`), Stop: true,
		Pushes: []session.Event{{Name: "p", Payload: text("[1]")}},
		Broadcasts: []session.Broadcast{
			{Event: session.Event{Name: "b", Payload: text("{}")}},
			{Topic: "t", NotSender: true, Event: session.Event{Name: "c", Payload: text("1")}},
		},
		Presence: &session.Person{Key: "ann", Meta: []byte(`{"m":1}`)},
	}
	if got := pushAnswer(resp); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got := pushAnswer(&handlerv1.PushResponse{Presence: &handlerv1.PushResponse_Untrack{Untrack: true}}); !reflect.DeepEqual(got, session.PushAnswer{Untrack: true}) {
		t.Errorf("got %+v", got)
	}
	refused := joinAnswer(&handlerv1.JoinResponse{Refused: true, Assigns: []byte{}})
	if want := (session.JoinAnswer{Refused: true, Reply: session.Reply{Status: "error", Payload: text("{}")}}); !reflect.DeepEqual(refused, want) {
		t.Errorf("got %+v", refused)
	}
}

func TestEveryReasonHasItsName(t *testing.T) {
	seen := map[handlerv1.LeaveReason]bool{}
	for r := session.LeftByClient; r <= session.LeftLost; r++ {
		seen[reasonOf(r)] = true
	}
	if len(seen) != len(handlerv1.LeaveReason_name)-1 || seen[handlerv1.LeaveReason_LEAVE_REASON_UNSPECIFIED] {
		t.Errorf("got %v", seen)
	}
}

func TestConfigIsChecked(t *testing.T) {
	if err := Default("e1").Validate(); err != nil {
		t.Error(err)
	}
	err := Config{ConnectInfo: []string{"cookies"}}.Validate()
	for _, want := range []string{`connect-info: "cookies" is none of peer_data, `, "connect-timeout: ", "handler-calls: ", "handler-wait-bytes: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}
