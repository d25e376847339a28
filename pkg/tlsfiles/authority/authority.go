// Package authority is a certificate authority of a fleet's own: it signs
// certificates for services, each good as a server and as a client, and keeps
// them in a folder in the form that pkg/tlsfiles reads.
//
// Keys are ECDSA P-256. There is no list of revoked certificates: certificates
// are to be short-lived and are renewed in place.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"time"
)

// Lifetime is how long an authority may sign.
const Lifetime = 10 * 365 * 24 * time.Hour

// Backdate is how long before it was made a certificate is good already, for
// machines whose clocks are behind.
const Backdate = time.Hour

// Authority signs certificates. All methods may be called concurrently, but
// those that write files only for different folders.
type Authority struct {
	key         crypto.Signer
	certificate *x509.Certificate
}

// Leaf is what a certificate says.
type Leaf struct {
	Name        string   // whose it is; logs call the holder so
	Hosts       []string // DNS names and IP addresses at which the holder is a server
	From, Until time.Time
}

// Pair is a certificate and its private key, both in PEM.
type Pair struct {
	Cert, Key []byte
}

// New returns an authority that nobody knows yet, good for [Lifetime].
func New(now time.Time) (*Authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	a := &Authority{key: key, certificate: &x509.Certificate{
		Subject:   pkix.Name{CommonName: "skein authority"},
		NotBefore: now.Add(-Backdate), NotAfter: now.Add(Lifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}}
	a.certificate, err = a.sign(a.certificate, key)
	return a, err
}

// PEM is the authority's certificate, which whoever is to trust it needs.
func (a *Authority) PEM() []byte { return encode("CERTIFICATE", a.certificate.Raw) }

// Until is when the authority ends, and with it all that it signed.
func (a *Authority) Until() time.Time { return a.certificate.NotAfter }

// Issue makes a key and a certificate for it.
func (a *Authority) Issue(l Leaf) (Pair, error) {
	key, err := newKey()
	if err != nil {
		return Pair{}, err
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: l.Name},
		NotBefore: l.From, NotAfter: l.Until,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, host := range l.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	certificate, err := a.sign(template, key)
	if err != nil {
		return Pair{}, err
	}
	secret, err := encodeKey(key)
	return Pair{encode("CERTIFICATE", certificate.Raw), secret}, err
}

// sign makes a certificate of what a template says of a key.
func (a *Authority) sign(template *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %s: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(raw)
}

func newKey() (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return encode("PRIVATE KEY", der), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
