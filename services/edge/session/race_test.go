package session_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/services/edge/session"
)

// wait pumps until everything that was said is handled, like a reader goroutine.
func (c *client) wait() {
	for {
		c.mu.Lock()
		for c.paused {
			c.woken.Wait()
		}
		done := len(c.in) == 0
		c.mu.Unlock()
		if done {
			return
		}
		c.pump()
	}
}

// TestConcurrently lets readers, the mesh, a publisher and failures loose on
// each other. No client may see anything out of order, and none may hang.
func TestConcurrently(t *testing.T) {
	m, b, people := mixed(t, session.Limits{Channels: 2, Unanswered: 3})
	m.world = b.serveAt(0)
	ctx, stop := context.WithCancel(t.Context())
	var world, readers sync.WaitGroup
	world.Go(func() { _ = m.hub.Run(ctx) })
	world.Go(func() { m.answerUntil(ctx) })
	world.Go(func() { m.disturbUntil(ctx) })
	world.Go(func() { b.decideUntil(ctx) })

	var players []*player
	for i := range 8 {
		p := newPlayer(m.client(uint64(i) + 1))
		p.script(rand.New(rand.NewPCG(7, uint64(i))), 400)
		players = append(players, p)
		readers.Go(p.wait)
	}
	world.Go(func() { kickUntil(ctx, players) })
	readers.Wait()
	stop()
	world.Wait()
	m.settle()
	for _, p := range players {
		p.hangUp()
		for _, f := range p.take() {
			if err := p.read(f, p.sent); err != nil {
				t.Fatalf("client %d: %v", p.id, err)
			}
		}
		for event, n := range p.heard {
			if n > 1 {
				t.Errorf("client %d heard %s %d times", p.id, event, n)
			}
		}
	}
	m.settle()
	if n := m.hub.Stats().Subscribers; n != 0 {
		t.Errorf("%d subscribers left", n)
	}
	people.balanced(t)
	if n := len(b.ended()); n != int(b.let.Load()) {
		t.Errorf("the handler let %d channels in, and was told the end of %d", b.let.Load(), n)
	}
}

// TestShortLives lets sockets close at any moment of what they began.
func TestShortLives(t *testing.T) {
	m, b, people := mixed(t, session.Limits{Channels: 2, Unanswered: 3})
	m.world = b.serveAt(0)
	ctx, stop := context.WithCancel(t.Context())
	var world, readers sync.WaitGroup
	world.Go(func() { _ = m.hub.Run(ctx) })
	world.Go(func() { m.answerUntil(ctx) })
	world.Go(func() { b.decideUntil(ctx) })
	for i := range 4 {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(9, uint64(i)))
			for life := range 500 {
				p := newPlayer(m.client(uint64(1000*i+life) + 1))
				p.script(r, r.IntN(8))
				for range r.IntN(4) {
					p.pump()
					runtime.Gosched()
				}
				p.hangUp()
			}
		})
	}
	readers.Wait()
	stop()
	world.Wait()
	m.settle()
	if n := m.hub.Stats().Subscribers; n != 0 {
		t.Errorf("%d subscribers left", n)
	}
	people.balanced(t)
	if n := len(b.ended()); n != int(b.let.Load()) {
		t.Errorf("the handler let %d channels in, and was told the end of %d", b.let.Load(), n)
	}
}

// serveAt answers one question in the given way, see decide.
func (b *backend) serveAt(how int) func() bool {
	return func() bool {
		c, ok := b.next()
		if ok {
			b.let.Add(int64(decide(c, how)))
		}
		return ok
	}
}

// decideUntil is the handler.
func (b *backend) decideUntil(ctx context.Context) {
	r := rand.New(rand.NewPCG(3, 4))
	for ctx.Err() == nil {
		b.serveAt(max(0, r.IntN(20)-15))()
		runtime.Gosched()
	}
}

// kickUntil is a backend that ends channels.
func kickUntil(ctx context.Context, players []*player) {
	r := rand.New(rand.NewPCG(5, 6))
	for i := 0; ctx.Err() == nil; i++ {
		if i%50 == 49 {
			players[r.IntN(len(players))].session.Disconnect("", topics[r.IntN(len(topics))])
		}
		runtime.Gosched()
	}
}

// script says n messages at once.
func (p *player) script(r *rand.Rand, n int) {
	for i := range n {
		topic := topics[r.IntN(len(topics))]
		kind, event, joinRef := "push", fmt.Sprintf("c%d-%d", p.id, i), "null"
		switch r.IntN(8) {
		case 0, 1:
			kind, event, joinRef = "join", "phx_join", fmt.Sprintf(`"join%d"`, i)
		case 2:
			kind, event = "leave", "phx_leave"
		}
		ref := fmt.Sprintf("%s%d", kind, i)
		p.sent[ref] = kind
		p.text(fmt.Sprintf(`[%s,%q,%q,%q,{}]`, joinRef, ref, topic, event))
	}
}

// answerUntil is the mesh. It refuses now and then.
func (m *mesh) answerUntil(ctx context.Context) {
	r := rand.New(rand.NewPCG(1, 2))
	for ctx.Err() == nil {
		if topic, ok := m.nextWant(); ok {
			var err error
			if r.IntN(5) == 0 {
				err = channel.ErrUnavailable
			}
			m.hub.Confirm(topic, err)
		}
		if p, ok := m.nextPublish(); ok {
			m.hub.Deliver(p.broadcast)
			p.done(nil)
		}
		runtime.Gosched()
	}
}

// disturbUntil publishes from elsewhere and loses topics.
func (m *mesh) disturbUntil(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		m.hub.Deliver(channel.Broadcast{Topic: topics[i%2], Event: fmt.Sprintf("x%d", i), Payload: []byte(`{}`)})
		if i%500 == 499 {
			m.hub.Fail(func(topic string) bool { return topic == topics[i/500%2] })
		}
		runtime.Gosched()
	}
}
