package cluster

import (
	"net"
	"slices"
	"sync"
	"time"
)

// conn is one end of a stream. What is written to it arrives later, in order;
// so does its end.
type conn struct {
	net.Conn

	// Static after construction.
	network       *network
	from, to      string
	local, remote addr
	latency       time.Duration
	chunks        chan chunk    // written and not there yet
	closed        chan struct{} // by Close
	once          sync.Once
	aborted       chan struct{} // by abort
	onceAborted   sync.Once
}

// chunk is what one Write wrote.
type chunk struct {
	data []byte
	due  time.Time
}

// window is how many chunks may be on their way before a writer waits.
const window = 64

// newConn returns an end; the network's mu is held.
func newConn(n *network, c net.Conn, hosts [2]string, addrs [2]addr) *conn {
	e := &conn{
		Conn: c, network: n, from: hosts[0], to: hosts[1], local: addrs[0], remote: addrs[1], latency: n.latency(),
		chunks: make(chan chunk, window), closed: make(chan struct{}), aborted: make(chan struct{}),
	}
	go e.carry()
	return e
}

func (c *conn) Write(b []byte) (int, error) {
	due := time.Now().Add(c.latency + c.network.jitter())
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	case <-c.aborted:
		return 0, net.ErrClosed
	default:
	}
	select {
	case c.chunks <- chunk{slices.Clone(b), due}:
		return len(b), nil
	case <-c.closed:
		return 0, net.ErrClosed
	case <-c.aborted:
		return 0, net.ErrClosed
	}
}

// carry brings what was written to the other end.
func (c *conn) carry() {
	defer c.abort()
	for {
		select {
		case ch := <-c.chunks:
			if !c.bring(ch) {
				return
			}
		case <-c.aborted:
			return
		case <-c.closed:
			for {
				select {
				case ch := <-c.chunks:
					if !c.bring(ch) {
						return
					}
				default:
					c.bring(chunk{due: time.Now().Add(c.latency)})
					return
				}
			}
		}
	}
}

// bring waits until a chunk is due and nothing is cut. It reports false when
// the stream is over.
func (c *conn) bring(ch chunk) bool {
	late := time.NewTimer(time.Until(ch.due))
	defer late.Stop()
	select {
	case <-late.C:
	case <-c.aborted:
		return false
	}
	if !c.network.flows(c.aborted, c.from, c.to) {
		return false
	}
	_, err := c.Conn.Write(ch.data)
	return err == nil
}

// Close ends the stream once what was written arrived.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		_ = c.SetReadDeadline(time.Unix(1, 0)) // its own reader need not wait
	})
	return nil
}

// abort ends the stream at once.
func (c *conn) abort() {
	c.onceAborted.Do(func() {
		close(c.aborted)
		_ = c.Conn.Close()
		c.network.mu.Lock()
		defer c.network.mu.Unlock()
		delete(c.network.conns, c)
	})
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }
