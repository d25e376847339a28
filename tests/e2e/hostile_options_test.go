//go:build e2e

package e2e

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
	"github.com/skein-mesh/skein/tests/wsclient"
)

// furtherAttacks are those on what an operator may switch on or off.
func furtherAttacks() []attack {
	return []attack{
		{"inflating bombs", inflatingBombs},
		{"deflate data that is none", brokenDeflate},
		{"extensions and subprotocols without sense", hostileHandshakes},
		{"tokens that nobody issued", forgedTokens},
		{"maps of version 1 that are none", brokenMaps},
		{"refused over and over", refusals},
		{"pushes as fast as the kernel takes them", pushFlood},
		{"people without measure", hostilePeople},
		{"people who come and go without end", churn},
		{"long-poll sessions that nobody polls", abandonedPolls},
		{"long-poll bodies that are no messages", poisonedPolls},
		{"long-poll tokens that were guessed", guessedTokens},
		{"long-poll bodies that never end", endlessBodies},
		{"requests that smuggle others", smuggled},
	}
}

func deflated(data []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write(data)
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// compressing opens a socket that may send compressed frames.
func compressing(t *testing.T, f *fleet) *wsclient.Conn {
	t.Helper()
	header := http.Header{"Sec-Websocket-Extensions": {"permessage-deflate; client_max_window_bits"}}
	w, answer, err := wsclient.Upgrade(t.Context(), f.edges[0].listen, "/socket/websocket?vsn=2.0.0", header)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	if !strings.Contains(answer.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		t.Fatalf("compression was not negotiated: %v", answer.Header)
	}
	return w
}

// rsv1 marks the first frame of a compressed message.
const rsv1 = 0x40

func inflatingBombs(t *testing.T, f *fleet) {
	bomb := deflated(make([]byte, 256<<20)) // 256 KB on the wire
	for range 10 {
		w := compressing(t, f)
		_ = w.Raw(wsclient.Frame(wsclient.Fin|rsv1|wsclient.Text, bomb))
		expectEnd(t, w, 1009, 1006)
	}
}

func brokenDeflate(t *testing.T, f *fleet) {
	good := deflated([]byte(`[null,"1","phoenix","heartbeat",{}]`))
	for name, frame := range map[string][]byte{
		"noise":               wsclient.Frame(wsclient.Fin|rsv1|wsclient.Text, bytes.Repeat([]byte{0xff}, 100)),
		"nothing":             wsclient.Frame(wsclient.Fin|rsv1|wsclient.Text, nil),
		"compressed ping":     wsclient.Frame(wsclient.Fin|rsv1|wsclient.Ping, []byte("x")),
		"other reserved bits": wsclient.Frame(wsclient.Fin|0x20|wsclient.Text, good),
		"second fragment too": append(wsclient.Frame(rsv1|wsclient.Text, good[:5]), wsclient.Frame(wsclient.Fin|rsv1, good[5:])...),
	} {
		t.Run(name, func(t *testing.T) {
			w := compressing(t, f)
			_ = w.Raw(frame)
			expectEnd(t, w, 1002, 1007, 1011)
		})
	}
}

func hostileHandshakes(t *testing.T, f *fleet) {
	for _, header := range []http.Header{
		{"Sec-Websocket-Extensions": {strings.Repeat("permessage-deflate; client_max_window_bits=15,", 150)}},
		{"Sec-Websocket-Extensions": {`permessage-deflate; server_max_window_bits="99`, ";;;=,,"}},
		{"Sec-Websocket-Protocol": {strings.Repeat("a,", 3000)}},
		{"Sec-Websocket-Protocol": {"phoenix, base64url.bearer.phx.%%%%"}},
		{"Origin": {"https://" + strings.Repeat("a", 4000)}},
		{"Origin": {"http://[::1"}},
		{"Sec-Websocket-Key": {"short"}},
	} {
		w, answer, err := wsclient.Upgrade(t.Context(), f.edges[0].listen, "/socket/websocket?vsn=2.0.0", header)
		switch {
		case err != nil:
			t.Errorf("%.100q: no answer: %v", header, err)
		case w == nil && (answer.Status < 400 || answer.Status > 499):
			t.Errorf("%.100q: answered with %d", header, answer.Status)
		case w != nil:
			_ = w.Text(`[null,"1","phoenix","heartbeat",{}]`)
			if _, _, err := w.Read(); err != nil {
				t.Errorf("%.100q: a socket that was opened does not answer: %v", header, err)
			}
			_ = w.Close()
		}
	}
}

func forgedTokens(t *testing.T, f *fleet) {
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"root","exp":9e99}`)) + "."
	for _, token := range []string{none, "..", strings.Repeat("a.", 2000), strings.Repeat("e30", 2000) + ".e30.e30"} {
		w := dial(t, f.edges[0].listen)
		_ = w.Text(`["1","1","room:forged","phx_join",{"token":"` + token + `"}]`)
		if _, _, err := w.Read(); err != nil { // the namespace is open: the token is worth nothing, and does no harm
			t.Error(err)
		}
	}
}

func brokenMaps(t *testing.T, f *fleet) {
	for _, text := range []string{
		`[]`, `{}`, `{"topic":"a","event":"b","ref":"1"}`, `{"topic":{},"event":[],"payload":{},"ref":null`,
		`{"topic":"a","topic":"b","event":"e","payload":` + strings.Repeat("[", 5000), `{"` + strings.Repeat("k", 100_000) + `":1}`,
	} {
		w, _, err := wsclient.Upgrade(t.Context(), f.edges[0].listen, "/socket/websocket", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Text(text)
		expectEnd(t, w, 1011)
	}
}

// refusals asks for what is refused, from an address that neighbours use too.
func refusals(t *testing.T, f *fleet) {
	for range 30 {
		conn, err := net.DialTimeout("tcp", f.edges[0].listen, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = io.WriteString(conn, "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.test\r\nUpgrade: websocket\r\n"+
			"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	}
}

// pushFlood sends without reading for as long as it may, which is not long.
func pushFlood(t *testing.T, f *fleet) {
	w := dial(t, f.edges[0].listen)
	_ = w.Text(`["1","1","room:flood","phx_join",{}]`)
	push := wsclient.Frame(wsclient.Fin|wsclient.Text, []byte(`["1","2","room:flood","e",{"a":"`+strings.Repeat("x", 200)+`"}]`))
	flood := bytes.Repeat(push, 200)
	_ = w.SetWriteDeadline(time.Now().Add(3 * time.Second))
	for range 500 { // 100,000 pushes
		if w.Raw(flood) != nil {
			break
		}
	}
	_ = w.Close()
}

func hostilePeople(t *testing.T, f *fleet) {
	for _, params := range []any{
		map[string]any{"user_id": strings.Repeat("u", 100_000)},
		map[string]any{"user_id": "big", "meta": map[string]string{"a": strings.Repeat("m", 200_000)}},
		map[string]any{"user_id": []int{1}, "meta": "none"},
		map[string]any{"user_id": "\x00\u202e", "meta": map[string]any{"phx_ref": "forged", "phx_ref_prev": []int{1}}},
		[]string{"no", "params"},
	} {
		c := connect(t, f.edges[0], nil)
		if err := c.push("presence:hostile", "phx_join", params); err != nil {
			t.Errorf("a join was refused: %v", err)
		}
	}
}

func churn(t *testing.T, f *fleet) {
	w := dial(t, f.edges[0].listen)
	go func() { _, _ = io.Copy(io.Discard, w.Conn) }() // ends with the socket
	for i := range 2000 {
		_ = w.Text(fmt.Sprintf(`["%d","%d","presence:churn","phx_join",{"user_id":"u%d"}]`, i, i, i))
		_ = w.Text(fmt.Sprintf(`["%d","l%d","presence:churn","phx_leave",{}]`, i, i))
	}
	_ = w.Close()
}

// poll asks the long-poll endpoint and returns the status and token of the body.
func poll(t *testing.T, f *fleet, method, query string, body io.Reader) (status int, token string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+f.edges[0].listen+"/socket/longpoll?vsn=2.0.0"+query, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	response, err := (&http.Client{Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close() // only read
	var answer struct {
		Status int
		Token  string
	}
	_ = json.NewDecoder(response.Body).Decode(&answer)
	return answer.Status, answer.Token
}

// abandonedPolls opens sessions until the address may have no more, and expects
// that they make room again by themselves.
func abandonedPolls(t *testing.T, f *fleet) {
	opened := 0
	for range 2000 {
		if status, _ := poll(t, f, http.MethodGet, "", nil); status != http.StatusGone {
			break
		}
		opened++
	}
	if opened >= 1500 {
		t.Errorf("%d sessions were opened from one address", opened)
	}
	process.Eventually(t, 20*time.Second, "the sessions are over", func() bool {
		status, _ := poll(t, f, http.MethodGet, "", nil)
		return status == http.StatusGone
	})
}

func poisonedPolls(t *testing.T, f *fleet) {
	for _, body := range []string{"", "\n\n", "not base64!", "[1,2", `["1","1","room:a","phx_join",{}`, strings.Repeat("[]\n", 5000), strings.Repeat("/", 100_000)} {
		_, token := poll(t, f, http.MethodGet, "", nil)
		if status, _ := poll(t, f, http.MethodPost, "&token="+token, strings.NewReader(body)); status == http.StatusOK && body != "" && body != "\n\n" {
			t.Errorf("%.20q was taken", body)
		}
	}
}

func guessedTokens(t *testing.T, f *fleet) {
	for _, token := range []string{"a", strings.Repeat("A", 5000), "%00", "..%2f..", base64.RawURLEncoding.EncodeToString([]byte("edge-b"))} {
		if status, _ := poll(t, f, http.MethodPost, "&token="+token, strings.NewReader(`["1","1","room:a","phx_join",{}]`)); status != http.StatusGone {
			t.Errorf("token %.20q: status %d", token, status)
		}
	}
}

// endlessBodies announces large bodies and sends them a byte at a time.
func endlessBodies(t *testing.T, f *fleet) {
	for range 100 {
		conn, err := net.DialTimeout("tcp", f.edges[0].listen, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = io.WriteString(conn, "POST /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n[")
	}
	huge := &io.LimitedReader{R: endless{}, N: 64 << 20}
	if status, _ := poll(t, f, http.MethodPost, "", huge); status == http.StatusOK {
		t.Error("a body of 64 MiB was taken")
	}
}

// endless is a reader of "a" without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("a"), len(p))), nil }

// smuggled hides requests in others, and in what follows a handshake.
func smuggled(t *testing.T, f *fleet) {
	for _, text := range []string{
		"POST /socket/longpoll HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n",
		"POST /socket/longpoll HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
		"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 4\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET ",
		"GET http://evil.test/socket/websocket HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	} {
		conn, err := net.DialTimeout("tcp", f.edges[0].listen, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		answer, err := io.ReadAll(io.LimitReader(conn, 1<<16))
		var timeout net.Error
		if err != nil && !errors.As(err, &timeout) && !errors.Is(err, net.ErrClosed) {
			t.Logf("%.40q: %v", text, err)
		}
		if strings.Count(string(answer), "HTTP/1.1 200") > 1 {
			t.Errorf("%.40q got two answers:\n%s", text, answer)
		}
		_ = conn.Close()
	}
}
