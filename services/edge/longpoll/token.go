package longpoll

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"unicode/utf8"
)

// secret is what makes a session hard to guess.
type secret [16]byte

func newSecret() secret {
	var s secret
	_, _ = rand.Read(s[:]) // it never fails
	return s
}

// String is the secret as it travels between edges.
func (s secret) String() string { return encoding().EncodeToString(s[:]) }

func parseSecret(text string) (secret, error) {
	raw, err := encoding().DecodeString(text)
	if err != nil || len(raw) != len(secret{}) {
		return secret{}, errToken
	}
	return secret(raw), nil
}

// token is what a client shows to get to its session: base64url of a version,
// the secret and the id of the edge.
type token struct {
	edge   string
	secret secret
}

const (
	tokenVersion = 1
	maxEdgeID    = 255 // bytes
	tokenHead    = 1 + len(secret{})
)

var errToken = errors.New("longpoll: not a token of a session")

// encoding has one spelling for each token.
func encoding() *base64.Encoding { return base64.RawURLEncoding.Strict() }

// String is the token as clients see it.
func (t token) String() string {
	raw := make([]byte, 0, tokenHead+len(t.edge))
	raw = append(append(raw, tokenVersion), t.secret[:]...)
	return encoding().EncodeToString(append(raw, t.edge...))
}

// parseToken refuses whatever [token.String] would not return.
func parseToken(text string) (token, error) {
	if len(text) > encoding().EncodedLen(tokenHead+maxEdgeID) {
		return token{}, errToken
	}
	raw, err := encoding().DecodeString(text)
	if err != nil || len(raw) <= tokenHead || raw[0] != tokenVersion || !utf8.Valid(raw[tokenHead:]) {
		return token{}, errToken
	}
	return token{edge: string(raw[tokenHead:]), secret: secret(raw[1:tokenHead])}, nil
}
