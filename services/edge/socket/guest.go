package socket

import (
	"net"
	"sync"
	"sync/atomic"
)

// guest is an accepted connection from its acceptance until its end, or until
// an engine took it over. The HTTP server sees it as its net.Conn, so it also
// carries what the steps of the upgrade tell each other.
type guest struct {
	net.Conn

	remote  net.Addr      // of the client, if a balancer told it; else nil
	unread  []byte        // came with the balancer's header; owned by the reader
	upgrade *upgrade      // set by the screening, read by the engine
	busy    atomic.Bool   // a request is being answered
	done    chan struct{} // closed when an engine has taken the connection over
	closed  atomic.Bool   // Close was called: no engine will

	mu     sync.Mutex
	corked bool // Write only collects
	held   []byte
}

// RemoteAddr is the address of the client.
func (g *guest) RemoteAddr() net.Addr {
	if g.remote != nil {
		return g.remote
	}
	return g.Conn.RemoteAddr()
}

// Read reads from the client, whatever the deadline, as long as there is
// something that came with the balancer's header.
func (g *guest) Read(p []byte) (int, error) {
	if len(g.unread) == 0 {
		return g.Conn.Read(p)
	}
	n := copy(p, g.unread)
	if g.unread = g.unread[n:]; len(g.unread) == 0 {
		g.unread = nil
	}
	return n, nil
}

// Close closes the connection.
func (g *guest) Close() error {
	g.closed.Store(true)
	return g.Conn.Close()
}

// Write writes p, or keeps it between cork and uncork.
func (g *guest) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.corked {
		g.held = append(g.held, p...)
		return len(p), nil
	}
	return g.Conn.Write(p)
}

// cork makes the following writes collect in buf, so that several frames of the
// package's writer leave in one write.
func (g *guest) cork(buf []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.corked, g.held = true, buf[:0]
}

// uncork writes what was collected and returns the buffer and its fill.
func (g *guest) uncork() (buf []byte, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	buf = g.held
	g.corked, g.held = false, nil
	if len(buf) > 0 {
		_, err = g.Conn.Write(buf)
	}
	return buf, err
}
