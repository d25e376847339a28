package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/wsclient"
)

// patience is how long an answer may take on a slow machine.
const patience = 20 * time.Second

// player replays one case. It belongs to the test's goroutine.
type player struct {
	t     *testing.T
	fleet *stage
	c     *scenario

	sockets  map[string]*socket
	token    string           // the latest of a long-poll session
	response *wsclient.Answer // to the latest request
	lists    map[string]*people
}

// socket is one WebSocket of a case.
type socket struct {
	*wsclient.Conn
	version string
	over    bool // closed, by either side
}

// frame is what a socket received.
type frame struct {
	kind string // TEXT, BIN, PING, PONG, CLOSE or EOF
	data []byte
	code int // of CLOSE
}

func (f frame) String() string {
	switch f.kind {
	case "CLOSE":
		return fmt.Sprintf("CLOSE %d", f.code)
	case "TEXT":
		return string(f.data)
	}
	return fmt.Sprintf("%s %q", f.kind, f.data)
}

// play replays the case.
func (s *stage) play(t *testing.T, c *scenario) {
	t.Helper()
	p := &player{t: t, fleet: s, c: c, sockets: map[string]*socket{}, lists: map[string]*people{}}
	for i := 0; i < len(c.steps); i++ {
		if c.steps[i].verb != "<~" {
			p.step(&c.steps[i])
			continue
		}
		var together []*step
		for who := c.steps[i].who; i < len(c.steps) && c.steps[i].verb == "<~" && c.steps[i].who == who; i++ {
			together = append(together, &c.steps[i])
		}
		i-- // the loop steps over the last of them
		p.inAnyOrder(together)
	}
	p.fence()
}

func (p *player) step(s *step) {
	p.t.Helper()
	switch s.verb {
	case "->":
		p.send(s)
	case "<-":
		if status, ok := strings.CutPrefix(s.text, "HTTP "); ok {
			p.expectResponse(s, status)
			return
		}
		p.expect(s, false)
	case "<+":
		p.expect(s, true)
	case "UPGRADE":
		p.upgrade(s)
	case "GET", "POST", "POLL", "OPTIONS", "DELETE":
		p.request(s)
	case "people":
		p.expectPeople(s)
	default:
		p.act(s)
	}
}

// act does what happens outside the protocol.
func (p *player) act(s *step) {
	p.t.Helper()
	words := strings.SplitN(s.text, " ", 4)
	switch s.verb {
	case "publish":
		p.must(s, p.fleet.publish(p.t.Context(), words[0], words[1], words[2]))
	case "later":
		after, err := time.ParseDuration(words[0])
		p.must(s, err)
		p.fleet.later(p.t, after, words[1], words[2], words[3])
	case "repeat": // every DURATION, until the case is over
		every, err := time.ParseDuration(words[0])
		p.must(s, err)
		p.fleet.repeat(p.t, every, words[1], words[2], words[3])
	case "disconnect":
		p.must(s, p.fleet.disconnect(p.t.Context(), words[0]))
	case "reset":
		p.must(s, p.socket(s.who).Close())
		p.socket(s.who).over = true
	case "wait": // for a time-out of the server to come near
		d, err := time.ParseDuration(words[0])
		p.must(s, err)
		timer := time.NewTimer(d)
		<-timer.C
	}
}

func (p *player) must(s *step, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("line %d: %s %s: %v", s.line, s.verb, s.text, err)
	}
}

// socket returns a socket of the case and opens it first if need be.
func (p *player) socket(who string) *socket {
	p.t.Helper()
	if open := p.sockets[who]; open != nil {
		return open
	}
	path := p.c.mount + "/websocket?vsn=" + p.c.version
	if p.c.query != "" {
		path += "&" + p.c.query
	}
	conn, response, err := wsclient.Upgrade(p.t.Context(), p.fleet.edge, path, nil)
	if err != nil {
		p.t.Fatalf("connect to %s: %v", path, err)
	}
	if conn == nil {
		p.t.Fatalf("connect to %s: status %d %q", path, response.Status, response.Body)
	}
	return p.adopt(who, conn, p.c.version)
}

func (p *player) adopt(who string, conn *wsclient.Conn, version string) *socket {
	p.t.Cleanup(func() { _ = conn.Close() })
	p.sockets[who] = &socket{Conn: conn, version: version}
	return p.sockets[who]
}

// send sends one frame. An error is not one of the case: it shows as the end of
// the connection when something is expected.
func (p *player) send(s *step) {
	p.t.Helper()
	conn := p.socket(s.who)
	word, rest, _ := strings.Cut(s.text, " ")
	switch word {
	case "BIN":
		_ = conn.Send(wsclient.Binary, unescape(expand(rest)))
	case "PING":
		_ = conn.Send(wsclient.Ping, unescape(rest))
	case "FRAME": // its first byte, then the data
		first, data, _ := strings.Cut(rest, " ")
		var b byte
		_, err := fmt.Sscanf(first, "%02x", &b)
		p.must(s, err)
		_ = conn.Raw(wsclient.Frame(b, unescape(expand(data))))
	default:
		_ = conn.Text(expand(s.text))
	}
}

