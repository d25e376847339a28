//go:build e2e

package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/wsclient"
)

// hall is where all visitors are.
const hall = "hall:1"

// visitor is a client that does as phoenix.js: when its socket is closed it opens
// another and joins again. All methods may be called concurrently.
type visitor struct {
	address string
	topic   string
	params  map[string]string
	done    chan struct{} // closed when it has gone

	// mu guards the fields below.
	mu     sync.Mutex
	conn   *wsclient.Conn // nil while there is none
	joined bool
	sent   int
	acked  map[string]bool // refs of pushes that were answered ok
	heard  []string        // texts, as they came
	closes []error         // why its sockets ended
}

// visit opens a socket and stays until ctx ends.
func visit(ctx context.Context, address, topic string, params map[string]string) *visitor {
	v := &visitor{address: address, topic: topic, params: params, done: make(chan struct{}), acked: map[string]bool{}}
	go func() {
		defer close(v.done)
		for ctx.Err() == nil {
			err := v.stay(ctx)
			v.mu.Lock()
			v.conn, v.joined = nil, false
			v.closes = append(v.closes, err)
			v.mu.Unlock()
			select { // phoenix.js waits as long at first
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return v
}

// stay is one life of a socket; it returns why it ended.
func (v *visitor) stay(ctx context.Context) error {
	opening, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := wsclient.Open(opening, v.address)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // ends the reading below
	defer func() { _ = conn.Close() }()
	v.mu.Lock()
	v.conn = conn
	v.mu.Unlock()
	join, err := json.Marshal([]any{"j", "j", v.topic, "phx_join", v.params})
	if err != nil {
		return err
	}
	if err := conn.Text(string(join)); err != nil {
		return err
	}
	for {
		op, data, err := conn.Read()
		if err != nil {
			return err
		}
		if op == wsclient.Text {
			if err := v.take(data); err != nil {
				return err
			}
		}
	}
}

func (v *visitor) take(data []byte) error {
	var ref, topic, event string
	var payload struct{ Status, Text string }
	var joinRef json.RawMessage
	if err := json.Unmarshal(data, &[]any{&joinRef, &ref, &topic, &event, &payload}); err != nil {
		return fmt.Errorf("%w: %s", err, data)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case event == "phx_reply" && ref == "j":
		if payload.Status != "ok" {
			return fmt.Errorf("not joined: %s", data)
		}
		v.joined = true
	case event == "phx_reply" && payload.Status == "ok":
		v.acked[ref] = true
	case event == "said":
		v.heard = append(v.heard, payload.Text)
	case event == "phx_error":
		return errors.New("phx_error")
	}
	return nil
}

// say pushes a text; it returns the ref under which it is answered.
func (v *visitor) say(event, text string) (string, error) {
	v.mu.Lock()
	v.sent++
	ref, conn, joined := strconv.Itoa(v.sent), v.conn, v.joined
	v.mu.Unlock()
	if !joined {
		return "", errors.New("not joined now")
	}
	frame, err := json.Marshal([]any{"j", ref, v.topic, event, map[string]string{"text": text}})
	if err != nil {
		return "", err
	}
	return ref, conn.Text(string(frame))
}

func (v *visitor) isJoined() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.joined
}

func (v *visitor) hasHeard(text string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Contains(v.heard, text)
}

func (v *visitor) ended() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.closes)
}

// crowd is visitors of the hall.
type crowd []*visitor

// gather has n visitors come, and waits until all are there.
func gather(t *testing.T, address string, n int) crowd {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var c crowd
	for range n {
		c = append(c, visit(ctx, address, hall, map[string]string{}))
	}
	t.Cleanup(func() {
		cancel()
		for _, v := range c {
			<-v.done
		}
	})
	c.present(t)
	return c
}

// present waits until every visitor is in the hall.
func (c crowd) present(t *testing.T) {
	t.Helper()
	eventually(t, time.Minute, "all are joined", func() error {
		for i, v := range c {
			if !v.isJoined() {
				v.mu.Lock()
				defer v.mu.Unlock()
				return fmt.Errorf("visitor %d is not: %v", i, v.closes)
			}
		}
		return nil
	})
}

// talk has some visitors, who are at different edges, say something, and waits
// until all have heard it. Who has to repeat itself says so by other words.
func (c crowd) talk(t *testing.T, about string) {
	t.Helper()
	for _, speaker := range []int{0, len(c) / 3, 2 * len(c) / 3} {
		attempt := 0
		eventually(t, 30*time.Second, "all hear what a visitor says "+about, func() error {
			attempt++
			text := fmt.Sprintf("%s, %d, %d", about, speaker, attempt)
			if _, err := c[speaker].say("said", text); err != nil {
				return err
			}
			return c.hear(text)
		})
	}
}

// hear waits a moment until all have heard a text.
func (c crowd) hear(text string) error {
	deadline := time.Now().Add(2 * time.Second)
	for i, v := range c {
		for !v.hasHeard(text) {
			if time.Now().After(deadline) {
				return fmt.Errorf("visitor %d has not heard %q", i, text)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	return nil
}

// ended is how often a socket of the crowd ended so far.
func (c crowd) ended() int {
	sum := 0
	for _, v := range c {
		sum += v.ended()
	}
	return sum
}

// stayed fails the test if a socket ended since the crowd counted before.
func (c crowd) stayed(t *testing.T, before int, while string) {
	t.Helper()
	if now := c.ended(); now != before {
		for i, v := range c {
			v.mu.Lock()
			if len(v.closes) > 0 {
				t.Logf("visitor %d: %v", i, v.closes)
			}
			v.mu.Unlock()
		}
		t.Errorf("%d sockets ended while %s", now-before, while)
	}
}
