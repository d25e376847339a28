package socket_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/skein-mesh/skein/pkg/telemetry/logtest"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/handshake"
	"github.com/skein-mesh/skein/services/edge/socket"
)

// loopback is where the tests' balancers are.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// header is one of the PROXY protocol, as the module writes it.
func header(t *testing.T, version byte, source, destination net.Addr, tlvs ...proxyproto.TLV) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(version, source, destination)
	if err := h.SetTLVs(tlvs); err != nil {
		t.Fatal(err)
	}
	text, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func tcp(address string) *net.TCPAddr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))
}

// visitors are the addresses of those who were admitted.
type visitors struct {
	mu   sync.Mutex
	seen []netip.AddrPort
}

func (v *visitors) last() netip.AddrPort {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen[len(v.seen)-1]
}

func (v *visitors) mounts() []socket.Mount {
	return []socket.Mount{{
		Path: socket.DefaultPath, Compress: true,
		Admit: func(_ context.Context, r *handshake.Request) (func(*socket.Conn) socket.Handler, handshake.Refusal) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.seen = append(v.seen, r.Remote)
			return echoes, handshake.Refusal{}
		},
	}}
}

func TestProxyHeaderGivesTheClientsAddress(t *testing.T) {
	four, six := tcp("192.0.2.7:4711"), tcp("[2001:db8::7]:4711")
	to4, to6 := tcp("192.0.2.1:443"), tcp("[2001:db8::1]:443")
	alpn := proxyproto.TLV{Type: proxyproto.PP2_TYPE_ALPN, Value: []byte("http/1.1")}
	certificate := proxyproto.TLV{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, 3000)}
	unix := func(name string) net.Addr { return &net.UnixAddr{Net: "unix", Name: name} }
	udp := func(a *net.TCPAddr) net.Addr { return &net.UDPAddr{IP: a.IP, Port: a.Port} }
	for _, c := range []struct{ name, header, want string }{
		{"v1 IPv4", header(t, 1, four, to4), "192.0.2.7:4711"},
		{"v1 IPv6", header(t, 1, six, to6), "[2001:db8::7]:4711"},
		{"v1 unknown", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ""},
		{"v2 IPv4", header(t, 2, four, to4), "192.0.2.7:4711"},
		{"v2 IPv6", header(t, 2, six, to6), "[2001:db8::7]:4711"},
		{"v2 mapped", header(t, 2, tcp("[::ffff:192.0.2.7]:4711"), to6), "192.0.2.7:4711"},
		{"v2 with TLVs", header(t, 2, four, to4, alpn, certificate), "192.0.2.7:4711"},
		{"v2 QUIC", header(t, 2, udp(four), udp(to4)), "192.0.2.7:4711"},
		{"v2 unix", header(t, 2, unix("/a"), unix("/b")), ""},
		{"v2 local", header(t, 2, nil, nil), ""},
		{"v2 local with an address", "\r\n\r\n\x00\r\nQUIT\n\x20\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x03\x04", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			onEngines(t, func(t *testing.T, e mode) {
				var v visitors
				s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Balancers: loopback, Mounts: v.mounts()})
				client := dialBehind(t, s, c.header)
				client.text("hello")
				client.expect("hello")
				want := c.want
				if want == "" { // the balancer itself
					want = client.LocalAddr().String()
				}
				if got := v.last().String(); got != want {
					t.Errorf("the client is %s, want %s", got, want)
				}
			})
		})
	}
}

// dialBehind connects as a client behind a balancer that sends this header.
func dialBehind(t *testing.T, s *server, header string, behind ...byte) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, header); err != nil {
		t.Fatal(err)
	}
	return upgrade(t, conn, behind...)
}

// TestProxyHeaderLosesNoByte sends header, handshake and the first frames at
// once, so that all of it is read with the header; and the same byte by byte.
func TestProxyHeaderLosesNoByte(t *testing.T) {
	early := append(frame(wsframe.Text, true, strings.Repeat("a", 3000)), frame(wsframe.Text, true, "second")...)
	for _, version := range []byte{1, 2} {
		all := append([]byte(header(t, version, tcp("192.0.2.7:4711"), tcp("192.0.2.1:443"))+hello), early...)
		for name, size := range map[string]int{"at once": len(all), "in bytes": 1, "in pieces": 97} {
			t.Run(name, func(t *testing.T) {
				onEngines(t, func(t *testing.T, e mode) {
					s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Balancers: loopback})
					conn, err := net.Dial("tcp", s.addr)
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = conn.Close() }()
					go func() {
						for rest := all; len(rest) > 0; rest = rest[min(size, len(rest)):] {
							_, _ = conn.Write(rest[:min(size, len(rest))]) // the reader below notices
						}
					}()
					c := answered(t, conn)
					c.expect(strings.Repeat("a", 3000), "second")
				})
			})
		}
	}
}

// answered is the client of a handshake that somebody else sent.
func answered(t *testing.T, conn net.Conn) *client {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := newClient(t, conn)
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %s", resp.Status)
	}
	return c
}

