package token

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/skein-mesh/skein/pkg/grant"
)

// Signer makes tokens. It is immutable.
type Signer struct {
	key    *key
	method jwt.SigningMethod
}

// NewSigner returns a signer with the key that a key file holds: a private key
// or a secret. An empty algorithm is the first that fits the key.
func NewSigner(file []byte, algorithm string) (*Signer, error) {
	keys, err := readKeys(file)
	if err != nil {
		return nil, err
	}
	private := false
	for _, k := range keys {
		private = private || k.private != nil
		if k.private == nil || algorithm != "" && !k.verifies(algorithm) {
			continue
		}
		name := algorithm
		if name == "" {
			name = k.methods[0]
		}
		return &Signer{k, jwt.GetSigningMethod(name)}, nil
	}
	if !private {
		return nil, errors.New("holds a public key: a private key or a secret is needed to sign")
	}
	return nil, fmt.Errorf("no key signs with %q: it signs with %s", algorithm, strings.Join(keys[0].methods, ", "))
}

// Algorithm is the name of the signer's algorithm, such as "ES256".
func (s *Signer) Algorithm() string { return s.method.Alg() }

// Sign returns a token with the given claims. id is its key id; empty for the
// one of the key, if that has one.
func (s *Signer) Sign(claims map[string]any, id string) (string, error) {
	t := jwt.NewWithClaims(s.method, jwt.MapClaims(claims))
	if id == "" {
		id = s.key.id
	}
	if id != "" {
		t.Header["kid"] = id
	}
	return t.SignedString(s.key.private)
}

// Generate makes a key for an algorithm such as HS256, RS256, ES256 or EdDSA, as
// files: of a secret, which has no public half, or of a private key in PKCS #8
// and its public half.
func Generate(algorithm string) (private, public []byte, err error) {
	if strings.HasPrefix(algorithm, "HS") && jwt.GetSigningMethod(algorithm) != nil {
		secret := make([]byte, jwtHashBytes(algorithm))
		if _, err := rand.Read(secret); err != nil {
			return nil, nil, err
		}
		return []byte(base64.RawURLEncoding.EncodeToString(secret) + "\n"), nil, nil
	}
	var key crypto.Signer
	switch algorithm {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		key, err = rsa.GenerateKey(rand.Reader, minRSABits)
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, nil, fmt.Errorf("algorithm %q is none of HS256, RS256, PS256, ES256, their 384 and 512, and EdDSA", algorithm)
	}
	if err != nil {
		return nil, nil, err
	}
	return encode(key)
}

// jwtHashBytes is the length of an HMAC, which its secret should have too.
func jwtHashBytes(algorithm string) int {
	switch algorithm {
	case "HS384":
		return 48
	case "HS512":
		return 64
	}
	return 32
}

func encode(key crypto.Signer) (private, public []byte, err error) {
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	open, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: open}), nil
}

// Contents is what a token says. Nobody vouches for it.
type Contents struct {
	Header json.RawMessage // an object
	Claims json.RawMessage // an object
}

// Inspect reads a token without checking anything but its form.
func Inspect(token string) (Contents, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Contents{}, fmt.Errorf("a token has three parts with a dot between them, this has %d", len(parts))
	}
	header, err := segment("header", parts[0])
	if err != nil {
		return Contents{}, err
	}
	claims, err := segment("claims", parts[1])
	if err != nil {
		return Contents{}, err
	}
	return Contents{header, claims}, nil
}

func segment(name, text string) (json.RawMessage, error) {
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("its %s: %w", name, err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(decoded, &object); err != nil {
		return nil, fmt.Errorf("its %s: %w", name, err)
	}
	if object == nil {
		return nil, fmt.Errorf("its %s: is no JSON object", name)
	}
	return bytes.TrimSpace(decoded), nil
}

// Check reads the keys that c names and checks one token with them, as an edge
// with the same configuration would. Key files may hold private keys here.
func Check(ctx context.Context, c Config, token string) (*grant.Grant, error) {
	v, err := New(c, slog.New(slog.DiscardHandler), noop.Meter{})
	if err != nil {
		return nil, err
	}
	var keys []*key
	for _, path := range c.Keys {
		f, err := readFile(path, nil)
		if err != nil {
			return nil, err
		}
		keys = append(keys, f.keys...)
	}
	if c.JWKS != "" {
		if err := v.fetch(ctx); err != nil {
			return nil, fmt.Errorf("fetch %s: %w", c.JWKS, err)
		}
	}
	result, _ := v.rules.check(token, newKeySet(append(keys, v.jwks...), false), anyTime)
	return result.grant, result.err()
}
