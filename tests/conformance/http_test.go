package conformance

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/wsclient"
)

// answered are the header lines of an answer that count: one that a case does
// not name must not be there.
var answered = []string{"Sec-Websocket-Protocol", "Sec-Websocket-Extensions"}

// fill replaces what a case cannot know of a request.
func (p *player) fill(text string) string {
	return strings.NewReplacer("<token>", p.token, "<host>", p.fleet.edge).Replace(text)
}

// known replaces what a case cannot know of an answer.
func (p *player) known(text string) string {
	return expand(strings.ReplaceAll(text, "<host>", p.fleet.edge))
}

// header reads "name: value" lines; a name without a value has no values.
func (p *player) header(s *step) http.Header {
	p.t.Helper()
	header := http.Header{}
	for _, line := range s.header {
		name, value, found := strings.Cut(line, ":")
		if !found {
			p.t.Fatalf("line %d: %q is no header line", s.line, line)
		}
		name = http.CanonicalHeaderKey(name)
		header[name] = nil
		if value = strings.TrimSpace(p.fill(value)); value != "" {
			header[name] = []string{value}
		}
	}
	return header
}

// upgrade asks for a WebSocket, which later steps use if there is one.
func (p *player) upgrade(s *step) {
	p.t.Helper()
	conn, response, err := wsclient.Upgrade(p.t.Context(), p.fleet.edge, p.fill(s.text), p.header(s))
	p.must(s, err)
	p.response = &response
	if conn == nil {
		return
	}
	version := "2.0.0"
	if !strings.Contains(s.text, "vsn=2") {
		version = "1.0.0"
	}
	p.adopt(s.who, conn, version)
}

// request sends a request of HTTP. POLL is the GET of a long-poll session that
// is repeated until as many messages came as the next step has.
func (p *player) request(s *step) {
	p.t.Helper()
	method, want := s.verb, 0
	if s.verb == "POLL" {
		method, want = http.MethodGet, p.wanted(s)
	}
	messages, deadline := []string{}, time.Now().Add(patience)
	for {
		p.exchange(s, method)
		if want == 0 {
			return
		}
		var answer struct {
			Status   int      `json:"status"`
			Token    string   `json:"token"`
			Messages []string `json:"messages"`
		}
		p.must(s, json.Unmarshal(p.response.Body, &answer))
		if answer.Token != "" {
			p.token = answer.Token
		}
		messages = append(messages, answer.Messages...)
		waiting := answer.Status == http.StatusOK || answer.Status == http.StatusNoContent
		if len(messages) >= want || !waiting || time.Now().After(deadline) {
			p.response.Body = encode(map[string]any{"status": answer.Status, "token": answer.Token, "messages": messages})
			return
		}
	}
}

// wanted is how many messages the step behind s has.
func (p *player) wanted(s *step) int {
	p.t.Helper()
	i := slices.IndexFunc(p.c.steps, func(other step) bool { return other.line == s.line }) + 1
	var answer struct {
		Messages []any `json:"messages"`
	}
	if i < len(p.c.steps) {
		_, text, _ := strings.Cut(strings.TrimPrefix(p.c.steps[i].text, "HTTP "), " ")
		_ = json.Unmarshal([]byte(text), &answer) // the step itself reports what is wrong with it
	}
	if len(answer.Messages) == 0 {
		p.t.Fatalf("line %d: POLL needs an answer with messages behind it", s.line)
	}
	return len(answer.Messages)
}

func (p *player) exchange(s *step, method string) {
	p.t.Helper()
	lines := strings.NewReader(strings.Join(s.body, "\n"))
	request, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.fleet.edge+p.fill(s.text), lines)
	p.must(s, err)
	maps.Copy(request.Header, p.header(s))
	client := http.Client{Timeout: 2 * patience}
	response, err := client.Do(request)
	p.must(s, err)
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	p.must(s, err)
	p.response = &wsclient.Answer{Status: response.StatusCode, Header: response.Header, Body: body}
}

// expectResponse compares the latest answer: its status, then "empty" or JSON,
// and the header lines.
func (p *player) expectResponse(s *step, text string) {
	p.t.Helper()
	if p.response == nil {
		p.t.Fatalf("line %d: no request was sent", s.line)
	}
	status, body, _ := strings.Cut(text, " ")
	if got := strconv.Itoa(p.response.Status); got != status {
		p.t.Fatalf("line %d: HTTP %s %q, want %s", s.line, got, p.response.Body, text)
	}
	header := p.header(s)
	for _, name := range answered {
		if _, named := header[name]; !named {
			header[name] = nil
		}
	}
	for name, values := range header {
		if got := p.response.Header.Get(name); got != strings.Join(values, ", ") {
			p.t.Errorf("line %d: header %s is %q, want %q", s.line, name, got, values)
		}
	}
	switch body {
	case "":
	case "empty":
		if len(p.response.Body) > 0 {
			p.t.Errorf("line %d: body %q, want none", s.line, p.response.Body)
		}
	default:
		p.expectBody(s, body)
	}
}

func (p *player) expectBody(s *step, text string) {
	p.t.Helper()
	want, err := decode([]byte(p.known(text)))
	p.must(s, err)
	got, err := parseMessages(p.response.Body)
	if err != nil || !matches(want, got) {
		p.t.Fatalf("line %d: %v\ngot  %s\nwant %s", s.line, err, p.response.Body, text)
	}
	if answer, ok := got.(map[string]any); ok {
		if token, ok := answer["token"].(string); ok {
			p.token = token
		}
	}
}

// parseMessages reads the body of a long-poll answer, whose messages are JSON
// texts in strings.
func parseMessages(body []byte) (any, error) {
	value, err := decode(body)
	if err != nil {
		return nil, err
	}
	answer, ok := value.(map[string]any)
	if !ok {
		return value, nil
	}
	messages, _ := answer["messages"].([]any)
	for i, m := range messages {
		text, ok := m.(string)
		if !ok {
			return nil, fmt.Errorf("message %d is no string", i)
		}
		if messages[i], err = decode([]byte(text)); err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
	}
	return answer, nil
}

// inflate reads a message that was compressed without context takeover.
func inflate(t *testing.T, data []byte) []byte {
	t.Helper()
	data = append(slices.Clone(data), 0, 0, 0xff, 0xff) // what RFC 7692 takes away
	plain, err := io.ReadAll(flate.NewReader(bytes.NewReader(data)))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // no block of it is marked as the last
		t.Fatalf("inflate: %v", err)
	}
	return plain
}