// receive returns the next frame of a socket.
func (p *player) receive(conn *socket) frame {
	p.t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	first, data, err := conn.ReadFrame()
	if err != nil {
		if timeout, ok := errors.AsType[interface {
			error
			Timeout() bool
		}](err); ok && timeout.Timeout() {
			p.t.Fatalf("nothing came within %s", patience)
		}
		conn.over = true
		return frame{kind: "EOF"}
	}
	if first&(wsclient.Fin|wsclient.Deflate) == wsclient.Fin|wsclient.Deflate {
		data = inflate(p.t, data)
	}
	switch first & 0x0f {
	case wsclient.Text:
		return frame{kind: "TEXT", data: data}
	case wsclient.Binary:
		return frame{kind: "BIN", data: data}
	case wsclient.Ping:
		return frame{kind: "PING", data: data}
	case wsclient.Pong:
		return frame{kind: "PONG", data: data}
	case wsclient.Close:
		p.close(conn, data)
		return frame{kind: "CLOSE", code: wsclient.CloseOf(data).Code}
	}
	p.t.Fatalf("frame with first byte %#x", first)
	return frame{}
}

// close answers a close frame; the server then has to close the connection.
func (p *player) close(conn *socket, data []byte) {
	p.t.Helper()
	_ = conn.Send(wsclient.Close, data)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, more, err := conn.ReadFrame(); err == nil {
		p.t.Errorf("a frame behind the close frame: %q", more)
	} else if strings.Contains(err.Error(), "timeout") {
		p.t.Errorf("the connection is still open %s after the close frames", patience)
	}
	conn.over = true
}

// is reports whether f is the frame that text describes.
func (f frame) is(text string) bool {
	if one, other, found := strings.Cut(text, " or "); found && strings.HasPrefix(text, "CLOSE") {
		return f.is(one) || f.is(other)
	}
	switch word, rest, _ := strings.Cut(text, " "); word {
	case "BIN", "PING", "PONG":
		return f.kind == word && string(f.data) == string(unescape(rest))
	case "CLOSE", "EOF":
		return f.String() == text || f.kind == "EOF" && text == "EOF"
	}
	if f.kind != "TEXT" {
		return false
	}
	want, errWant := decode([]byte(text))
	got, errGot := decode(f.data)
	return errWant == nil && errGot == nil && matches(want, got)
}

// expect reads one frame; with skip those before it do not count.
func (p *player) expect(s *step, skip bool) {
	p.t.Helper()
	conn, want := p.socket(s.who), p.frame(s)
	for {
		got := p.receive(conn)
		p.hear(s.who, got)
		if got.is(want) {
			return
		}
		if !skip || got.kind == "CLOSE" || got.kind == "EOF" {
			p.t.Fatalf("line %d:\ngot  %s\nwant %s", s.line, got, want)
		}
	}
}

// frame is the description of a frame that a step has.
func (p *player) frame(s *step) string {
	p.t.Helper()
	text := p.known(s.text)
	word, _, _ := strings.Cut(text, " ")
	if !slices.Contains([]string{"BIN", "PING", "PONG", "CLOSE", "EOF"}, word) && !json.Valid([]byte(text)) {
		p.t.Fatalf("line %d: %s describes no frame", s.line, s.text)
	}
	return text
}

// inAnyOrder reads as many frames as are described, whichever comes first.
func (p *player) inAnyOrder(steps []*step) {
	p.t.Helper()
	conn := p.socket(steps[0].who)
	for len(steps) > 0 {
		got := p.receive(conn)
		heard := p.hear(steps[0].who, got)
		i := slices.IndexFunc(steps, func(s *step) bool { return got.is(p.frame(s)) })
		switch {
		case i >= 0:
			steps = slices.Delete(steps, i, i+1)
		case !heard:
			p.t.Fatalf("line %d:\ngot  %s\nwant %s, or one of its %d neighbours", steps[0].line, got, steps[0].text, len(steps)-1)
		}
	}
}

// fence ends a case with a heartbeat on every socket that is open, so that
// frames too many are seen.
func (p *player) fence() {
	p.t.Helper()
	for who, conn := range p.sockets {
		if conn.over {
			continue
		}
		beat, answer := `[null,"fence","phoenix","heartbeat",{}]`, `[null,"fence","phoenix","phx_reply",{"status":"ok","response":{}}]`
		if strings.HasPrefix(conn.version, "1.") {
			beat = `{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"fence"}`
			answer = `{"topic":"phoenix","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"fence"}`
		}
		_ = conn.Text(beat)
		for got := p.receive(conn); !got.is(answer); got = p.receive(conn) {
			if !p.hear(who, got) {
				p.t.Fatalf("socket %s got more than the case has: %s", who, got)
			}
		}
	}
}
