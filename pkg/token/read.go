package token

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/MicahParks/jwkset"
)

// Bounds of what is read.
const (
	maxKeyBytes = 1 << 20 // of a file or a JWKS
	maxKeys     = 64      // of one of them: a token without key id is tried with each
)

// readKeys reads a key file of any kind: PEM, JWK, JWKS or a secret. Every key
// must be of use.
func readKeys(text []byte) ([]*key, error) {
	trimmed := bytes.TrimSpace(text)
	switch {
	case len(trimmed) == 0:
		return nil, errors.New("is empty")
	case bytes.Contains(trimmed, []byte("-----BEGIN ")):
		return readPEM(trimmed)
	case trimmed[0] == '{':
		keys, skipped, err := readJWKS(trimmed)
		if err := errors.Join(append(skipped, err)...); err != nil {
			return nil, err
		}
		return keys, nil
	}
	return readSecret(text)
}

// readSecret reads a secret. Text that is base64 may mean itself or what it
// encodes, and programs differ in that, so both are keys; either is as hard to
// guess as the other.
func readSecret(text []byte) ([]*key, error) {
	if printable(text) {
		text = bytes.TrimSpace(text)
	}
	k, err := newKey(bytes.Clone(text))
	if err != nil {
		return nil, err
	}
	keys := []*key{k}
	if decoded, ok := decodeBase64(string(text)); ok && len(decoded) >= minSecretBytes {
		k, err := newKey(decoded)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func printable(text []byte) bool {
	return utf8.Valid(text) && !bytes.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) && !unicode.IsSpace(r) })
}

func decodeBase64(text string) ([]byte, bool) {
	text = strings.TrimRight(text, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if decoded, err := encoding.DecodeString(text); err == nil {
			return decoded, true
		}
	}
	return nil, false
}

func readPEM(text []byte) ([]*key, error) {
	var keys []*key
	for {
		block, rest := pem.Decode(text)
		switch {
		case block == nil && len(keys) == 0:
			return nil, errors.New("PEM: has no complete block")
		case block == nil:
			return keys, nil
		case len(keys) == maxKeys:
			return nil, fmt.Errorf("has more than %d keys", maxKeys)
		case block.Type == "EC PARAMETERS": // openssl puts them before the key, which repeats them
			text = rest
			continue
		}
		material, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %q: %w", block.Type, err)
		}
		k, err := newKey(material)
		if err != nil {
			return nil, fmt.Errorf("PEM block %q: %w", block.Type, err)
		}
		keys, text = append(keys, k), rest
	}
}

func parseBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	}
	return nil, errors.New("is neither a public key, a certificate nor a private key")
}

// readJWKS reads a JWK or a JWKS. Keys of the set that are of no use are skipped,
// with an error each; err is about the set as a whole.
func readJWKS(text []byte) (keys []*key, skipped []error, err error) {
	var set struct {
		jwkset.JWKMarshal

		Keys *[]jwkset.JWKMarshal `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, nil, fmt.Errorf("JWKS: %w", err)
	}
	members := []jwkset.JWKMarshal{set.JWKMarshal}
	if set.Keys != nil {
		members = *set.Keys
	}
	if len(members) > maxKeys {
		return nil, nil, fmt.Errorf("JWKS: has %d keys, more than %d", len(members), maxKeys)
	}
	for _, m := range members {
		switch k, err := fromJWK(m); {
		case err != nil:
			skipped = append(skipped, fmt.Errorf("JWK %q: %w", m.KID, err))
		case k != nil:
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		err = errors.New("JWKS: has no key that verifies signatures")
	}
	return keys, skipped, err
}
