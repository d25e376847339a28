package socket_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/handshake"
	"github.com/skein-mesh/skein/services/edge/socket"
)

// inBubble runs a server on an in-memory listener in virtual time.
func inBubble(t *testing.T, opts socket.Options, test func(t *testing.T, s *server, dial func() *client)) {
	bubble.Test(t, func(t *testing.T) {
		ln := fasthttputil.NewInmemoryListener()
		opts.Listener = ln
		ctx, stop := context.WithCancel(t.Context())
		s := &server{Server: socket.New(opts), t: t, stop: stop, done: make(chan error, 1)}
		go func() { s.done <- s.Run(ctx) }()
		test(t, s, func() *client {
			conn, err := ln.Dial()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			c := upgrade(t, conn)
			_ = conn.SetDeadline(time.Time{}) // the clock is virtual
			return c
		})
		s.end()
	})
}

// The default idle timeout, to the second: received frames reset it, sent ones
// do not.
func TestIdleInVirtualTime(t *testing.T) {
	var conn *socket.Conn
	opts := socket.Options{Mounts: at(func(c *socket.Conn) socket.Handler {
		conn = c
		return &echo{conn: c}
	})}
	inBubble(t, opts, func(t *testing.T, _ *server, dial func() *client) {
		c := dial()
		for range 3 {
			time.Sleep(50 * time.Second) // virtual time
			c.write(frame(wsframe.Ping, true, ""))
			c.expect("pong ")
		}
		last := time.Now()
		time.Sleep(50 * time.Second) // virtual time
		conn.Send(wsframe.New(wsframe.Text, []byte("pushed")))
		c.expect("pushed", "close 1002")
		if d := time.Since(last); d != 60*time.Second {
			t.Errorf("closed after %s", d)
		}
		_ = c.Close()
	})
}

func TestDrainInVirtualTime(t *testing.T) {
	opts := socket.Options{Mounts: at(echoes)}
	inBubble(t, opts, func(t *testing.T, s *server, dial func() *client) {
		clients := make([]*client, 10)
		for i := range clients {
			clients[i] = dial()
			clients[i].text("a")
			clients[i].expect("a")
		}
		begin := time.Now()
		s.stop()
		for _, c := range clients {
			c.expect("close 1012")
			c.write(frame(wsframe.Close, true, "\x03\xf4"))
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("the drain took %s", d)
		}
	})
}

// A TLS listener is served by the portable engine.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}}
	ctx, stop := context.WithCancel(t.Context())
	s := &server{t: t, stop: stop, done: make(chan error, 1), addr: plain.Addr().String()}
	schemes := make(chan string, 1)
	s.Server = socket.New(socket.Options{Listener: tls.NewListener(plain, config), Mounts: []socket.Mount{{
		Path: "/socket",
		Admit: func(_ context.Context, r *handshake.Request) (func(*socket.Conn) socket.Handler, handshake.Refusal) {
			schemes <- r.URL.Scheme
			return echoes, handshake.Refusal{}
		},
		Compress: true,
	}}})
	go func() { s.done <- s.Run(ctx) }()
	t.Cleanup(s.end)
	conn, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	c := upgradeBy(t, conn, deflating)
	if scheme := <-schemes; scheme != "https" {
		t.Errorf("scheme %s", scheme)
	}
	c.text("secret")
	c.expect("secret")
	c.write(frame(wsframe.Text|0x40, true, deflate("compressed")))
	c.expect("compressed")
	c.text("restart")
	c.expect("close 1012")
	c.write(frame(wsframe.Close, true, "\x03\xf4"))
	c.expect("end")
}
