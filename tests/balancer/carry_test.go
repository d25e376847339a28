//go:build e2e

package balancer

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"

	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
	"github.com/skein-mesh/skein/tests/wsclient"
)

// backend is a handler that lets everybody in and remembers who came.
type backend struct {
	handlerv1.UnimplementedChannelHandlerServer

	address string
	came    chan *handlerv1.ConnectInfo
}

// Connect implements [handlerv1.ChannelHandlerServer].
func (b *backend) Connect(_ context.Context, r *handlerv1.ConnectRequest) (*handlerv1.ConnectResponse, error) {
	b.came <- r.GetInfo()
	return &handlerv1.ConnectResponse{}, nil
}

func startBackend(t *testing.T) *backend {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{address: l.Addr().String(), came: make(chan *handlerv1.ConnectInfo, 100)}
	server := grpc.NewServer()
	handlerv1.RegisterChannelHandlerServer(server, b)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return b
}

// way is a balancer with one of the shipped configurations.
type way struct {
	name    string
	proxied bool // it speaks the PROXY protocol
	tcp     bool // and nothing else
	start   func(t *testing.T, hosts []string) *balancer
}

// ways are all that are shipped.
func ways() []way {
	return []way{
		{"haproxy http", false, false, func(t *testing.T, hosts []string) *balancer { t.Helper(); return haproxy(t, "http.cfg", hosts) }},
		{"haproxy http, proxied", true, false, func(t *testing.T, hosts []string) *balancer {
			t.Helper()
			return haproxy(t, "http.cfg", hosts, "PROXY_PROTOCOL=1")
		}},
		{"haproxy tcp", true, true, func(t *testing.T, hosts []string) *balancer { t.Helper(); return haproxy(t, "tcp.cfg", hosts) }},
		{"nginx http", false, false, func(t *testing.T, hosts []string) *balancer { t.Helper(); return nginx(t, "http.conf", hosts) }},
		{"nginx stream", true, true, func(t *testing.T, hosts []string) *balancer { t.Helper(); return nginx(t, "stream.conf", hosts) }},
	}
}

// TestEveryWayCarriesChat: sockets and long-poll work, and handlers are told who
// the client is.
func TestEveryWayCarriesChat(t *testing.T) {
	b := startBackend(t)
	asks := "--connect-handler=" + b.address // routers ask, on behalf of edges
	for _, proxied := range []bool{false, true} {
		f := plan{routerFlags: []string{asks}, edgeFlags: []string{asks, "--connect=handler"}}
		if proxied {
			f.edgeFlags = append(f.edgeFlags, "--proxy-protocol")
		}
		fleet := f.start(t)
		fleet.startEdges(t, 2)
		for _, w := range ways() {
			if w.proxied == proxied {
				t.Run(w.name, func(t *testing.T) { carries(t, b, w, w.start(t, fleet.hosts())) })
			}
		}
	}
}

func carries(t *testing.T, b *backend, w way, lb *balancer) {
	t.Helper()
	// A client may say what it likes of itself.
	liar := http.Header{"X-Forwarded-For": {"192.0.2.1"}}
	var talkers []*wsclient.Conn
	for range 4 { // more than edges: some are on different ones
		c, answer, err := wsclient.Upgrade(t.Context(), lb.listen, wsclient.Path, liar)
		if err != nil || c == nil {
			t.Fatalf("connect: %d, %v", answer.Status, err)
		}
		t.Cleanup(func() { _ = c.Close() })
		told(t, <-b.came, w, c.LocalAddr())
		join(t, c)
		talkers = append(talkers, c)
	}
	if err := talkers[0].Text(`["1","2","room:1","said",{"text":"hello"}]`); err != nil {
		t.Fatal(err)
	}
	for _, c := range talkers {
		await(t, c, `[null,null,"room:1","said",{"text":"hello"}]`)
	}
	polled(t, b, lb)
}

// told checks what the handler was told of a client.
func told(t *testing.T, info *handlerv1.ConnectInfo, w way, client net.Addr) {
	t.Helper()
	var forwarded []string
	for _, h := range info.GetXHeaders() {
		if h.GetName() == "x-forwarded-for" {
			forwarded = append(forwarded, h.GetValue())
		}
	}
	if !w.tcp && (len(forwarded) != 1 || forwarded[0] != "127.0.0.1") {
		t.Errorf("X-Forwarded-For is %q, want what the balancer saw", forwarded)
	}
	peer := net.JoinHostPort(info.GetPeerAddress(), fmt.Sprint(info.GetPeerPort()))
	if same := peer == client.String(); same != w.proxied {
		t.Errorf("the peer is %s, the client %s: the same is %t, want %t", peer, client, same, w.proxied)
	}
}

func join(t *testing.T, c *wsclient.Conn) {
	t.Helper()
	if err := c.Text(`["1","1","room:1","phx_join",{}]`); err != nil {
		t.Fatal(err)
	}
	await(t, c, `["1","1","room:1","phx_reply",{"response":{},"status":"ok"}]`)
}

// await reads until a text comes.
func await(t *testing.T, c *wsclient.Conn, text string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for {
		_, data, err := c.Read()
		if err != nil {
			t.Fatalf("waiting for %s: %v", text, err)
		}
		if string(data) == text {
			return
		}
	}
}

// polled opens a session by long-poll, as phoenix.js does without WebSockets.
func polled(t *testing.T, b *backend, lb *balancer) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+lb.listen+"/socket/longpoll?vsn=2.0.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if info := <-b.came; info.GetTransport() != "longpoll" {
		t.Errorf("the handler is told of a %s", info.GetTransport())
	}
	if response.StatusCode != http.StatusOK {
		t.Errorf("long-poll: %s", response.Status)
	}
}
