package socket_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/handshake"
	"github.com/skein-mesh/skein/services/edge/socket"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv("SKEIN_SOCKET_BENCH_CLIENTS"); spec != "" {
		fmt.Fprintln(os.Stderr, "benchmark clients:", runClients(spec))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds waiting for what must happen; no test expects it to run out.
const patience = 30 * time.Second

// mode is a way to hold sockets.
type mode struct {
	name   string
	engine socket.Engine
	writer socket.Writer
}

// modes are what every test of behaviour runs on.
func modes() []mode {
	return []mode{
		{"write", socket.Auto, socket.WriteCalls},
		{"uring", socket.Auto, socket.UringWriter},
		{"portable", socket.Portable, socket.WriteCalls},
	}
}

// onConns runs a test with both kinds of connections on each engine.
func onConns(t *testing.T, test func(t *testing.T, e mode, dial dialer)) {
	onEngines(t, func(t *testing.T, e mode) {
		t.Run("plain", func(t *testing.T) { test(t, e, dial) })
		t.Run("deflating", func(t *testing.T) { test(t, e, dialDeflating) })
	})
}

// dialer is [dial] or [dialDeflating].
type dialer func(t *testing.T, s *server, behind ...byte) *client

func onEngines(t *testing.T, test func(t *testing.T, e mode)) {
	for _, e := range modes() {
		t.Run(e.name, func(t *testing.T) { test(t, e) })
	}
}

// server is a running [socket.Server].
type server struct {
	*socket.Server
	t    *testing.T
	addr string
	stop context.CancelFunc
	done chan error
}

func start(t *testing.T, opts socket.Options) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts.Listener = ln
	if opts.Mounts == nil {
		opts.Mounts = at(echoes)
	}
	ctx, stop := context.WithCancel(t.Context())
	s := &server{Server: socket.New(opts), t: t, addr: ln.Addr().String(), stop: stop, done: make(chan error, 1)}
	go func() { s.done <- s.Run(ctx) }()
	t.Cleanup(s.end)
	return s
}

// at is a mount that admits everybody, compressed if they like.
func at(open func(*socket.Conn) socket.Handler) []socket.Mount {
	return []socket.Mount{{Path: socket.DefaultPath, Admit: admit(open), Compress: true}}
}

func admit(open func(*socket.Conn) socket.Handler) func(context.Context, *handshake.Request) (func(*socket.Conn) socket.Handler, handshake.Refusal) {
	return func(context.Context, *handshake.Request) (func(*socket.Conn) socket.Handler, handshake.Refusal) {
		return open, handshake.Refusal{}
	}
}

func echoes(c *socket.Conn) socket.Handler { return &echo{conn: c} }

// end stops the server and checks that nothing is left.
func (s *server) end() {
	s.stop()
	select {
	case err := <-s.done:
		if err != nil {
			s.t.Errorf("run: %v", err)
		}
		s.done <- nil
	case <-time.After(patience):
		s.t.Error("the server does not stop")
		return
	}
	if n := s.Count(); n != 0 {
		s.t.Errorf("%d sockets are left", n)
	}
	if st := s.Stats(); st.Opened != st.Closed {
		s.t.Errorf("%d opened, %d closed", st.Opened, st.Closed)
	}
}

// echo sends messages back and does what some of them say.
type echo struct {
	conn   *socket.Conn
	closed func()
}

func (e *echo) Message(op wsframe.Opcode, data []byte) {
	switch string(data) {
	case "restart":
		e.conn.Close(wsframe.CodeRestart, "")
	case "panic":
		panic("asked to")
	default:
		f := wsframe.New(op, data)
		if e.conn.Deflates() && len(data) >= wsframe.DeflateMin {
			f = wsframe.Deflate(f)
		}
		e.conn.Send(f)
	}
}

func (e *echo) Closed() {
	if e.closed != nil {
		e.closed()
	}
}

// client is a WebSocket client that can misbehave.
type client struct {
	net.Conn
	t        *testing.T
	in       *bufio.Reader
	deflates bool
}

