package cluster

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"

	"google.golang.org/grpc/test/bufconn"
)

// network carries streams between hosts in memory. Cutting two hosts stops what
// flows between them, as a partition does: nothing breaks until somebody loses
// patience. Killing a host breaks its streams at once, as the end of a process
// does.
type network struct {
	mu        sync.Mutex // guards the fields below
	listeners map[string]*listener
	conns     map[*conn]struct{}
	cuts      map[[2]string]bool
	changed   chan struct{} // closed when cuts change, and replaced
	ports     int
	names     []string // addresses of all routers, that seedName leads to
}

// seedName is how edges know routers: a name that leads to one or the other.
const seedName = "routers.test:5000"

func newNetwork() *network {
	return &network{
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
	near.Close()
	far.Close()
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
	near = &conn{Conn: a, network: n, from: from, to: host, local: local, remote: addr(l.address), closed: make(chan struct{})}
	far = &conn{Conn: b, network: n, from: host, to: from, local: addr(l.address), remote: local, closed: make(chan struct{})}
	n.conns[near], n.conns[far] = struct{}{}, struct{}{}
	return near, far, nil
}

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
	var ends []interface{ Close() error }
	for c := range n.conns {
		if c.from == host || c.to == host {
			ends = append(ends, c)
		}
	}
	for address, l := range n.listeners {
		if h, _, _ := net.SplitHostPort(address); h == host {
			ends = append(ends, l)
		}
	}
	n.mu.Unlock()
	for _, e := range ends {
		e.Close()
	}
}

// conn is one end of a stream.
type conn struct {
	net.Conn
	network       *network
	from, to      string
	local, remote addr
	once          sync.Once
	closed        chan struct{}
}

func (c *conn) Write(b []byte) (int, error) {
	if !c.network.flows(c.closed, c.from, c.to) {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.network.mu.Lock()
		defer c.network.mu.Unlock()
		delete(c.network.conns, c)
	})
	return c.Conn.Close()
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }
