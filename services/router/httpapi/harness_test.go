package httpapi_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/skein-mesh/skein/pkg/telemetry"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
	"github.com/skein-mesh/skein/services/router/httpapi"
)

// backend is what the API stands before: it notes what it is asked and answers
// as told.
type backend struct {
	routerv1.UnimplementedRouterServiceServer

	steps []*routerv1.SubscribeResponse // of every subscription
	fails error                         // instead of any answer, and at the end of a subscription
	ended chan struct{}                 // closed when a subscription that waits ends; nil if none waits

	mu     sync.Mutex // guards the fields below
	asked  any
	header metadata.MD
}

func (b *backend) note(ctx context.Context, req any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = req
	b.header, _ = metadata.FromIncomingContext(ctx)
	return b.fails
}

func (b *backend) last() (asked any, header metadata.MD) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked, b.header
}

func (b *backend) Publish(ctx context.Context, req *routerv1.PublishRequest) (*routerv1.PublishResponse, error) {
	return &routerv1.PublishResponse{Owner: "r1"}, b.note(ctx, req)
}

func (b *backend) PublishBatch(ctx context.Context, req *routerv1.PublishBatchRequest) (*routerv1.PublishBatchResponse, error) {
	return &routerv1.PublishBatchResponse{Results: []*routerv1.PublishResult{
		{Owner: "r1"}, {Code: 3, Reason: "message.topic: is missing"},
	}}, b.note(ctx, req)
}

func (b *backend) TopicInfo(ctx context.Context, req *routerv1.TopicInfoRequest) (*routerv1.TopicInfoResponse, error) {
	return &routerv1.TopicInfoResponse{Topic: req.GetTopic(), Owner: "r1", View: 1 << 60, Receivers: []*routerv1.Receiver{
		{Id: "e1", Reason: routerv1.Reason_REASON_ROW},
	}}, b.note(ctx, req)
}

func (b *backend) Disconnect(ctx context.Context, req *routerv1.DisconnectRequest) (*routerv1.DisconnectResponse, error) {
	return &routerv1.DisconnectResponse{Connections: 2, Edges: 1}, b.note(ctx, req)
}

func (b *backend) Subscribe(req *routerv1.SubscribeRequest, stream routerv1.RouterService_SubscribeServer) error {
	fails := b.note(stream.Context(), req)
	if b.ended != nil {
		defer close(b.ended) // also if who listens goes during the steps
	}
	for _, s := range b.steps {
		if err := stream.Send(s); err != nil {
			return err
		}
	}
	if b.ended != nil {
		<-stream.Context().Done()
	}
	return fails
}

// site is the API before a backend.
type site struct {
	url  string
	stop func() error // ends it, and waits
}

// serve runs the API until the test ends.
func serve(t *testing.T, b *backend) *site {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := httpapi.New(listener, b, telemetry.Nop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return &site{"http://" + listener.Addr().String(), stop}
}

// request is one, "METHOD /path", with headers as pairs.
func (s *site) request(ctx context.Context, t *testing.T, call, body string, headers ...string) *http.Response {
	t.Helper()
	method, path, _ := strings.Cut(call, " ")
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// ask returns the status and body of an answer.
func (s *site) ask(t *testing.T, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	resp := s.request(t.Context(), t, method+" "+path, body, headers...)
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

// nextLine is the next line of a stream that says something.
func nextLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, line)
		}
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
}