func TestWhoDoesNotIntroduceItsClientIsRefused(t *testing.T) {
	v2 := header(t, 2, tcp("192.0.2.7:4711"), tcp("192.0.2.1:443"))
	for _, c := range []struct {
		name, sent string
		from       []netip.Prefix
		reason     string
	}{
		{"no header", hello, loopback, "proxy_header"},
		{"garbage", "\x16\x03\x01\x02\x00", loopback, "proxy_header"},
		{"v1 without an end", "PROXY TCP4 " + strings.Repeat("1", 200), loopback, "proxy_header"},
		{"v1 without a sense", "PROXY TCP4 here there 1 2\r\n", loopback, "proxy_header"},
		{"v1 with a bare line feed", "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n", loopback, "proxy_header"},
		{"v2 too long", v2[:14] + "\xff\xff", loopback, "proxy_header"},
		{"v2 too short for its addresses", v2[:14] + "\x00\x04abcd", loopback, "proxy_header"},
		{"v2 of an unknown command", v2[:12] + "\x2f" + v2[13:], loopback, "proxy_header"},
		{"v2 of no family", v2[:13] + "\x00\x00\x00", loopback, "proxy_header"},
		{"v2 of an unknown transport", v2[:13] + "\x13" + v2[14:], loopback, "proxy_header"},
		{"somebody else", v2 + hello, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, "peer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			reader := metric.NewManualReader()
			var log logtest.Buffer
			s := start(t, socket.Options{
				Balancers: c.from, Meter: metric.NewMeterProvider(metric.WithReader(reader)).Meter("test"),
				Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			})
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(conn, c.sent) // it may be refused already
			if answer, err := io.ReadAll(conn); len(answer) > 0 || isTimeout(err) {
				t.Fatalf("answered %q, %v", answer, err)
			}
			name := "skein.socket.refusals/" + c.reason
			eventually(t, "it is counted", func() bool { return collect(t, reader)[name] == 1 })
			if text := log.String(); !strings.Contains(text, "reason="+c.reason) || !strings.Contains(text, "proxy protocol: ") && !strings.Contains(text, "proxyproto: ") {
				t.Errorf("the log has no reason: %s", text)
			}
		})
	}
}

func TestLateProxyHeaderIsRefused(t *testing.T) {
	s := start(t, socket.Options{Balancers: loopback, Limits: socket.Limits{Handshake: 20 * time.Millisecond}})
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "PROXY ")
	if _, err := io.ReadAll(conn); isTimeout(err) {
		t.Fatal("it may take for ever")
	}
	eventually(t, "it is counted", func() bool { return s.Stats().Refused == 1 })
}

// TestPortScanIsNoRefusal: balancers may look whether the port is open.
func TestPortScanIsNoRefusal(t *testing.T) {
	s := start(t, socket.Options{Balancers: loopback})
	for _, sent := range []string{"", header(t, 2, nil, nil)} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, sent)
		_ = conn.(*net.TCPConn).CloseWrite()
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	if n := s.Stats().Refused; n != 0 {
		t.Errorf("%d refusals", n)
	}
}

func TestSocketsOfAnAddressAreCountedBehindABalancer(t *testing.T) {
	onEngines(t, func(t *testing.T, e mode) {
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Balancers: loopback, Addresses: socket.NewAddresses(1)})
		to := tcp("192.0.2.1:443")
		first := dialBehind(t, s, header(t, 2, tcp("192.0.2.7:1"), to))
		dialBehind(t, s, header(t, 2, tcp("192.0.2.8:1"), to))
		eventually(t, "both are counted", func() bool { return s.Count() == 2 })
		if resp, _ := ask(t, s, header(t, 1, tcp("192.0.2.7:2"), to)+request("GET /socket/websocket?vsn=2.0.0")); resp.StatusCode != http.StatusTooManyRequests {
			t.Fatalf("the second of one address: %s", resp.Status)
		}
		_ = first.Close()
		eventually(t, "the first is gone", func() bool { return s.Count() == 1 })
		dialBehind(t, s, header(t, 2, tcp("192.0.2.7:3"), to))
	})
}

func TestFallbackSeesTheClientsAddress(t *testing.T) {
	s := start(t, socket.Options{Balancers: loopback, Fallback: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr)
	})})
	_, body := ask(t, s, header(t, 2, tcp("192.0.2.7:4711"), tcp("192.0.2.1:443"))+"GET / HTTP/1.1\r\nHost: skein\r\n\r\n")
	if body != "192.0.2.7:4711" {
		t.Errorf("the client is %q", body)
	}
}

// TestStopWithAHeaderUnderWay: a balancer that says nothing does not hold a stop.
func TestStopWithAHeaderUnderWay(t *testing.T) {
	s := start(t, socket.Options{Balancers: loopback})
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "PROXY ")
	dialBehind(t, s, header(t, 2, nil, nil)) // now the other one is accepted, too
	s.end()
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error) //nolint:errorlint // as the connection returns it
	return ok && timeout.Timeout()
}
