package tlsfiles_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
	"github.com/skein-mesh/skein/pkg/tlsfiles/tlstest"
)

func TestSettings(t *testing.T) {
	for name, test := range map[string]struct {
		settings        tlsfiles.TLS
		service, client string // part of the error; "" if valid
	}{
		"none":           {tlsfiles.TLS{}, "", ""},
		"all":            {tlsfiles.TLS{Cert: "c", Key: "k", CA: "a", Name: "n"}, "", ""},
		"authority only": {tlsfiles.TLS{CA: "a"}, "tls-cert", ""},
		"no authority":   {tlsfiles.TLS{Cert: "c", Key: "k"}, "tls-ca", "tls-ca"},
		"no key":         {tlsfiles.TLS{Cert: "c", CA: "a"}, "tls-key", "tls-key"},
		"name only":      {tlsfiles.TLS{Name: "n"}, "tls-server-name", "tls-server-name"},
	} {
		for role, check := range map[string]struct {
			err  error
			want string
		}{"service": {test.settings.Validate(), test.service}, "client": {test.settings.ValidateClient(), test.client}} {
			if (check.err == nil) != (check.want == "") || check.err != nil && !strings.Contains(check.err.Error(), check.want) {
				t.Errorf("%s of a %s: %v, want %q", name, role, check.err, check.want)
			}
		}
	}
	if err := (tlsfiles.Public{Cert: "c"}).Validate(); err == nil {
		t.Error("a public certificate without key is valid")
	}
}

// The port of clients: old clients are served, and a new certificate is seen by
// the next handshake while a connection with the old one goes on.
func TestPublicPort(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		authority, dir := tlstest.New(t), t.TempDir()
		files := authority.Files(t, dir, tlstest.Leaf{Name: "first"})
		plain := bufconn.Listen(1 << 16)
		listener, err := tlsfiles.Listen(plain, tlsfiles.Public{Cert: files.Cert, Key: files.Key}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			echo(listener)
		}()
		roots := x509.NewCertPool()
		text, err := os.ReadFile(files.CA)
		if err != nil || !roots.AppendCertsFromPEM(text) {
			t.Fatal(err)
		}
		old := connect(t, plain, &tls.Config{RootCAs: roots, ServerName: "first", MaxVersion: tls.VersionTLS12})
		authority.Files(t, dir, tlstest.Leaf{Name: "second"})
		time.Sleep(2 * time.Second) // virtual time
		fresh := connect(t, plain, &tls.Config{RootCAs: roots, ServerName: "second"})
		for name, conn := range map[string]*tls.Conn{"old": old, "new": fresh} {
			if err := said(conn, "hello"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			conn.Close()
		}
		listener.Close()
		<-served
	})
}

func connect(t *testing.T, l *bufconn.Listener, config *tls.Config) *tls.Conn {
	t.Helper()
	conn, err := l.Dial()
	if err != nil {
		t.Fatal(err)
	}
	secured := tls.Client(conn, config)
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	return secured
}

// echo serves one connection after another until the listener is closed.
func echo(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn) // until the client is gone
		}()
	}
}

func said(conn io.ReadWriter, text string) error {
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	heard := make([]byte, len(text))
	if _, err := io.ReadFull(conn, heard); err != nil {
		return err
	}
	if string(heard) != text {
		return errors.New("heard " + string(heard))
	}
	return nil
}

// remote is a connection to another machine.
type remote struct{ net.Conn }

func (remote) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5000} }

func TestPlaintextStaysOnTheMachine(t *testing.T) {
	local, other := net.Pipe()
	defer local.Close()
	defer other.Close()
	if _, _, err := tlsfiles.Plaintext(false, nil).ClientHandshake(t.Context(), "x", remote{local}); !errors.Is(err, tlsfiles.ErrPlaintext) {
		t.Errorf("got %v", err)
	}
	for name, test := range map[string]struct {
		allowed bool
		conn    net.Conn
	}{"allowed": {true, remote{local}}, "in memory": {false, local}} {
		if _, _, err := tlsfiles.Plaintext(test.allowed, nil).Clone().ClientHandshake(t.Context(), "x", test.conn); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
