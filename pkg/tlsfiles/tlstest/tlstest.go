// Package tlstest makes authorities and certificates for tests.
package tlstest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/tlsfiles"
	"github.com/skein-mesh/skein/pkg/tlsfiles/authority"
)

// Authority signs certificates.
type Authority struct {
	signer *authority.Authority
}

// Leaf is what a certificate says. It is for 127.0.0.1, localhost and its name,
// as a client and as a server.
type Leaf struct {
	Name  string
	Until time.Time // when it expires; zero for in an hour
}

// New returns an authority of its own.
func New(t *testing.T) *Authority {
	t.Helper()
	signer, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{signer}
}

// Files writes a certificate, its key and the authority to dir, in place of what
// is there, and returns the settings that name them.
func (a *Authority) Files(t *testing.T, dir string, l Leaf) tlsfiles.TLS {
	t.Helper()
	until := l.Until
	if until.IsZero() {
		until = time.Now().Add(time.Hour)
	}
	pair, err := a.signer.Issue(authority.Leaf{
		Name: l.Name, Hosts: []string{"localhost", l.Name, "127.0.0.1"},
		From: time.Now().Add(-24 * time.Hour), Until: until,
	})
	if err != nil {
		t.Fatal(err)
	}
	return tlsfiles.TLS{
		Cert: write(t, dir, "tls.crt", pair.Cert),
		Key:  write(t, dir, "tls.key", pair.Key),
		CA:   write(t, dir, "ca.crt", a.signer.PEM()),
	}
}

// write replaces a file in one step, as careful tools do.
func write(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}
