package socket

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

// Bounds of a header of the PROXY protocol. The specification has the first; a
// balancer that sends more than the second adds something that nobody reads here.
const (
	maxProxyLine   = 107 // version 1
	proxyPrefix    = 16  // version 2, up to and with its length
	maxProxyHeader = 4<<10 + proxyPrefix
)

var (
	errNotTrusted   = errors.New("proxy protocol: the peer is none of the balancers that may tell the address of a client")
	errNoProxy      = errors.New("proxy protocol: what came first is no header: the balancer must send one")
	errProxyTooLong = errors.New("proxy protocol: the header is too long")
)

// trusted reports whether a peer may tell the address of a client.
func (o Options) trusted(peer net.Addr) bool {
	addr := addrPort(peer).Addr()
	return slices.ContainsFunc(o.Balancers, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// turnAway ends a connection that did not get as far as a request.
func (s *Server) turnAway(conn net.Conn, why refused, err error) {
	if s.draining.Load() {
		why = refusedDraining
	}
	s.count.refused[why].Add(1)
	s.opts.Log.Debug("connection refused", "peer", conn.RemoteAddr().String(), "reason", why.String(), "error", err)
	_ = conn.Close() // it may be closed already
}

// introduce reads the header with which a balancer introduces its client, within
// [Limits.Handshake], and reports whether the connection goes on.
func (s *Server) introduce(g *guest) bool {
	if len(s.opts.Balancers) == 0 {
		return true
	}
	err := g.SetReadDeadline(time.Now().Add(s.opts.Limits.Handshake))
	if err == nil {
		err = g.readProxyHeader()
	}
	switch {
	case err == nil:
		err = g.SetReadDeadline(time.Time{}) // the HTTP server has its own
	case errors.Is(err, io.EOF): // nothing was asked for: a look whether the port is open
		_ = g.Close()
		return false
	}
	if err != nil {
		s.turnAway(g, refusedProxy, err)
	}
	return err == nil
}

// readProxyHeader takes the client's address from the header. What came with the
// header is read next. io.EOF says that nothing came at all.
func (g *guest) readProxyHeader() error {
	header, behind, err := readProxyHeader(g.Conn)
	if err != nil {
		return err
	}
	g.unread = behind
	// A client of whom the balancer tells no IP address, such as the balancer
	// itself (LOCAL) or one behind a Unix socket, counts as the balancer.
	if header.Command.IsProxy() {
		switch source := header.SourceAddr.(type) {
		case *net.TCPAddr:
			g.remote = source
		case *net.UDPAddr: // QUIC, at the balancer
			g.remote = &net.TCPAddr{IP: source.IP, Port: source.Port}
		}
	}
	return nil
}

// readProxyHeader reads one header of either version and returns what was read
// beyond it. It takes headers in pieces: the module's reader gives up on them.
func readProxyHeader(r io.Reader) (header *proxyproto.Header, behind []byte, err error) {
	buf := make([]byte, 0, 256)
	for {
		size, err := proxyHeaderSize(buf)
		if err != nil {
			return nil, nil, err
		}
		if size > 0 && size <= len(buf) {
			header, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(buf[:size])))
			return header, buf[size:], err
		}
		buf = slices.Grow(buf, 1)
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case n > 0 || err == nil:
		case len(buf) == 0 && errors.Is(err, io.EOF):
			return nil, nil, io.EOF
		default:
			return nil, nil, fmt.Errorf("proxy protocol: the header ends after %d bytes: %w", len(buf), noEOF(err))
		}
	}
}

// proxyHeaderSize is how many bytes the header at the start of b has, 0 if b is
// too short to say.
func proxyHeaderSize(b []byte) (int, error) {
	line := append(slices.Clone(proxyproto.SIGV1), ' ')
	switch {
	case bytes.HasPrefix(b, proxyproto.SIGV2):
		if len(b) < proxyPrefix {
			return 0, nil
		}
		size := proxyPrefix + int(binary.BigEndian.Uint16(b[proxyPrefix-2:]))
		if size > maxProxyHeader {
			return 0, errProxyTooLong
		}
		return size, nil
	case bytes.HasPrefix(b, line):
		end := bytes.IndexByte(b[:min(len(b), maxProxyLine)], '\n')
		if end < 0 && len(b) >= maxProxyLine {
			return 0, errProxyTooLong
		}
		return end + 1, nil
	case bytes.HasPrefix(proxyproto.SIGV2, b), bytes.HasPrefix(line, b):
		return 0, nil
	}
	return 0, errNoProxy
}

// noEOF keeps io.EOF for a connection on which nothing came.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
