package socket_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/services/edge/handshake"
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

// hook is the application of [TestHandshake]: it refuses by origin and by the
// parameter refuse.
func hook(_ context.Context, r *handshake.Request) (func(*socket.Conn) socket.Handler, handshake.Refusal) {
	if r.HasOrigin && r.Origin != "https://good.test" {
		return nil, handshake.Forbidden
	}
	switch r.Params.Get("refuse") {
	case "":
		return echoes, handshake.Refusal{}
	case "panic":
		panic("asked to")
	case "nothing":
		return nil, handshake.Refusal{}
	default:
		var no handshake.Refusal
		_, _ = fmt.Sscanf(r.Params.Get("refuse"), "%d %s", &no.Status, &no.Body)
		return nil, no
	}
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
		{"no vsn", request("GET /socket/websocket"), 101, ""},
		{"version 1", request("GET /socket/websocket?vsn=1.0.0"), 101, ""},
		{"version 2.1", request("GET /socket/websocket?vsn=2.1.0"), 403, ""},
		{"version 3", request("GET /socket/websocket?vsn=3.0.0"), 403, ""},
		{"version 2", request("GET /socket/websocket?vsn=2"), 403, ""},
		{"version abc", request("GET /socket/websocket?vsn=abc"), 403, ""},
		{"version 2.0.x", request("GET /socket/websocket?vsn=2.0.x"), 403, ""},
		{"vsn list", request("GET /socket/websocket?vsn[]=2.0.0"), 403, ""},
		{"malformed query", request(ok + "&a=%zz"), 400, "the query is not percent-encoded UTF-8"},
		{"query that is not UTF-8", request(ok + "&a=%ff"), 400, "the query is not percent-encoded UTF-8"},
		{"without /websocket", request("GET /socket?vsn=2.0.0"), 404, "Not Found"},
		{"another case", request("GET /Socket/websocket?vsn=2.0.0"), 404, "Not Found"},
		{"path param", request("GET /ws/42/websocket?vsn=2.0.0"), 101, ""},
		{"path param that is malformed", request("GET /ws/%zz/websocket?vsn=2.0.0"), 400, "the path is malformed"},
		{"path param that is not UTF-8", request("GET /ws/%ff/websocket?vsn=2.0.0"), 400, "the path is malformed"},
		{"path param is missing", request("GET /ws/websocket?vsn=2.0.0"), 404, "Not Found"},
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
		{"refused by the application", request(ok + "&refuse=403"), 403, ""},
		{"refused for now", request(ok + "&refuse=503%20later"), 503, "later"},
		{"the application panics", request(ok + "&refuse=panic"), 500, "Internal Server Error"},
		{"the application makes nothing", request(ok + "&refuse=nothing"), 500, ""},
		{"good origin", request(ok, "Origin: https://good.test"), 101, ""},
		{"bad origin", request(ok, "Origin: https://evil.test"), 403, ""},
		{"empty origin", request(ok, "Origin: "), 403, ""},
		{"null origin", request(ok, "Origin: null"), 403, ""},
		{"token that is not base64", request(ok, "Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.!"), 400, `the token behind "base64url.bearer.phx." is not base64url of UTF-8`},
		{"two connection lines", request(ok, "Connection: keep-alive\r\nConnection: upgrade"), 101, ""},
		{"head too large", request(ok, "Cookie: "+strings.Repeat("x", 9000)), 431, "Request Header Fields Too Large"},
		{"long token", request(ok + "&token=" + strings.Repeat("x", 7000)), 101, ""},
	}
	onEngines(t, func(t *testing.T, e mode) {
		s := start(t, socket.Options{
			Engine: e.engine, Writer: e.writer,
			Mounts: []socket.Mount{{Path: "/socket", Admit: hook}, {Path: "/ws/:user_id", Admit: hook}},
		})
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				resp, body := ask(t, s, tt.request)
				if resp.StatusCode != tt.status || body != tt.body {
					t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, tt.status, tt.body)
				}
			})
		}
	})
}

