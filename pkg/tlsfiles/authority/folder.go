package authority

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// Names of an authority's files in its folder.
const (
	certFile = "ca.crt"
	keyFile  = "ca.key"
)

// Did is what [Authority.Keep] and [Open] did.
type Did string

// What was done.
const (
	Made    Did = "made"
	Kept    Did = "kept"
	Renewed Did = "renewed"
)

// Open reads the authority of a folder, ca.crt and ca.key, or makes one if the
// folder, which must exist, has neither. It never overwrites any of them. Another
// tool may have made them, with keys of any kind.
func Open(dir string, now time.Time) (*Authority, Did, error) {
	cert, key, err := readPair(filepath.Join(dir, certFile), filepath.Join(dir, keyFile))
	if err != nil {
		return nil, "", err
	}
	switch {
	case cert == nil && key == nil:
		a, err := create(dir, now)
		return a, Made, err
	case cert == nil || key == nil:
		return nil, "", fmt.Errorf("authority: %s has one of %s and %s: put the other one back, or move it away for a new authority", dir, certFile, keyFile)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, "", fmt.Errorf("authority: %s and %s in %s: %w", certFile, keyFile, dir, err)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	switch {
	case !ok || !pair.Leaf.IsCA:
		return nil, "", fmt.Errorf("authority: %s in %s is not the certificate of an authority", certFile, dir)
	case now.After(pair.Leaf.NotAfter):
		return nil, "", fmt.Errorf("authority: %s in %s ended on %s: move %s and %s away, and a new one is made",
			certFile, dir, pair.Leaf.NotAfter.Format(time.DateOnly), certFile, keyFile)
	}
	return &Authority{signer, pair.Leaf}, Kept, nil
}

// readPair reads two files, of which any may be missing.
func readPair(certPath, keyPath string) (cert, key []byte, err error) {
	if cert, err = readIfAny(certPath); err == nil {
		key, err = readIfAny(keyPath)
	}
	return cert, key, err
}

// readIfAny returns nil if there is no such file.
func readIfAny(path string) ([]byte, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator says where
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// create makes an authority in a folder that has none. The key comes first: who
// makes it has the folder.
func create(dir string, now time.Time) (*Authority, error) {
	a, err := New(now)
	if err != nil {
		return nil, err
	}
	key, err := encodeKey(a.key)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, keyFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator says where
	if err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	_, err = f.Write(key)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	return a, replace(filepath.Join(dir, certFile), a.PEM(), 0o644)
}

// Trust adds the authority to those in a folder's ca.crt, unless it is one of
// them.
func (a *Authority) Trust(dir string) error {
	path := filepath.Join(dir, certFile)
	text, err := readIfAny(path)
	if err != nil || contains(text, a.certificate.Raw) {
		return err
	}
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	return replace(path, append(text, a.PEM()...), 0o644)
}

// contains reports whether one of the blocks of a PEM file is der.
func contains(text, der []byte) bool {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return false
		}
		if bytes.Equal(block.Bytes, der) {
			return true
		}
		text = rest
	}
}

// Wanted is a certificate that is to be in a folder.
type Wanted struct {
	Name  string        // see [ValidName]; its files are NAME.crt and NAME.key
	Hosts []string      // as in [Leaf]
	For   time.Duration // how long a new one is good
}

// State is what became of a certificate that was wanted.
type State struct {
	Did   Did
	Why   string // it was renewed
	Until time.Time
}

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$`)

// ValidName reports whether a certificate may be called so: it becomes the name of
// files.
func ValidName(name string) bool { return validName.MatchString(name) && name != "ca" }

// Keep sees to it that a folder, which must exist, has a certificate that this
// authority signed, for just these hosts, with its key, and with a third of the
// time that is wanted left. It makes both anew otherwise. Only the owner may read
// the key.
func (a *Authority) Keep(dir string, w Wanted, now time.Time) (State, error) {
	certPath, keyPath := filepath.Join(dir, w.Name+".crt"), filepath.Join(dir, w.Name+".key")
	cert, key, err := readPair(certPath, keyPath)
	if err != nil {
		return State{}, err
	}
	state := State{Did: Made, Until: earlier(now.Add(w.For), a.Until()).UTC().Truncate(time.Second)}
	if cert != nil && key != nil {
		has, why := a.examine(cert, key, w, now)
		if why == "" {
			return State{Did: Kept, Until: has.NotAfter}, nil
		}
		state.Did, state.Why = Renewed, why
	}
	pair, err := a.Issue(Leaf{w.Name, w.Hosts, now.Add(-Backdate), state.Until})
	if err != nil {
		return State{}, err
	}
	// A reader between the two finds that they do not match, and looks again.
	return state, errors.Join(replace(keyPath, pair.Key, 0o600), replace(certPath, pair.Cert, 0o644))
}

// examine returns why a certificate does not do, or "".
func (a *Authority) examine(cert, key []byte, w Wanted, now time.Time) (*x509.Certificate, string) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err.Error()
	}
	has := pair.Leaf
	switch {
	case has.CheckSignatureFrom(a.certificate) != nil:
		return nil, "another authority signed it"
	case !slices.Equal(hostsOf(has), Canonical(w.Hosts)):
		return nil, "it was for other hosts"
	case has.NotAfter.Sub(now) < w.For/3:
		return nil, "near its end"
	}
	return has, ""
}

func hostsOf(c *x509.Certificate) []string {
	hosts := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return Canonical(hosts)
}

// Canonical returns each host once, in order, and addresses in their usual form.
func Canonical(hosts []string) []string {
	all := slices.Clone(hosts)
	for i, host := range all {
		if ip := net.ParseIP(host); ip != nil {
			all[i] = ip.String()
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// replace writes a file in one step: readers see the old one or the new one.
func replace(path string, text []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
