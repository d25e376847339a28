//go:build e2e

package examples

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/wsclient"
)

// member is one socket with one channel. It belongs to the test's goroutine.
type member struct {
	*wsclient.Conn
	t     *testing.T
	topic string
	ref   int
	heard []message // events that nobody asked for yet
}

type message struct {
	JoinRef, Ref any
	Topic, Event string
	Payload      json.RawMessage
}

// reply is the answer to a join or a push.
type reply struct {
	Status   string `json:"status"`
	Response struct {
		Reason string `json:"reason"`
		Token  string `json:"token"`
	} `json:"response"`
}

// enter opens a socket and joins a topic, which may be refused.
func enter(t *testing.T, address, topic string, params any) (*member, reply) {
	t.Helper()
	conn, err := wsclient.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	m := &member{Conn: conn, t: t, topic: topic}
	return m, m.push("phx_join", params)
}

// push sends an event and returns the reply.
func (m *member) push(event string, payload any) reply {
	m.t.Helper()
	m.ref++
	ref := strconv.Itoa(m.ref)
	text, err := json.Marshal([]any{"1", ref, m.topic, event, payload})
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.Text(string(text)); err != nil {
		m.t.Fatal(err)
	}
	for {
		got := m.next()
		if got.Event == "phx_reply" && got.Ref == ref {
			var r reply
			if err := json.Unmarshal(got.Payload, &r); err != nil {
				m.t.Fatal(err)
			}
			return r
		}
		m.heard = append(m.heard, got)
	}
}

// hears waits for an event for which check holds; events before it are gone.
func (m *member) hears(event string, check func(payload json.RawMessage) bool) {
	m.t.Helper()
	m.until(func(got message) bool { return got.Event == event && check(got.Payload) })
}

// sees waits until somebody is told to be there.
func (m *member) sees(name string) {
	m.t.Helper()
	m.until(func(got message) bool {
		return strings.HasPrefix(got.Event, "presence_") && strings.Contains(string(got.Payload), strconv.Quote(name))
	})
}

func (m *member) until(holds func(message) bool) {
	m.t.Helper()
	for {
		var got message
		if len(m.heard) > 0 {
			got, m.heard = m.heard[0], m.heard[1:]
		} else {
			got = m.next()
		}
		if holds(got) {
			return
		}
	}
}

func (m *member) next() message {
	m.t.Helper()
	_ = m.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, data, err := m.Read()
	if err != nil {
		m.t.Fatalf("%s: %v", m.topic, err)
	}
	var got message
	if err := json.Unmarshal(data, &[]any{&got.JoinRef, &got.Ref, &got.Topic, &got.Event, &got.Payload}); err != nil {
		m.t.Fatalf("%s: %v", data, err)
	}
	return got
}