// What a mount negotiates is its own affair.
func TestNegotiation(t *testing.T) {
	const (
		deflate  = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
		token    = "base64url.bearer.phx.dG9rMTIz"
		protocol = "Sec-WebSocket-Protocol: "
		offer    = "Sec-WebSocket-Extensions: "
	)
	tests := []struct {
		name, mount, header  string
		status               int
		extensions, protocol string
	}{
		{"compression offered, off", "/plain", offer + "permessage-deflate; client_max_window_bits", 101, "", ""},
		{"compression not offered", "/full", offer, 101, "", ""},
		{"compression as browsers offer it", "/full", offer + "permessage-deflate; client_max_window_bits", 101, deflate, ""},
		{"compression with all options", "/full", offer + deflate + "; server_max_window_bits=15; client_max_window_bits=9", 101, deflate, ""},
		{"second offer fits", "/full", offer + "permessage-deflate; server_max_window_bits=9, permessage-deflate", 101, deflate, ""},
		{"small server window", "/full", offer + "permessage-deflate; server_max_window_bits=9", 101, "", ""},
		{"something like compression", "/full", offer + "permessage-deflatex", 101, "", ""},
		{"unknown parameter", "/full", offer + "permessage-deflate; level=9", 101, "", ""},
		{"malformed offer", "/full", offer + `permessage-deflate; client_max_window_bits="`, 101, "", ""},
		{"thousands of offers", "/full", offer + strings.Repeat("a;b,", 1500) + "permessage-deflate", 101, deflate, ""},
		{"subprotocol offered, none configured", "/plain", protocol + "phoenix", 101, "", ""},
		{"subprotocol", "/full", protocol + "xyz, mqtt", 101, "", "mqtt"},
		{"server's order", "/full", protocol + "mqtt, amqp", 101, "", "amqp"},
		{"unknown subprotocol", "/full", protocol + "xyz", 403, "", ""},
		{"no subprotocol", "/full", protocol, 101, "", ""},
		{"token", "/plain", protocol + "phoenix, " + token, 101, "", "phoenix"},
		{"token alone", "/plain", protocol + token, 101, "", ""},
		{"token, subprotocols configured", "/full", protocol + "phoenix, " + token, 101, "", "phoenix"},
		{"token and subprotocol", "/full", protocol + "amqp, phoenix, " + token, 101, "", "amqp"},
		{"both", "/full", protocol + "amqp\r\n" + offer + "permessage-deflate", 101, deflate, "amqp"},
	}
	onEngines(t, func(t *testing.T, e mode) {
		deflates := make(chan bool, 1)
		open := admit(func(c *socket.Conn) socket.Handler {
			deflates <- c.Deflates()
			return &echo{conn: c}
		})
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Mounts: []socket.Mount{
			{Path: "/plain", Admit: open},
			{Path: "/full", Admit: open, Compress: true, Subprotocols: []string{"amqp", "mqtt"}},
		}})
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				resp, _ := ask(t, s, request("GET "+tt.mount+"/websocket?vsn=2.0.0", tt.header))
				if resp.StatusCode != tt.status {
					t.Fatalf("got %s", resp.Status)
				}
				if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != tt.extensions {
					t.Errorf("extensions %q", got)
				}
				if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != tt.protocol {
					t.Errorf("subprotocol %q", got)
				}
				if tt.status == http.StatusSwitchingProtocols && <-deflates != (tt.extensions != "") {
					t.Error("the connection says otherwise")
				}
			})
		}
	})
}

func TestRequest(t *testing.T) {
	requests := make(chan *handshake.Request, 1)
	s := start(t, socket.Options{Mounts: []socket.Mount{{
		Path: "/ws/:user_id",
		Admit: func(_ context.Context, r *handshake.Request) (func(*socket.Conn) socket.Handler, handshake.Refusal) {
			requests <- r
			return echoes, handshake.Refusal{}
		},
	}}})
	_, _ = ask(t, s, request("GET /ws/a%2Fb/websocket?vsn=2.0.0&user=a%20b&user=c&user_id=forged",
		"Origin: https://a.test", "User-Agent: robot", "Host: skein.test:81", "X-Forwarded-For: 10.0.0.1",
		"X-Forwarded-Host: evil.test", "X-Forwarded-Proto: https", "Cookie: secret", "Authorization: secret", "Traceparent: 00-1-2-01",
		"Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.dG9rMTIz"))
	r := <-requests
	for _, field := range []struct{ name, got, want string }{
		{"connection", fmt.Sprint(r.Connection), "1"},
		{"transport", string(r.Transport), "websocket"},
		{"version", fmt.Sprint(r.Version), fmt.Sprint(phx.V2)},
		{"url", r.URL.String(), "http://skein.test:81/ws/a%2Fb/websocket?vsn=2.0.0&user=a%20b&user=c&user_id=forged"},
		{"params", r.Params.Encode(), "user=a+b&user=c&user_id=a%2Fb&vsn=2.0.0"},
		{"remote", r.Remote.Addr().String(), "127.0.0.1"},
		{"origin", fmt.Sprintf("%s %t", r.Origin, r.HasOrigin), "https://a.test true"},
		{"token", r.AuthToken, "tok123"},
		{"header", fmt.Sprint(r.Header), "map[Origin:[https://a.test] Sec-Websocket-Key:[dGhlIHNhbXBsZSBub25jZQ==] " +
			"Sec-Websocket-Protocol:[phoenix] Sec-Websocket-Version:[13] Traceparent:[00-1-2-01] User-Agent:[robot] " +
			"X-Forwarded-For:[10.0.0.1] X-Forwarded-Host:[evil.test] X-Forwarded-Proto:[https]]"},
	} {
		if field.got != field.want {
			t.Errorf("%s is %s, want %s", field.name, field.got, field.want)
		}
	}
	_, _ = ask(t, s, request("GET /ws/b/websocket"))
	if r := <-requests; r.Version != phx.V1 || r.HasOrigin || r.AuthToken != "" || r.Connection != 2 || r.Params.Encode() != "user_id=b" {
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
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Addresses: socket.NewAddresses(2)})
		first, second := dial(t, s), dial(t, s)
		first.text("a")
		first.expect("a")
		second.text("a")
		second.expect("a")
		if resp, _ := ask(t, s, hello); resp.StatusCode != http.StatusTooManyRequests {
			t.Errorf("the third got %s", resp.Status)
		}
		_ = first.Close()
		eventually(t, "a place is free", func() bool { return s.Count() == 1 })
		dial(t, s).text("a")
	})
}
