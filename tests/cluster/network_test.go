package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/test/bufconn"
)

// network carries streams between hosts in memory, each with a latency of its
// own. Cutting two hosts stops what flows between them, as a partition does:
// nothing breaks until somebody loses patience. Killing a host breaks its
// streams at once, as the end of a process does.
type network struct {
	ended chan struct{} // closed by end

	mu        sync.Mutex // guards the fields below
	random    *rand.Rand
	listeners map[string]*listener
	conns     map[*conn]struct{}
	cuts      map[[2]string]bool
	changed   chan struct{} // closed when cuts change, and replaced
	ports     int
	names     []string // addresses of all routers, that seedName leads to
}

// seedName is how edges know routers: a name that leads to one or the other.
const seedName = "routers.test:5000"

func newNetwork(seed uint64) *network {
	return &network{
		ended: make(chan struct{}), random: rand.New(rand.NewPCG(seed, 1)),
		listeners: map[string]*listener{}, conns: map[*conn]struct{}{},
		cuts: map[[2]string]bool{}, changed: make(chan struct{}), ports: 40000,
	}
}

// listener accepts what is dialled at its address.
type listener struct {
	network *network
	address string
	pending chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (n *network) listen(address string) *listener {
	l := &listener{network: n, address: address, pending: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[address] = l
	return l
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.pending:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.network.mu.Lock()
		defer l.network.mu.Unlock()
		if l.network.listeners[l.address] == l {
			delete(l.network.listeners, l.address)
		}
	})
	return nil
}

func (l *listener) Addr() net.Addr { return addr(l.address) }

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

var errRefused = errors.New("connection refused")

// dial opens a stream from a host to an address. Over a cut it hangs, as a
// handshake does whose packets vanish.
func (n *network) dial(ctx context.Context, from, address string) (net.Conn, error) {
	if address == seedName {
		address = n.seed()
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if !n.flows(ctx.Done(), from, host) {
		return nil, ctx.Err()
	}
	n.mu.Lock()
	l := n.listeners[address]
	n.mu.Unlock()
	if l == nil {
		return nil, errRefused
	}
	near, far, err := n.pipe(ctx, from, l)
	if err != nil {
		return nil, err
	}
	select {
	case l.pending <- far:
		return near, nil
	case <-l.closed:
		err = errRefused
	case <-ctx.Done():
		err = ctx.Err()
	}
	near.abort()
	far.abort()
	return nil, err
}

// seed is where seedName leads to now.
func (n *network) seed() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.names) == 0 {
		return ""
	}
	n.ports++
	return n.names[n.ports%len(n.names)]
}

// name makes seedName lead to the addresses.
func (n *network) name(addresses []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names = addresses
}

// pipe returns the two ends of a stream.
func (n *network) pipe(ctx context.Context, from string, l *listener) (near, far *conn, err error) {
	host, _, _ := net.SplitHostPort(l.address)
	buffer := bufconn.Listen(64 << 10)
	defer buffer.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := buffer.Accept()
		accepted <- c
	}()
	a, err := buffer.DialContext(ctx)
	if err != nil {
		buffer.Close()
		<-accepted
		return nil, nil, err
	}
	b := <-accepted
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports++
	local := addr(net.JoinHostPort(from, strconv.Itoa(n.ports)))
	near = newConn(n, a, [2]string{from, host}, [2]addr{local, addr(l.address)})
	far = newConn(n, b, [2]string{host, from}, [2]addr{addr(l.address), local})
	n.conns[near], n.conns[far] = struct{}{}, struct{}{}
	return near, far, nil
}

// latency of one stream, and how much it varies: most are fast, some are not.
func (n *network) latency() time.Duration {
	if n.random.IntN(3) == 0 {
		return time.Duration(n.random.IntN(40)) * time.Millisecond
	}
	return time.Duration(n.random.IntN(2000)) * time.Microsecond
}

func (n *network) jitter() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Duration(n.random.IntN(500)) * time.Microsecond
}

// end ends what hangs in a cut.
func (n *network) end() { close(n.ended) }

// flows waits until nothing is cut between two hosts; it reports false if given
// up.
func (n *network) flows(given <-chan struct{}, a, b string) bool {
	for {
		n.mu.Lock()
		cut, changed := n.cuts[pair(a, b)], n.changed
		n.mu.Unlock()
		if !cut {
			return true
		}
		select {
		case <-changed:
		case <-given:
			return false
		case <-n.ended:
			return false
		}
	}
}

func pair(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

func (n *network) cut(a, b string, yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[pair(a, b)] = yes
	close(n.changed)
	n.changed = make(chan struct{})
}

// kill ends every stream and listener of a host.
func (n *network) kill(host string) {
	n.mu.Lock()
	var ends []func()
	for c := range n.conns {
		if c.from == host || c.to == host {
			ends = append(ends, c.abort)
		}
	}
	for address, l := range n.listeners {
		if h, _, _ := net.SplitHostPort(address); h == host {
			ends = append(ends, func() { _ = l.Close() })
		}
	}
	n.mu.Unlock()
	for _, end := range ends {
		end()
	}
}
