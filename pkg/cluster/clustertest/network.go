// Package clustertest tests what stands on [cluster.Membership]: a gossip
// network in memory that loses, delays and partitions, and a suite that every
// implementation passes.
//
// Nothing here uses sockets or reads a clock of its own, so that a whole fleet
// can live in a [testing/synctest] bubble.
package clustertest

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// port is the same for every member: addresses differ by host.
const port = 7946

// Options say what a [Network] does to what it carries.
type Options struct {
	Loss  float64       // share of packets that are lost, 0 to 1; streams lose nothing, as TCP
	Delay time.Duration // of packets and of opening a stream
	Seed  uint64        // of the choice which packets are lost
}

// Network carries gossip in memory. All methods may be called concurrently.
type Network struct {
	delay time.Duration

	// mu guards the fields below.
	mu      sync.Mutex
	loss    float64
	random  *rand.Rand
	peers   map[string]*Transport
	cut     map[pair]bool
	streams map[*stream]struct{}
	hosts   int
}

// pair is an ordered pair of hosts: from, to.
type pair struct{ from, to string }

// NewNetwork returns a network without members.
func NewNetwork(o Options) *Network {
	return &Network{
		delay:   o.Delay,
		loss:    o.Loss,
		random:  rand.New(rand.NewPCG(o.Seed, 0)), //nolint:gosec // losses must repeat, not surprise
		peers:   map[string]*Transport{},
		cut:     map[pair]bool{},
		streams: map[*stream]struct{}{},
	}
}

// Listen attaches a new host with an address of its own.
func (n *Network) Listen() *Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts++
	t := newTransport(n, net.IPv4(10, 0, byte(n.hosts>>8), byte(n.hosts))) //nolint:gosec // the last two bytes of an address
	n.peers[t.Address()] = t
	return t
}

// SetLoss changes the share of packets that are lost.
func (n *Network) SetLoss(share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = share
}

// Cut separates each of as from each of bs: packets vanish, streams between them
// break and new ones time out.
func (n *Network) Cut(as, bs []*Transport) { n.set(as, bs, true) }

// Heal undoes Cut.
func (n *Network) Heal(as, bs []*Transport) { n.set(as, bs, false) }

// Isolate cuts t from every host there is: to them it looks like a crash.
func (n *Network) Isolate(t *Transport) { n.Cut([]*Transport{t}, n.others(t)) }

// Reunite undoes Isolate.
func (n *Network) Reunite(t *Transport) { n.Heal([]*Transport{t}, n.others(t)) }

func (n *Network) others(t *Transport) []*Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	var others []*Transport
	for _, other := range n.peers {
		if other != t {
			others = append(others, other)
		}
	}
	return others
}

func (n *Network) set(as, bs []*Transport, cut bool) {
	n.mu.Lock()
	for _, a := range as {
		for _, b := range bs {
			n.cut[pair{a.Address(), b.Address()}] = cut
			n.cut[pair{b.Address(), a.Address()}] = cut
		}
	}
	var broken []*stream
	for s := range n.streams {
		if n.cut[s.ends] {
			broken = append(broken, s)
		}
	}
	n.mu.Unlock()
	for _, s := range broken {
		_ = s.Close()
	}
}

// route returns the host at address if packets of from reach it now.
func (n *Network) route(from, address string) *Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[pair{from, address}] {
		return nil
	}
	return n.peers[address]
}

func (n *Network) lost() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.loss > 0 && n.random.Float64() < n.loss
}

// connect returns the two ends of a stream.
func (n *Network) connect(ends pair) (dialer, acceptor net.Conn) {
	a, b := net.Pipe()
	s := &stream{Conn: a, network: n, ends: ends}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.streams[s] = struct{}{}
	return s, b
}

func (n *Network) forget(s *stream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.streams, s)
}

func (n *Network) remove(t *Transport) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.peers, t.Address())
}

// stream is the dialling end of a stream. Closing it breaks both ends.
type stream struct {
	net.Conn
	network *Network
	ends    pair
}

// Close implements net.Conn.
func (s *stream) Close() error {
	s.network.forget(s)
	return s.Conn.Close()
}
