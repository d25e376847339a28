//go:build e2e

package balancer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
	"github.com/skein-mesh/skein/tests/wsclient"
)

// The table of phoenix.js: how many milliseconds after its n-th failure in a row it
// tries again. There is no jitter.
var (
	reconnectAfter = []int{10, 50, 100, 150, 200, 250, 500, 1000, 2000}
	reconnectElse  = 5 * time.Second
)

// heartbeatEach is how often a client sends a heartbeat.
const heartbeatEach = 30 * time.Second

// growth is how many clients of a new swarm begin in a second.
const growth = 400

// swarm is many clients of one address, each of which stays connected as a page
// with phoenix.js does. All methods may be called concurrently.
type swarm struct {
	address string
	stop    context.CancelFunc
	running sync.WaitGroup

	// mu guards the fields below.
	mu      sync.Mutex
	clients []*client
	opened  []time.Time    // every connect that succeeded, in order
	closes  map[int]int    // by code
	refused []string       // every connect that failed
	problem map[string]int // what must not happen otherwise, by kind
}

// client is one page. It has one goroutine.
type client struct {
	swarm *swarm
	topic string

	// Guarded by swarm.mu.
	conn   *wsclient.Conn // nil while there is none
	opened int
	joined bool
}

// newSwarm starts n clients and waits until all have joined. They end with the
// test.
func newSwarm(t *testing.T, address string, n int) *swarm {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	s := &swarm{address: address, stop: stop, closes: map[int]int{}, problem: map[string]int{}}
	t.Cleanup(s.end)
	s.running.Go(func() { s.beat(ctx) })
	s.grow(ctx, n, growth)
	return s.settle(t, n)
}

// grow starts n more clients, so many in a second. They end with ctx.
func (s *swarm) grow(ctx context.Context, n, perSecond int) {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for range n {
		s.mu.Lock()
		c := &client{swarm: s, topic: fmt.Sprintf("room:%d", len(s.clients)%200)}
		s.clients = append(s.clients, c)
		s.mu.Unlock()
		s.running.Go(func() { c.live(ctx) })
		<-tick.C
	}
}

// settle waits until n clients have joined.
func (s *swarm) settle(t *testing.T, n int) *swarm {
	t.Helper()
	process.Eventually(t, patience, fmt.Sprintf("%d clients have joined", n), func() bool { return s.joined() == n })
	return s
}

func (s *swarm) end() {
	s.stop()
	s.mu.Lock()
	for _, c := range s.clients {
		if c.conn != nil {
			_ = c.conn.Close()
		}
	}
	s.mu.Unlock()
	s.running.Wait()
}

// joined is how many clients are connected and in their channel.
func (s *swarm) joined() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clients {
		if c.joined {
			n++
		}
	}
	return n
}

// tally is what a swarm has seen so far.
type tally struct {
	connects int
	closes   map[int]int
	refused  []string
	problems map[string]int
}

func (s *swarm) tally() tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := tally{connects: len(s.opened), closes: map[int]int{}, refused: slices.Clone(s.refused), problems: map[string]int{}}
	maps.Copy(t.closes, s.closes)
	maps.Copy(t.problems, s.problem)
	return t
}

// nobodyRefused fails the test if any connect failed, or any channel.
func (s *swarm) nobodyRefused(t *testing.T) {
	t.Helper()
	seen := s.tally()
	if n := len(seen.refused); n > 0 {
		t.Errorf("%d connects were refused, such as %q", n, seen.refused[:min(5, n)])
	}
	if len(seen.problems) > 0 {
		t.Errorf("clients met %v", seen.problems)
	}
}

// closedOnly fails the test if a connection ended by any other code.
func (s *swarm) closedOnly(t *testing.T, code int) {
	t.Helper()
	closes := s.tally().closes
	if n := closes[code]; len(closes) > 1 || len(closes) == 1 && n == 0 {
		t.Errorf("connections were closed by codes %v, want only %d", closes, code)
	}
}

// busiest is the most connects in any second after a moment.
func (s *swarm) busiest(since time.Time) (most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := 0
	for i, at := range s.opened {
		for s.opened[first].Before(since) && first < i || at.Sub(s.opened[first]) >= time.Second {
			first++
		}
		if !at.Before(since) {
			most = max(most, i-first+1)
		}
	}
	return most
}

// beat sends the heartbeats of all clients, spread evenly.
func (s *swarm) beat(ctx context.Context) {
	const parts = 100
	tick := time.NewTicker(heartbeatEach / parts)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		var due []*wsclient.Conn
		for i := turn % parts; i < len(s.clients); i += parts {
			if c := s.clients[i].conn; c != nil {
				due = append(due, c)
			}
		}
		s.mu.Unlock()
		for _, c := range due {
			_ = c.Text(`[null,"h","phoenix","heartbeat",{}]`) // its reader notices if it is gone
		}
	}
}

// live connects, joins, reads, and connects again, until ctx ends.
func (c *client) live(ctx context.Context) {
	for tries := 0; ; tries++ {
		if tries > 0 && !wait(ctx, after(tries)) {
			return
		}
		conn, answer, err := wsclient.Upgrade(ctx, c.swarm.address, wsclient.Path, nil)
		switch {
		case ctx.Err() != nil:
			if conn != nil {
				_ = conn.Close()
			}
			return
		case err != nil:
			c.swarm.refusal(err.Error())
			continue
		case answer.Status != http.StatusSwitchingProtocols:
			c.swarm.refusal(fmt.Sprintf("status %d", answer.Status))
			continue
		}
		code := c.stay(conn)
		_ = conn.Close()
		if ctx.Err() != nil {
			return
		}
		c.ended(code)
		tries = 0 // it was open
	}
}

// after is how long phoenix.js waits for its n-th try.
func after(n int) time.Duration {
	if n > len(reconnectAfter) {
		return reconnectElse
	}
	return time.Duration(reconnectAfter[n-1]) * time.Millisecond
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// stay joins and reads until the connection ends, and returns the close code.
func (c *client) stay(conn *wsclient.Conn) int {
	s := c.swarm
	s.mu.Lock()
	c.conn, c.opened = conn, c.opened+1
	s.opened = append(s.opened, time.Now())
	s.mu.Unlock()
	_ = conn.Text(fmt.Sprintf(`["1","1",%q,"phx_join",{}]`, c.topic)) // the reading below tells if it is gone
	for {
		_, data, err := conn.Read()
		if err != nil {
			if end, closed := errors.AsType[wsclient.ClosedError](err); closed {
				return end.Code
			}
			return 1006
		}
		c.heard(string(data))
	}
}

// heard takes one message.
func (c *client) heard(text string) {
	ours := strings.HasPrefix(text, `["1","1",`) && strings.Contains(text, `"phx_reply"`)
	s := c.swarm
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ours && strings.Contains(text, `"status":"ok"`):
		c.joined = true
	case ours:
		s.problem["a refused join"]++
	case strings.Contains(text, `"phx_error"`):
		s.problem["phx_error"]++
	case strings.Contains(text, `"phx_close"`):
		s.problem["phx_close"]++
	}
}

func (c *client) ended(code int) {
	s := c.swarm
	s.mu.Lock()
	defer s.mu.Unlock()
	c.conn, c.joined = nil, false
	s.closes[code]++
}

func (s *swarm) refusal(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = append(s.refused, time.Now().Format("05.000 ")+why)
}
