//go:build e2e

package examples

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
	"github.com/skein-mesh/skein/tests/wsclient"
)

// chat is a running example.
type chat struct {
	*process.Process
	listen, page string
}

// start starts an example with the command of its README, on free ports.
func start(t *testing.T, folder string, command ...string) *chat {
	t.Helper()
	folder = filepath.Join(process.Root(), "examples", folder)
	a := process.Addresses(t, 4)
	config, err := os.ReadFile(filepath.Join(folder, "skein.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const usual = "127.0.0.1:50051"
	if !strings.Contains(string(config), usual) {
		t.Fatalf("skein.yaml does not name the backend at %s", usual)
	}
	file := filepath.Join(t.TempDir(), "skein.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(config), usual, a[1])), 0o600); err != nil {
		t.Fatal(err)
	}
	p := process.New(t, filepath.Base(folder), command[0], "", command[1:]...).In(folder).AsGroup().With(
		"SKEIN_BIN="+filepath.Dir(process.Built(t, "skein")), "SKEIN_LISTEN="+a[0], "SKEIN_GRPC="+a[2],
		"CHAT_CONFIG="+file, "CHAT_LISTEN="+a[1], "CHAT_PAGE="+a[3])
	p.Launch(t)
	process.Eventually(t, time.Minute, "Skein and the backend are up", func() bool {
		p.Alive(t)
		conn, err := wsclient.Open(t.Context(), a[0])
		if err == nil {
			_ = conn.Close()
		}
		return err == nil && strings.Contains(p.Output.String(), "deciding about rooms")
	})
	return &chat{p, a[0], a[3]}
}

func TestGoChat(t *testing.T) {
	c := start(t, "go-chat", "./run")
	c.use(t)
	c.interrupt(t)
}

func TestNodeChat(t *testing.T) {
	c := start(t, "node-chat", "npm", "start")
	c.use(t)
	c.browse(t)
	c.interrupt(t)
}

// use is what both chats promise.
func (c *chat) use(t *testing.T) {
	t.Helper()
	ada, joined := enter(t, c.listen, "room:lobby", map[string]string{"name": "ada"})
	token := joined.Response.Token
	if joined.Status != "ok" || token == "" {
		t.Fatalf("ada's join: %+v", joined)
	}
	ada.hears("history", func(payload json.RawMessage) bool { return len(history(t, payload)) == 0 })
	bob, joined := enter(t, c.listen, "room:lobby", map[string]string{"name": "bob"})
	if joined.Status != "ok" {
		t.Fatalf("bob's join: %+v", joined)
	}
	t.Run("names", func(t *testing.T) { c.names(t, token) })
	t.Run("people", func(t *testing.T) {
		ada.sees("bob")
		bob.sees("ada")
	})
	t.Run("messages", func(t *testing.T) { c.talk(t, ada, bob) })
	t.Run("private rooms", func(t *testing.T) { c.invitations(t, token) })
}

// names belong to whom they were given first.
func (c *chat) names(t *testing.T, token string) {
	t.Helper()
	for what, params := range map[string]map[string]string{
		"a name that is taken":  {"name": "ada"},
		"a token for another":   {"name": "eve", "token": token},
		"a token that is wrong": {"name": "ada", "token": "00"},
		"no name":               {},
	} {
		if _, r := enter(t, c.listen, "room:lobby", params); r.Status != "error" || r.Response.Reason == "" {
			t.Errorf("%s: %+v", what, r)
		}
	}
	if _, r := enter(t, c.listen, "room:other", map[string]string{"name": "ada", "token": token}); r.Status != "ok" {
		t.Errorf("ada with her token: %+v", r)
	}
	if _, r := enter(t, c.listen, "other:topic", map[string]string{"name": "ada", "token": token}); r.Status != "error" {
		t.Errorf("a topic that the chat does not have: %+v", r)
	}
}

// talk has messages that are passed on and some that are not.
func (c *chat) talk(t *testing.T, ada, bob *member) {
	t.Helper()
	for _, text := range []string{"hello", "Spam for all", "good bye"} {
		want := "ok"
		if strings.HasPrefix(text, "Spam") {
			want = "error"
		}
		if r := bob.push("say", map[string]string{"text": text}); r.Status != want {
			t.Errorf("%q: %+v", text, r)
		}
	}
	if r := bob.push("shout", map[string]string{"text": "hello"}); r.Status != "error" {
		t.Errorf("an unknown event: %+v", r)
	}
	for _, member := range []*member{ada, bob} {
		for _, want := range []string{"hello", "good bye"} { // and nothing between them
			member.hears("said", func(payload json.RawMessage) bool {
				if got := said(t, payload); got != "bob: "+want {
					t.Errorf("heard %q, want %q", got, want)
				}
				return true
			})
		}
	}
	carol, r := enter(t, c.listen, "room:lobby", map[string]string{"name": "carol"})
	if r.Status != "ok" {
		t.Fatalf("carol's join: %+v", r)
	}
	carol.hears("history", func(payload json.RawMessage) bool {
		if got := strings.Join(history(t, payload), ", "); got != "bob: hello, bob: good bye" {
			t.Errorf("history: %s", got)
		}
		return true
	})
}

func (c *chat) invitations(t *testing.T, token string) {
	t.Helper()
	const topic = "room:private:ada"
	ada, r := enter(t, c.listen, topic, map[string]string{"name": "ada", "token": token})
	if r.Status != "ok" {
		t.Fatalf("ada opens a private room: %+v", r)
	}
	if _, r := enter(t, c.listen, topic, map[string]string{"name": "dan"}); r.Status != "error" {
		t.Errorf("dan was not invited: %+v", r)
	}
	if r := ada.push("invite", map[string]string{"name": "dan"}); r.Status != "ok" {
		t.Errorf("ada invites dan: %+v", r)
	}
	if _, r := enter(t, c.listen, topic, map[string]string{"name": "dan"}); r.Status != "ok" {
		t.Errorf("dan was invited: %+v", r)
	}
}

// browse looks at the page of the chat.
func (c *chat) browse(t *testing.T) {
	t.Helper()
	for path, want := range map[string]string{"/": "/phoenix.mjs", "/phoenix.mjs": "Socket"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.page+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s %v, without %q", path, response.Status, err, want)
		}
	}
}

// interrupt is ctrl-C: everything ends.
func (c *chat) interrupt(t *testing.T) {
	t.Helper()
	c.Signal(t, syscall.SIGINT)
	if conn, err := wsclient.Open(t.Context(), c.listen); err == nil {
		_ = conn.Close()
		t.Error("Skein is still there after ctrl-C")
	}
}

func said(t *testing.T, payload []byte) string {
	t.Helper()
	var m struct{ From, Text string }
	if err := json.Unmarshal(payload, &m); err != nil {
		t.Fatal(err)
	}
	return m.From + ": " + m.Text
}

func history(t *testing.T, payload []byte) []string {
	t.Helper()
	var h struct{ Messages []json.RawMessage }
	if err := json.Unmarshal(payload, &h); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, m := range h.Messages {
		list = append(list, said(t, m))
	}
	return list
}
