package clustertest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Transport is one host of a [Network]. Like UDP it drops packets that nobody
// receives in time: memberlist's own mock sends on an unbuffered channel and
// deadlocks once a host dies.
type Transport struct {
	network *Network
	ip      net.IP
	packets chan *memberlist.Packet
	streams chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

var _ memberlist.NodeAwareTransport = (*Transport)(nil)

func newTransport(n *Network, ip net.IP) *Transport {
	return &Transport{
		network: n,
		ip:      ip,
		packets: make(chan *memberlist.Packet, 1024),
		streams: make(chan net.Conn),
		closed:  make(chan struct{}),
	}
}

// Address returns "host:port" of this host.
func (t *Transport) Address() string { return net.JoinHostPort(t.ip.String(), strconv.Itoa(port)) }

// Host returns the address without port.
func (t *Transport) Host() string { return t.ip.String() }

// FinalAdvertiseAddr implements [memberlist.Transport].
func (t *Transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) { return t.ip, port, nil }

// PacketCh implements [memberlist.Transport].
func (t *Transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements [memberlist.Transport].
func (t *Transport) StreamCh() <-chan net.Conn { return t.streams }

// WriteToAddress implements [memberlist.NodeAwareTransport].
func (t *Transport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, addr.Addr)
}

// WriteTo implements [memberlist.Transport].
func (t *Transport) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	if t.network.lost() {
		return now, nil
	}
	packet := &memberlist.Packet{Buf: bytes.Clone(b), From: &net.UDPAddr{IP: t.ip, Port: port}}
	if t.network.delay == 0 {
		t.deliver(packet, addr)
	} else {
		time.AfterFunc(t.network.delay, func() { t.deliver(packet, addr) })
	}
	return now, nil
}

func (t *Transport) deliver(packet *memberlist.Packet, addr string) {
	peer := t.network.route(t.Address(), addr)
	if peer == nil {
		return
	}
	packet.Timestamp = time.Now()
	select {
	case peer.packets <- packet:
	default: // the receiver's buffer is full
	}
}

// DialAddressTimeout implements [memberlist.NodeAwareTransport].
func (t *Transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(addr.Addr, timeout)
}

// DialTimeout implements [memberlist.Transport]. Where nobody listens it is
// refused; behind a cut it takes all of timeout.
func (t *Transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	refused := fmt.Errorf("clustertest: dial %s: connection refused", addr)
	deadline := time.After(timeout)
	time.Sleep(min(t.network.delay, timeout)) //nolint:forbidigo // virtual time
	peer := t.network.route(t.Address(), addr)
	if peer == nil {
		if t.network.listens(addr) {
			<-deadline
			return nil, fmt.Errorf("clustertest: dial %s: %w", addr, os.ErrDeadlineExceeded)
		}
		return nil, refused
	}
	dialer, acceptor := t.network.connect(pair{t.Address(), addr})
	select {
	case peer.streams <- acceptor:
		return dialer, nil
	case <-peer.closed:
	case <-t.closed:
	case <-deadline:
	}
	_ = dialer.Close()
	return nil, refused
}

// Shutdown implements [memberlist.Transport].
func (t *Transport) Shutdown() error {
	t.once.Do(func() {
		t.network.remove(t)
		close(t.closed)
	})
	return nil
}

func (n *Network) listens(addr string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peers[addr] != nil
}
