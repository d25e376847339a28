//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/wsclient"
)

// message is one V2 text frame.
type message struct {
	JoinRef, Ref json.RawMessage
	Topic, Event string
	Payload      json.RawMessage
}

// client is a phoenix client over a [wsclient.Conn]: it joins, pushes and awaits
// replies. All methods may be called concurrently.
type client struct {
	*wsclient.Conn
	on   func(message) // every broadcast, on the reading goroutine
	gone chan struct{} // closed when the connection ended

	mu      sync.Mutex
	ref     int
	waiting map[string]func(status string, response json.RawMessage)
	end     error
}

// connect opens a socket at an edge; on gets its broadcasts.
func connect(t *testing.T, e *edge, on func(message)) *client {
	t.Helper()
	c := &client{
		Conn: e.dial(t), on: on, gone: make(chan struct{}),
		waiting: map[string]func(string, json.RawMessage){},
	}
	go c.receive()
	return c
}

func (c *client) receive() {
	defer close(c.gone)
	for {
		op, data, err := c.Read()
		if err != nil {
			c.mu.Lock()
			c.end = err
			c.mu.Unlock()
			return
		}
		if op != wsclient.Text {
			continue
		}
		var m message
		if err := json.Unmarshal(data, &[]any{&m.JoinRef, &m.Ref, &m.Topic, &m.Event, &m.Payload}); err != nil {
			continue
		}
		if m.Event == "phx_reply" {
			c.answered(m)
		} else if c.on != nil {
			c.on(m)
		}
	}
}

func (c *client) answered(m message) {
	var reply struct {
		Status   string          `json:"status"`
		Response json.RawMessage `json:"response"`
	}
	_ = json.Unmarshal(m.Payload, &reply)
	c.mu.Lock()
	done := c.waiting[string(m.Ref)]
	delete(c.waiting, string(m.Ref))
	c.mu.Unlock()
	if done != nil {
		done(reply.Status, reply.Response)
	}
}

// ask sends a message whose reply goes to done.
func (c *client) ask(topic, event string, payload any, done func(status string, response json.RawMessage)) error {
	c.mu.Lock()
	c.ref++
	ref := strconv.Itoa(c.ref)
	c.waiting[strconv.Quote(ref)] = done
	c.mu.Unlock()
	joinRef := any(nil) // a push without one is accepted
	if event == "phx_join" {
		joinRef = ref
	}
	text, err := json.Marshal([]any{joinRef, ref, topic, event, payload})
	if err != nil {
		return err
	}
	return c.Text(string(text))
}

// push sends a message and waits for its reply; an error reply is an error.
func (c *client) push(topic, event string, payload any) error {
	result := make(chan error, 1)
	err := c.ask(topic, event, payload, func(status string, response json.RawMessage) {
		if status != "ok" {
			result <- fmt.Errorf("%s on %s: %s %s", event, topic, status, response)
			return
		}
		result <- nil
	})
	if err != nil {
		return err
	}
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	select {
	case err := <-result:
		return err
	case <-c.gone:
		return c.err()
	case <-timeout.C:
		return fmt.Errorf("no reply to %s on %s within 10 s", event, topic)
	}
}

func (c *client) join(t *testing.T, topics ...string) {
	t.Helper()
	for _, topic := range topics {
		if err := c.push(topic, "phx_join", struct{}{}); err != nil {
			t.Fatal(err)
		}
	}
}

// err says how the connection ended, nil if it has not.
func (c *client) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end
}

// stays fails the test if the connection ended.
func (c *client) stays(t *testing.T, who string) {
	t.Helper()
	if err := c.err(); err != nil && !errors.Is(err, net.ErrClosed) {
		if errors.Is(err, io.EOF) {
			err = errors.New("closed without a close frame")
		}
		t.Errorf("the socket of %s did not stay: %v", who, err)
	}
}
