//go:build e2e

package compose

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// hall is where the crowd is.
const hall = "hall:1"

// crowd is visitors of one node who are at the same topic.
type crowd []*visitor

// gather has n visitors come to the hall, and waits until all are there.
func gather(t *testing.T, n *node, address string, size int) crowd {
	t.Helper()
	var c crowd
	for range size {
		c = append(c, n.visit(t, address, hall, map[string]string{}))
	}
	c.present(t)
	return c
}

// await is [node.await].
func (c crowd) await(within time.Duration, check func() error) error {
	return c[0].node.await(within, check)
}

// present waits until everybody is joined.
func (c crowd) present(t *testing.T) {
	t.Helper()
	if err := c.await(time.Minute, func() error {
		for _, v := range c {
			if !v.joined {
				return fmt.Errorf("visitor %d is not joined: %q", v.id, v.notes)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
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
			if err := c[speaker].say("said", text); err != nil {
				return err
			}
			return c.hear(2*time.Second, text)
		})
	}
}

// hear waits until all have heard some texts.
func (c crowd) hear(within time.Duration, texts ...string) error {
	return c.await(within, func() error {
		for _, v := range c {
			for _, text := range texts {
				if !v.heard[text] {
					return fmt.Errorf("visitor %d has not heard %q", v.id, text)
				}
			}
		}
		return nil
	})
}

// lost is how often a visitor lost its channel so far.
func (c crowd) lost() int {
	c[0].node.mu.Lock()
	defer c[0].node.mu.Unlock()
	sum := 0
	for _, v := range c {
		sum += v.lost
	}
	return sum
}

// stayed fails the test if a visitor lost its channel since the crowd counted
// before.
func (c crowd) stayed(t *testing.T, before int, while string) {
	t.Helper()
	now := c.lost()
	if now == before {
		return
	}
	t.Errorf("%d channels were lost while %s", now-before, while)
	c[0].node.mu.Lock()
	defer c[0].node.mu.Unlock()
	for _, v := range c {
		if v.lost > 0 {
			t.Logf("visitor %d lost its channel %d times: %q", v.id, v.lost, v.notes)
		}
	}
}

// speak has a visitor say something ten times a second until the function it
// returns is called, which returns what was said once all of it was accepted.
func speak(t *testing.T, v *visitor) (stop func() []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	said, failed := make(chan []string, 1), make(chan error, 1)
	go func() {
		var texts []string
		var err error
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil && err == nil {
			text := fmt.Sprintf("speech %d", len(texts))
			err = v.say("said", text)
			texts = append(texts, text)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
		said <- texts
		failed <- err
	}()
	return func() []string {
		t.Helper()
		cancel()
		texts := <-said
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
		if err := v.node.await(15*time.Second, func() error { return v.accepted(texts) }); err != nil {
			t.Fatal(err)
		}
		return texts
	}
}

// accepted returns why not all texts were. The lock of the node is held.
func (v *visitor) accepted(texts []string) error {
	for _, text := range texts {
		if accepted, answered := v.answered[text]; !accepted {
			return fmt.Errorf("%q of %d was not accepted, and answered: %v", text, len(texts), answered)
		}
	}
	return nil
}
