package session_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/session"
)

// stage plays a script.
type stage struct {
	t       *testing.T
	mesh    *mesh
	clients map[string]*client
	unread  map[string][]string
	closed  map[string]bool // the test was told
	held    bool
}

func newStage(t *testing.T) *stage {
	return newStageOf(t, newMesh(t, session.DefaultLimits()), session.Client{})
}

func newStageOf(t *testing.T, m *mesh, who session.Client) *stage {
	return &stage{
		t: t, mesh: m, unread: make(map[string][]string), closed: make(map[string]bool),
		clients: map[string]*client{"": m.clientOf(1, who), "B": m.clientOf(2, who)},
	}
}

func (s *stage) play(script string) {
	s.t.Helper()
	for line := range strings.Lines(script) {
		if line = strings.TrimLeft(strings.TrimRight(line, "\n"), "\t "); line != "" {
			s.step(line)
		}
	}
	s.nothingUnread("the end")
}

func (s *stage) step(line string) {
	s.t.Helper()
	who, rest := "", line
	if strings.HasPrefix(line, "B") {
		who, rest = "B", line[1:]
	}
	verb, what, _ := strings.Cut(rest, " ")
	switch verb {
	case "→":
		s.nothingUnread(line)
		s.clients[who].say(message(s.t, what))
	case "←":
		s.expect(who, what)
		return
	case "hold":
		s.held = true
	case "go":
		s.held = false
	case "publish":
		s.nothingUnread(line)
		fields := strings.SplitN(what, " ", 3)
		s.mesh.hub.Deliver(channel.Broadcast{Topic: fields[0], Event: fields[1], Payload: []byte(fields[2])})
	default:
		s.t.Fatalf("what is %q?", line)
	}
	s.settle()
}

func (s *stage) settle() {
	for _, c := range s.clients {
		c.pump()
		if !s.held {
			s.mesh.settle(c)
		}
	}
	for who, c := range s.clients {
		for _, f := range c.take() {
			s.unread[who] = append(s.unread[who], describe(f))
		}
		if c.closed != 0 && !s.closed[who] {
			s.closed[who] = true
			s.unread[who] = append(s.unread[who], fmt.Sprintf("CLOSE %d", c.closed))
		}
	}
}

func (s *stage) expect(who, want string) {
	s.t.Helper()
	if len(s.unread[who]) == 0 {
		s.t.Fatalf("got nothing, want %s", want)
	}
	got := s.unread[who][0]
	s.unread[who] = s.unread[who][1:]
	if raw, ok := strings.CutPrefix(want, "RAW "); ok && raw == got {
		return
	}
	if got != want && !sameJSON(got, want) {
		s.t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func (s *stage) nothingUnread(before string) {
	s.t.Helper()
	for who, frames := range s.unread {
		if len(frames) > 0 {
			s.t.Fatalf("before %s: %s got more: %v", before, who, frames)
		}
	}
}

func message(t *testing.T, what string) (wsframe.Opcode, string) {
	escaped, ok := strings.CutPrefix(what, "BIN ")
	if !ok {
		return wsframe.Text, what
	}
	data, err := strconv.Unquote(`"` + escaped + `"`)
	if err != nil {
		t.Fatal(err)
	}
	return wsframe.Binary, data
}

func describe(f wsframe.Frame) string {
	if f.Op() == wsframe.Text {
		return string(f.Payload())
	}
	var b strings.Builder
	b.WriteString("BIN ")
	for _, c := range f.Payload() {
		if c < ' ' || c >= 0x7f {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}
