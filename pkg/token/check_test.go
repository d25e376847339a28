package token

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/grant"
)

func TestEveryKeyVerifiesItsOwnAlgorithmsOnly(t *testing.T) {
	rules := newRules(Default())
	for _, p := range pairs() {
		keys := set(t, p.public)
		for _, other := range pairs() {
			v, _ := rules.check(other.sign(t, "", map[string]any{"sub": "ada"}), keys, anyTime)
			want := unknownKey
			switch {
			case other.algorithm == p.algorithm:
				want = accepted
			case slices.Contains(keys.keys[0].methods, other.algorithm):
				want = badSignature // the same kind, another key
			}
			if v.outcome != want {
				t.Errorf("%s checks %s: %s (%v), want %s", p.algorithm, other.algorithm, v.outcome, v.detail, want)
			}
		}
	}
}

// A public key is no secret: taken for one, everybody could sign with it.
func TestAPublicKeyIsNeverTakenForASecret(t *testing.T) {
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		public := pairs()[algorithm].public
		for _, secret := range [][]byte{public, []byte(strings.TrimSpace(string(public)))} {
			forged, err := jwt.New(jwt.SigningMethodHS256).SignedString(secret)
			if err != nil {
				t.Fatal(err)
			}
			if v, _ := newRules(Default()).check(forged, set(t, public), anyTime); v.outcome != unknownKey || !errors.Is(v.err(), grant.ErrInvalid) {
				t.Errorf("%s: %s", algorithm, v.outcome)
			}
		}
	}
}

// unsigned makes a token of any header and claims, with a signature of no key.
func unsigned(header, claims string) string {
	encoding := base64.RawURLEncoding
	return encoding.EncodeToString([]byte(header)) + "." + encoding.EncodeToString([]byte(claims)) + "." + encoding.EncodeToString([]byte("sig"))
}

func TestTokensThatAreNone(t *testing.T) {
	p := pairs()["HS256"]
	good := p.sign(t, "", map[string]any{})
	for _, c := range []struct {
		token string
		want  outcome
	}{
		{"x", malformed},
		{"a.b", malformed},
		{"a.b.c.d.e", malformed},
		{good + ".", malformed},
		{good + "=", malformed},
		{good[:len(good)-2], malformed}, // no whole number of bytes
		{good[:len(good)-4] + "AAAA", badSignature},
		{unsigned(`{"alg":"HS256"}`, `null`), badSignature},
		{good[:strings.LastIndex(good, ".")+1], badSignature},
		{strings.Repeat("a", 8<<10+1), tooLong},
		{unsigned(`{"alg":"none"}`, `{}`), badAlgorithm},
		{unsigned(`{"alg":"None"}`, `{}`), badAlgorithm},
		{unsigned(`{"alg":"HS1"}`, `{}`), badAlgorithm},
		{unsigned(`{"alg":"ES256K"}`, `{}`), badAlgorithm},
		{unsigned(`{"alg":1}`, `{}`), badAlgorithm},
		{unsigned(`{}`, `{}`), badAlgorithm},
		{unsigned(`null`, `{}`), badAlgorithm},
		{unsigned(`[]`, `{}`), malformed},
		{unsigned(`{"alg":"HS256"}`, `[]`), malformed},
		{unsigned(`{"alg":"HS256"}`, `{"exp":"x"}`), malformed},
		{unsigned(`{"alg":"HS256"}`, `{}`), badSignature},
		{unsigned(`{"alg":"RS256"}`, `{}`), unknownKey},
		{unsigned(`{"alg":"HS256","crit":["b64"],"b64":false}`, `{}`), malformed},
		{unsigned(`{"alg":"HS256","kid":7}`, `{}`), malformed},
	} {
		v, retry := newRules(Default()).check(c.token, set(t, p.public), anyTime)
		if v.outcome != c.want || retry != nothing || !errors.Is(v.err(), grant.ErrInvalid) || v.grant != nil {
			t.Errorf("%.60q: %s, want %s (%v)", c.token, v.outcome, c.want, v.err())
		}
	}
}

