package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// publisher pushes numbered messages to one topic.
type publisher struct {
	client *client
	topic  string
	event  string // tells it from other publishers
	halt   chan struct{}
	halted chan struct{}

	mu   sync.Mutex // guards refs
	refs []string   // of push n at n-1
}

func (c *client) publisher(topic, event string) *publisher {
	return &publisher{client: c, topic: topic, event: event}
}

// next pushes one message, from 1 on.
func (p *publisher) next() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	ref := p.client.push(p.topic, p.event, len(p.refs)+1)
	p.refs = append(p.refs, ref)
	return ref
}

// begin pushes a message each interval until end.
func (p *publisher) begin(interval time.Duration) {
	p.halt, p.halted = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(p.halted)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-p.halt:
				return
			case <-tick.C:
				p.next()
			}
		}
	}()
}

// end stops pushing and waits until every push is answered.
func (p *publisher) end() {
	close(p.halt)
	<-p.halted
	for _, ref := range p.refs {
		p.client.wait(ref)
	}
}

// pushed is how many messages were pushed so far.
func (p *publisher) pushed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.refs)
}

// ref of push n.
func (p *publisher) ref(n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refs[n-1]
}

// refused counts the pushes that were answered with an error.
func (p *publisher) refused() int {
	n := 0
	for _, ref := range p.refs {
		if p.client.reply(ref) != "ok" {
			n++
		}
	}
	return n
}

// all waits until the client got every message of p, exactly once and in order.
func (p *publisher) all(t *testing.T, at *client) {
	t.Helper()
	want := make([]int, len(p.refs))
	for i := range want {
		want[i] = i + 1
	}
	got := at.numbers(p.topic, p.event)
	for deadline := time.Now().Add(5 * time.Second); len(got) < len(want) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond) // virtual time
		got = at.numbers(p.topic, p.event)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s on %s: %s", p.event, p.topic, difference(got, want))
	}
}

// difference says in a few words what is wrong.
func difference(got, want []int) string {
	var words []string
	seen := map[int]int{}
	for i, n := range got {
		seen[n]++
		if i > 0 && n < got[i-1] {
			words = append(words, fmt.Sprintf("%d after %d", n, got[i-1]))
		}
	}
	for _, n := range want {
		if seen[n] != 1 {
			words = append(words, fmt.Sprintf("%d came %d times", n, seen[n]))
		}
	}
	if len(words) > 12 {
		words = append(words[:12], "...")
	}
	return fmt.Sprintf("%d of %d: %s", len(got), len(want), strings.Join(words, ", "))
}

// once checks that the client got no message of p twice.
func (p *publisher) once(t *testing.T, at *client) {
	t.Helper()
	seen := map[int]bool{}
	for _, n := range at.numbers(p.topic, p.event) {
		if seen[n] {
			t.Errorf("%s on %s: %d came twice", p.event, p.topic, n)
		}
		seen[n] = true
	}
}

// socketsStay checks that no client lost its socket.
func (c *fleet) socketsStay() {
	c.t.Helper()
	for i, cl := range c.clients {
		if !cl.alive() {
			c.t.Errorf("client %d lost its socket, code %d", i, cl.closeCode())
		}
	}
}

// noErrors checks that no channel was ended by the mesh.
func (c *fleet) noErrors(topic string) {
	c.t.Helper()
	for i, cl := range c.clients {
		if n := len(cl.payloads(topic, "phx_error")); n > 0 {
			c.t.Errorf("client %d got %d phx_error on %s", i, n, topic)
		}
	}
}
