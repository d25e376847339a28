package cluster

import (
	"bufio"
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// balancer is a load balancer that asks the edges' agents each second, as HAProxy
// does, and spreads connections by smooth weighted round robin.
type balancer struct {
	fleet *fleet
	stop  context.CancelFunc
	done  chan struct{}

	mu      sync.Mutex // guards the fields below
	servers map[string]*server
}

// server is an edge as the balancer sees it.
type server struct {
	address string
	weight  float64
	drain   bool
	up      bool
	credit  float64
}

const balancerHost = "10.8.0.1"

// balance starts a balancer before the edges of the fleet, also those that come
// later.
func (c *fleet) balance() *balancer {
	ctx, stop := context.WithCancel(context.Background())
	b := &balancer{fleet: c, stop: stop, done: make(chan struct{}), servers: map[string]*server{}}
	go b.run(ctx)
	return b
}

func (b *balancer) end() {
	b.stop()
	<-b.done
}

func (b *balancer) run(ctx context.Context) {
	defer close(b.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for _, e := range b.fleet.listed() {
			b.poll(ctx, e)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// poll asks one agent. One that does not answer is down.
func (b *balancer) poll(ctx context.Context, e *edgeNode) {
	words := b.ask(ctx, e)
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.servers[e.clients]
	if s == nil {
		s = &server{address: e.clients, weight: 100}
		b.servers[e.clients] = s
	}
	s.up = words != nil
	for _, word := range words {
		switch percent, isWeight := strings.CutSuffix(word, "%"); {
		case word == "drain":
			s.drain = true
		case word == "ready":
			s.drain = false
		case isWeight:
			s.weight, _ = strconv.ParseFloat(percent, 64)
		}
	}
}

func (b *balancer) ask(ctx context.Context, e *edgeNode) []string {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	conn, err := b.fleet.network.dial(ctx, balancerHost, e.agent)
	if err != nil {
		return nil
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return nil
	}
	return strings.Fields(line)
}

// pick chooses an edge for a new connection; "" if there is none.
func (b *balancer) pick() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var next *server
	sum := 0.0
	for _, e := range b.fleet.listed() {
		s := b.servers[e.clients]
		if s == nil || !s.up || s.drain {
			continue
		}
		sum += s.weight
		s.credit += s.weight
		if next == nil || s.credit > next.credit {
			next = s
		}
	}
	if next == nil {
		return ""
	}
	next.credit -= sum
	return next.address
}

// dial opens a connection through the balancer: to another edge if the first
// refuses, as HAProxy does with "option redispatch".
func (b *balancer) dial(ctx context.Context, from string) (conn net.Conn, edge string, err error) {
	err = errRefused
	for range 3 {
		if edge = b.pick(); edge == "" {
			continue
		}
		if conn, err = b.fleet.network.dial(ctx, from, edge); err == nil {
			return conn, edge, nil
		}
	}
	return nil, "", err
}