func TestClaims(t *testing.T) {
	strict := config(func(c *Config) { c.Issuer, c.Audience, c.RequireExpiry = "us", []string{"chat", "game"}, true })
	bubble.Test(t, func(t *testing.T) {
		now := time.Now().Unix()
		for _, c := range []struct {
			config Config
			claims map[string]any
			want   outcome
		}{
			{Default(), map[string]any{}, accepted},
			{Default(), map[string]any{"exp": now + 1, "nbf": now, "iat": now, "iss": "x", "aud": "y"}, accepted},
			{Default(), map[string]any{"exp": now - 4}, accepted}, // within the leeway
			{Default(), map[string]any{"exp": now - 5}, expired},
			{Default(), map[string]any{"exp": 0}, expired},
			{Default(), map[string]any{"nbf": now + 5}, accepted},
			{Default(), map[string]any{"nbf": now + 6}, notYet},
			{Default(), map[string]any{"iat": now + 6}, notYet},
			{Default(), map[string]any{"exp": now * 1000}, badClaims}, // milliseconds
			{Default(), map[string]any{"topics": "room:1"}, badClaims},
			{Default(), map[string]any{"sub": 7}, malformed},
			{Default(), map[string]any{"sub": "\xff"}, accepted}, // as JSON has it: U+FFFD
			{strict, map[string]any{"exp": now + 1, "iss": "us", "aud": "game"}, accepted},
			{strict, map[string]any{"exp": now + 1, "iss": "us", "aud": []string{"x", "chat"}}, accepted},
			{strict, map[string]any{"iss": "us", "aud": "chat"}, badClaims},
			{strict, map[string]any{"exp": now + 1, "aud": "chat"}, badClaims},
			{strict, map[string]any{"exp": now + 1, "iss": "us"}, badClaims},
			{strict, map[string]any{"exp": now + 1, "iss": "them", "aud": "chat"}, wrongParty},
			{strict, map[string]any{"exp": now + 1, "iss": "us", "aud": "x"}, wrongParty},
			{strict, map[string]any{"exp": now - 9, "iss": "us", "aud": "x"}, wrongParty}, // not only expired
		} {
			p := pairs()["HS256"]
			v, _ := newRules(c.config).check(p.sign(t, "", c.claims), set(t, p.public), anyTime)
			if v.outcome != c.want || c.want == expired != errors.Is(v.err(), grant.ErrExpired) {
				t.Errorf("%v: %s, want %s (%v)", c.claims, v.outcome, c.want, v.detail)
			}
			if v.grant != nil && v.grant.Expired(time.Now()) {
				t.Errorf("%v: accepted, and expired", c.claims)
			}
		}
	})
}

func TestKeyIDs(t *testing.T) {
	a, b, c := pairs()["ES256"], pairs()["EdDSA"], pairs()["HS256"]
	keys := set(t, jwks(t, map[string]pair{"a": a, "b": b}), c.public)
	for _, x := range []struct {
		signer pair
		id     string
		want   outcome
		retry  want
	}{
		{a, "a", accepted, nothing},
		{b, "b", accepted, nothing},
		{a, "", accepted, nothing},
		{c, "", accepted, nothing},
		{c, "whatever", accepted, nothing}, // its key has no id
		{a, "b", unknownKey, nothing},      // that is another key
		{c, "a", unknownKey, nothing},
		{a, "new", unknownKey, moreKeys},
		{pairs()["HS384"], "new", badSignature, moreKeys}, // it was tried with c
	} {
		v, retry := newRules(Default()).check(x.signer.sign(t, x.id, nil), keys, anyTime)
		if v.outcome != x.want || retry != x.retry {
			t.Errorf("%s as %q: %s, wants %v (%v)", x.signer.algorithm, x.id, v.outcome, retry, v.detail)
		}
	}
}

// What a client sent may be in a detail for the log, but only bounded.
func TestDetailsAreBounded(t *testing.T) {
	token := unsigned(`{"alg":"HS256","kid":"`+strings.Repeat(`\n`, 2000)+`"}`, `{}`)
	v, _ := newRules(Default()).check(token, newKeySet(nil, false), anyTime)
	if text := v.err().Error(); v.outcome != unknownKey || len(text) > 500 || strings.Contains(text, "\n") {
		t.Errorf("%s: %d bytes: %.300q", v.outcome, len(text), text)
	}
}

func FuzzCheck(f *testing.F) {
	p := pairs()["HS256"]
	f.Add(p.sign(f, "a", map[string]any{"sub": "ada"}))
	for _, token := range []string{"", "..", "a.b.c", unsigned(`{"alg":"none"}`, `{}`), unsigned(`{"alg":"HS256"}`, `{"exp":1e99}`)} {
		f.Add(token)
	}
	keys, rules := set(f, p.public), newRules(Default())
	f.Fuzz(func(t *testing.T, token string) {
		v, _ := rules.check(token, keys, anyTime)
		if (v.outcome == accepted) != (v.grant != nil) || (v.err() == nil) != (v.grant != nil) {
			t.Errorf("%q: %s, %v, %v", token, v.outcome, v.grant, v.err())
		}
		if _, err := Inspect(token); err != nil && v.outcome == accepted {
			t.Errorf("%q: good, but %v", token, err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	for _, algorithm := range []string{"HS256", "RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"} {
		p := pairs()[algorithm]
		token, keys, rules := p.sign(b, "", map[string]any{"sub": "ada", "topics": []string{"room:*"}}), set(b, p.public), newRules(Default())
		b.Run(algorithm, func(b *testing.B) {
			for b.Loop() {
				if v, _ := rules.check(token, keys, anyTime); v.outcome != accepted {
					b.Fatal(v.err())
				}
			}
		})
	}
}
