// Package tlsfiles protects connections with certificates that stand in files,
// and notices when the files change: handshakes after that use the new ones,
// connections that stand go on. Files may be replaced one after the other and in
// any order; until they fit together the old ones are used.
//
// Nothing runs in the background. A handshake looks at the files first, if
// nobody did for a second.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// lookAgain is how long what was seen of the files is believed.
const lookAgain = time.Second

// Files are certificates in files. All methods may be called concurrently.
type Files struct {
	// Static after construction.
	settings TLS
	log      *slog.Logger

	loaded atomic.Pointer[material]

	// look is held while the files are looked at, by one at a time: others go on
	// with what there is. It guards the fields below.
	look    sync.Mutex
	looked  time.Time
	seen    []os.FileInfo // of the files that are loaded
	problem string        // that was logged last
}

// material is what was read.
type material struct {
	certificate *tls.Certificate // nil for none
	authorities *x509.CertPool   // nil for none
}

// Load reads the files of a service or of a client. Settings must be valid and
// enabled.
func Load(s TLS, log *slog.Logger) (*Files, error) {
	f := &Files{settings: s, log: log}
	f.look.Lock()
	defer f.look.Unlock()
	seen, err := f.stat()
	if err != nil {
		return nil, err
	}
	m, err := read(s)
	if err != nil {
		return nil, err
	}
	f.seen, f.looked = seen, time.Now()
	f.loaded.Store(m)
	return f, nil
}

// current returns what the files hold, or held until they became unreadable.
func (f *Files) current() *material {
	if f.look.TryLock() {
		defer f.look.Unlock()
		if now := time.Now(); now.Sub(f.looked) >= lookAgain {
			f.looked = now
			f.reload()
		}
	}
	return f.loaded.Load()
}

// reload reads the files if they changed.
func (f *Files) reload() {
	seen, err := f.stat() // first: what changes while it is read is read again
	if err == nil && same(seen, f.seen) {
		f.problem = ""
		return
	}
	var m *material
	if err == nil {
		m, err = read(f.settings)
	}
	if err != nil {
		if text := err.Error(); text != f.problem {
			f.problem = text
			f.log.Warn("TLS: the files changed and cannot be used; going on with the old ones", "error", err)
		}
		return
	}
	f.seen, f.problem = seen, ""
	f.loaded.Store(m)
	args := []any{"cert", f.settings.Cert}
	if m.certificate != nil {
		args = append(args, "expires", m.certificate.Leaf.NotAfter)
	}
	f.log.Info("TLS: new certificates are in use", args...)
}

func (f *Files) stat() ([]os.FileInfo, error) {
	var seen []os.FileInfo
	for _, path := range []string{f.settings.Cert, f.settings.Key, f.settings.CA} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("TLS: %w", err)
		}
		seen = append(seen, info)
	}
	return seen, nil
}

func same(a, b []os.FileInfo) bool {
	for i := range a {
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

// read reads the files. Errors name the file and never show a key.
func read(s TLS) (*material, error) {
	m := &material{}
	if s.Cert != "" {
		certificate, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			return nil, fmt.Errorf("TLS: certificate %s with key %s: %w", s.Cert, s.Key, err)
		}
		m.certificate = &certificate
	}
	if s.CA != "" {
		text, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("TLS: authorities: %w", err)
		}
		m.authorities = x509.NewCertPool()
		if !m.authorities.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("TLS: authorities: %s holds no certificate in PEM", s.CA)
		}
	}
	return m, nil
}

var errNone = errors.New("no certificate")

// serverCertificate is a [tls.Config.GetCertificate].
func (f *Files) serverCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if m := f.current(); m.certificate != nil {
		return m.certificate, nil
	}
	return nil, errNone
}
