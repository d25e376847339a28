package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/telemetry"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// serving starts an edge without routers; it ends with the test.
func serving(t *testing.T) *Edge {
	t.Helper()
	listen := func() net.Listener {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return listener
	}
	cfg := Default()
	cfg.ID, cfg.Draining = "e1", Draining{}
	cfg.Group, cfg.Capacity = "blue", 150
	e, err := New(cfg, Deps{
		Clients: listen(), Admin: listen(), Agent: listen(), Memory: 1 << 30,
		Dial:      func(string) (*grpc.ClientConn, error) { return nil, errors.New("no routers here") },
		Usage:     func() (time.Duration, uint64, error) { return 0, 0, nil },
		Telemetry: telemetry.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return e
}

// connect opens a WebSocket to e and returns what reads it behind its handshake.
func connect(t *testing.T, e *Edge) *bufio.Reader {
	t.Helper()
	conn, err := net.Dial("tcp", e.deps.Clients.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // before the edge ends
	_, err = fmt.Fprint(conn, "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"+
		"\x89\x80\x00\x00\x00\x00") // a ping: once it is answered, the session is there
	if err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(conn)
	response, err := http.ReadResponse(answer, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", response, err)
	}
	defer response.Body.Close()
	var pong [2]byte
	if _, err := io.ReadFull(answer, pong[:]); err != nil || pong != [2]byte{0x8A, 0} {
		t.Fatalf("%x, %v", pong, err)
	}
	return answer
}

func TestDisconnectMeansWhoIsNamed(t *testing.T) {
	e := serving(t)
	connect(t, e)
	for _, c := range []struct {
		what *meshv1.Disconnect
		want uint64
	}{
		{&meshv1.Disconnect{}, 0}, // everybody is never meant
		{&meshv1.Disconnect{User: "ada"}, 0},
		{&meshv1.Disconnect{Topic: "room:1"}, 0},
		{&meshv1.Disconnect{Connection: &meshv1.Connection{Edge: "e2", Id: 1}}, 0},
		{&meshv1.Disconnect{Connection: &meshv1.Connection{Edge: "e1", Id: 2}}, 0},
		{&meshv1.Disconnect{Connection: &meshv1.Connection{Edge: "e1", Id: 1}}, 1},
	} {
		answer := calls{e}.Call(t.Context(), &meshv1.EdgeCall{Call: &meshv1.EdgeCall_Disconnect{Disconnect: c.what}})
		if got := answer.GetDisconnected(); got.GetConnections() != c.want || got.GetChannels() != 0 {
			t.Errorf("%v closed %v", c.what, got)
		}
	}
	if answer := (calls{e}).Call(t.Context(), &meshv1.EdgeCall{}); answer != nil {
		t.Errorf("a call of a later version was answered with %v", answer)
	}
}