const hello = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: skein\r\nConnection: Upgrade\r\n" +
	"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

func dial(t *testing.T, s *server, behind ...byte) *client {
	t.Helper()
	return dialBy(t, s, hello, behind...)
}

// deflating is hello with an offer of compression, as browsers make it.
var deflating = strings.Replace(hello, "\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n", 1)

// dialDeflating connects a client that negotiates compression.
func dialDeflating(t *testing.T, s *server, behind ...byte) *client {
	t.Helper()
	return dialBy(t, s, deflating, behind...)
}

func dialBy(t *testing.T, s *server, hello string, behind ...byte) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return upgradeBy(t, conn, hello, behind...)
}

func upgrade(t *testing.T, conn net.Conn, behind ...byte) *client {
	t.Helper()
	return upgradeBy(t, conn, hello, behind...)
}

func upgradeBy(t *testing.T, conn net.Conn, hello string, behind ...byte) *client {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := newClient(t, conn)
	c.write(append([]byte(hello), behind...))
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %s", resp.Status)
	}
	if got := resp.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("accept key %q", got)
	}
	if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != "" {
		if got != "permessage-deflate; server_no_context_takeover; client_no_context_takeover" {
			t.Fatalf("extensions %q", got)
		}
		c.deflates = true
	}
	if c.deflates != (hello == deflating) {
		t.Fatalf("compression is negotiated: %t", c.deflates)
	}
	return c
}

func newClient(t *testing.T, conn net.Conn) *client {
	return &client{Conn: conn, t: t, in: bufio.NewReader(conn)}
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func frame(op wsframe.Opcode, final bool, payload string) []byte {
	return wsframe.AppendClient(nil, op, final, [4]byte{1, 2, 3, 4}, []byte(payload))
}

func (c *client) text(payload string) { c.t.Helper(); c.write(frame(wsframe.Text, true, payload)) }

// next reads one frame in a readable form, or "end".
func (c *client) next() string {
	c.t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		if errors.Is(err, io.EOF) || strings.Contains(err.Error(), "reset by peer") {
			return "end"
		}
		c.t.Fatalf("read: %v", err)
	}
	deflated := head[0]&0x40 != 0
	if head[0]&0xb0 != 0x80 || head[1]&0x80 != 0 || deflated && !c.deflates {
		c.t.Fatalf("bad header % x", head)
	}
	size := int(head[1])
	switch size {
	case 126:
		var b [2]byte
		_, _ = io.ReadFull(c.in, b[:])
		size = int(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, _ = io.ReadFull(c.in, b[:])
		size = int(binary.BigEndian.Uint64(b[:]))
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		c.t.Fatalf("read payload: %v", err)
	}
	if deflated {
		return "deflated " + inflate(c.t, payload)
	}
	switch op := wsframe.Opcode(head[0] & 0x0f); op {
	case wsframe.Close:
		if size < 2 {
			return "close"
		}
		return fmt.Sprintf("close %d", binary.BigEndian.Uint16(payload))
	case wsframe.Pong:
		return "pong " + string(payload)
	case wsframe.Binary:
		return "binary " + string(payload)
	default:
		return string(payload)
	}
}

// deflate compresses as a client does, by the standard library.
func deflate(text string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 6)
	_, _ = io.WriteString(w, text)
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

func inflate(t *testing.T, payload []byte) string {
	t.Helper()
	r := flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("inflate: %v", err)
	}
	return string(text)
}

// expect reads these frames.
func (c *client) expect(want ...string) {
	c.t.Helper()
	for i, w := range want {
		if got := c.next(); got != w {
			c.t.Fatalf("frame %d: got %.80q, want %.80q", i, got, w)
		}
	}
}

// eventually polls a condition that other goroutines bring about.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(patience); !cond(); <-again.C {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// tape records what a handler was told.
type tape struct {
	mu    sync.Mutex
	lines []string
}

func (t *tape) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
}

func (t *tape) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, " ")
}
