package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"slices"
	"time"

	"github.com/MicahParks/jwkset"
)

// Least strength of keys: what RFC 7518 asks for.
const (
	minSecretBytes = 32
	minRSABits     = 2048
)

// key verifies signatures of some algorithms. It is immutable.
type key struct {
	id       string   // kid; empty if the key has none
	methods  []string // names of its algorithms
	material any      // what package jwt verifies with: a public key, or []byte
	private  any      // what it signs with; nil if that is not known
	cost     time.Duration
}

// About how long a check takes with keys that are slow, on a slow processor; see
// BenchmarkCheck.
const (
	costUsual = 100 * time.Microsecond
	costP384  = time.Millisecond
	costP521  = 3 * time.Millisecond
)

func costOf(material any) time.Duration {
	if k, ok := material.(*ecdsa.PublicKey); ok {
		switch k.Curve {
		case elliptic.P384():
			return costP384
		case elliptic.P521():
			return costP521
		}
	}
	return costUsual
}

func (k *key) verifies(method string) bool { return slices.Contains(k.methods, method) }

// The algorithms of each kind of key. No name stands in two of them, so that a
// token cannot choose to have one kind of key taken for another.
func methodsHMAC() []string    { return []string{"HS256", "HS384", "HS512"} }
func methodsRSA() []string     { return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} }
func methodsEd25519() []string { return []string{"EdDSA"} }

// methodsOf returns the algorithms of a public key or a secret.
func methodsOf(material any) ([]string, error) {
	switch m := material.(type) {
	case []byte:
		if len(m) < minSecretBytes {
			return nil, fmt.Errorf("a secret of %d bytes is too weak: at least %d are needed", len(m), minSecretBytes)
		}
		return methodsHMAC(), nil
	case *rsa.PublicKey:
		if bits := m.N.BitLen(); bits < minRSABits {
			return nil, fmt.Errorf("an RSA key of %d bits is too weak: at least %d are needed", bits, minRSABits)
		}
		return methodsRSA(), nil
	case *ecdsa.PublicKey:
		switch m.Curve {
		case elliptic.P256():
			return []string{"ES256"}, nil
		case elliptic.P384():
			return []string{"ES384"}, nil
		case elliptic.P521():
			return []string{"ES512"}, nil
		}
		return nil, fmt.Errorf("curve %s is not supported: P-256, P-384 and P-521 are", m.Curve.Params().Name)
	case ed25519.PublicKey:
		return methodsEd25519(), nil
	}
	return nil, fmt.Errorf("a key of type %T is not supported: secrets, RSA, ECDSA and Ed25519 are", material)
}

// newKey makes a key of a public key, a private key or a secret.
func newKey(material any) (*key, error) {
	k := &key{material: material}
	switch m := material.(type) {
	case []byte:
		k.private = m
	case *rsa.PrivateKey:
		k.material, k.private = &m.PublicKey, m
	case *ecdsa.PrivateKey:
		k.material, k.private = &m.PublicKey, m
	case ed25519.PrivateKey:
		public, _ := m.Public().(ed25519.PublicKey)
		k.material, k.private = public, m
	}
	var err error
	if k.methods, err = methodsOf(k.material); err != nil {
		return nil, err
	}
	k.cost = costOf(k.material)
	return k, nil
}

// fromJWK makes a key of one of a JWKS. It is nil for one that is not meant to
// verify signatures.
func fromJWK(m jwkset.JWKMarshal) (*key, error) {
	if m.USE != "" && m.USE != jwkset.UseSig || len(m.KEYOPS) > 0 &&
		!slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) && !slices.Contains(m.KEYOPS, jwkset.KeyOpsSign) {
		return nil, nil
	}
	m.X5U = "" // is never fetched
	jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{Private: true}, jwkset.JWKValidateOptions{})
	if err != nil {
		return nil, err
	}
	k, err := newKey(jwk.Key())
	if err != nil {
		return nil, err
	}
	k.id = m.KID
	if m.ALG != "" {
		if !k.verifies(m.ALG.String()) {
			return nil, fmt.Errorf("algorithm %q does not fit a key of kind %q", m.ALG, m.KTY)
		}
		k.methods = []string{m.ALG.String()}
	}
	return k, nil
}

// asymmetricPrivate reports whether k holds a private key, which has no place
// where tokens are verified only.
func (k *key) asymmetricPrivate() bool {
	_, secret := k.material.([]byte)
	return k.private != nil && !secret
}

// keySet is all keys that are known at a time. It is immutable.
type keySet struct {
	keys    []*key
	ids     map[string]bool
	partial bool // some were never read
}

func newKeySet(keys []*key, partial bool) *keySet {
	s := &keySet{keys: keys, ids: map[string]bool{}, partial: partial}
	for _, k := range keys {
		if k.id != "" {
			s.ids[k.id] = true
		}
	}
	return s
}

// candidates returns the keys that a token of the algorithm and key id may be
// signed with: those of its id if there are any, else those without an id. A
// token without an id may be of any key.
func (s *keySet) candidates(method, id string) []*key {
	var found []*key
	for _, k := range s.keys {
		mine := k.id == id || id == "" || k.id == "" && !s.ids[id]
		if mine && k.verifies(method) {
			found = append(found, k)
		}
	}
	return found
}
