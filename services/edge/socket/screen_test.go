package socket_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/services/edge/socket"
)

// ask sends a raw request and returns status and body.
func ask(t *testing.T, s *server, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// request builds a handshake; each change replaces a header line, or removes it
// if there is nothing behind the colon.
func request(target string, changes ...string) string {
	lines := []string{
		"Host: skein", "Connection: keep-alive, Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}
	for _, change := range changes {
		name, value, _ := strings.Cut(change, ":")
		kept := lines[:0:0]
		for _, l := range lines {
			if !strings.HasPrefix(l, name+":") {
				kept = append(kept, l)
			}
		}
		lines = kept
		if value != "" {
			lines = append(lines, change)
		}
	}
	return target + " HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func TestHandshake(t *testing.T) {
	const ok = "GET /socket/websocket?vsn=2.0.0"
	tests := []struct {
		name, request string
		status        int
		body          string
	}{
		{"good", request(ok), 101, ""},
		{"trailing slash", request("GET /socket/websocket/?vsn=2.0.0"), 101, ""},
		{"patch version", request("GET /socket/websocket?vsn=2.0.7"), 101, ""},
		{"no vsn", request("GET /socket/websocket"), 403, ""},
		{"version 1", request("GET /socket/websocket?vsn=1.0.0"), 403, ""},
		{"version 2.1", request("GET /socket/websocket?vsn=2.1.0"), 403, ""},
		{"version 3", request("GET /socket/websocket?vsn=3.0.0"), 403, ""},
		{"version 2", request("GET /socket/websocket?vsn=2"), 403, ""},
		{"version abc", request("GET /socket/websocket?vsn=abc"), 403, ""},
		{"version 2.0.x", request("GET /socket/websocket?vsn=2.0.x"), 403, ""},
		{"vsn list", request("GET /socket/websocket?vsn[]=2.0.0"), 403, ""},
		{"without /websocket", request("GET /socket?vsn=2.0.0"), 404, "Not Found"},
		{"another case", request("GET /Socket/websocket?vsn=2.0.0"), 404, "Not Found"},
		{"post", request("POST /socket/websocket?vsn=2.0.0", "Content-Length: 0"), 400, ""},
		{
			"plain get", request(ok, "Upgrade:", "Connection:", "Sec-WebSocket-Key:", "Sec-WebSocket-Version:"),
			400, "'connection' header must contain 'upgrade', got []",
		},
		{"no upgrade", request(ok, "Upgrade:"), 400, "'upgrade' header must contain 'websocket', got []"},
		{"other upgrade", request(ok, "Upgrade: h2c"), 400, `'upgrade' header must contain 'websocket', got ["h2c"]`},
		{"no key", request(ok, "Sec-WebSocket-Key:"), 400, "'sec-websocket-key' header is absent"},
		{
			"version 12", request(ok, "Sec-WebSocket-Version: 12"),
			400, `'sec-websocket-version' header must equal '13', got ["12"]`,
		},
		{"refused by the application", request("GET /socket/websocket?vsn=2.0.0&refuse=403"), 403, ""},
		{"refused for now", request("GET /socket/websocket?vsn=2.0.0&refuse=503"), 503, ""},
		{"good origin", request(ok, "Origin: https://good.test"), 101, ""},
		{"bad origin", request(ok, "Origin: https://evil.test"), 403, ""},
		{"empty origin", request(ok, "Origin: "), 403, ""},
		{"null origin", request(ok, "Origin: null"), 403, ""},
		{"compression offered", request(ok, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"), 101, ""},
		{"subprotocol offered", request(ok, "Sec-WebSocket-Protocol: phoenix"), 101, ""},
		{"two connection lines", request(ok, "Connection: keep-alive\r\nConnection: upgrade"), 101, ""},
		{"head too large", request(ok, "Cookie: "+strings.Repeat("x", 9000)), 431, "Request Header Fields Too Large"},
		{"long token", request(ok + "&token=" + strings.Repeat("x", 7000)), 101, ""},
	}
	onEngines(t, func(t *testing.T, e mode) {
		s := start(t, socket.Options{
			Engine: e.engine, Writer: e.writer,
			Origin: func(r *socket.Request) bool { return r.Origin == "https://good.test" },
			Accept: func(r *socket.Request) socket.Decision {
				var status int
				_, _ = fmt.Sscan(r.Query.Get("refuse"), &status)
				return socket.Decision(status)
			},
		})
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				resp, body := ask(t, s, tt.request)
				if resp.StatusCode != tt.status || body != tt.body {
					t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, tt.status, tt.body)
				}
				for _, h := range []string{"Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"} {
					if v := resp.Header.Get(h); v != "" {
						t.Errorf("answered with %s: %s", h, v)
					}
				}
			})
		}
	})
}

func TestRequest(t *testing.T) {
	requests := make(chan *socket.Request, 1)
	s := start(t, socket.Options{Open: func(c *socket.Conn, r *socket.Request) socket.Handler {
		requests <- r
		return &echo{conn: c}
	}})
	resp, _ := ask(t, s, request("GET /socket/websocket?vsn=2.0.0&user=a%20b&user=c",
		"Origin: https://a.test", "User-Agent: robot", "Host: skein.test",
		"Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.dG9rMTIz"))
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "phoenix" {
		t.Errorf("subprotocol %q", got)
	}
	r := <-requests
	if r.ID != 1 || r.Path != "/socket/websocket" || r.Query.Encode() != "user=a+b&user=c&vsn=2.0.0" ||
		r.Origin != "https://a.test" || r.UserAgent != "robot" || r.Host != "skein.test" || r.AuthToken != "tok123" ||
		r.Remote.Addr().String() != "127.0.0.1" {
		t.Errorf("got %+v", r)
	}
}

func TestFallback(t *testing.T) {
	s := start(t, socket.Options{Fallback: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "page %s", r.URL.Path)
	})})
	resp, body := ask(t, s, "GET /demo HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp.StatusCode != http.StatusOK || body != "page /demo" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

func TestSlowHeadIsCutOff(t *testing.T) {
	s := start(t, socket.Options{Limits: socket.Limits{Handshake: 30 * time.Millisecond}})
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHo"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Fatal(err)
	}
}

func TestSocketsPerAddress(t *testing.T) {
	onEngines(t, func(t *testing.T, e mode) {
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Limits: socket.Limits{PerIP: 2}})
		first, second := dial(t, s), dial(t, s)
		first.text("a")
		first.expect("a")
		second.text("a")
		second.expect("a")
		if resp, _ := ask(t, s, handshake); resp.StatusCode != http.StatusTooManyRequests {
			t.Errorf("the third got %s", resp.Status)
		}
		_ = first.Close()
		eventually(t, "a place is free", func() bool { return s.Count() == 1 })
		dial(t, s).text("a")
	})
}
