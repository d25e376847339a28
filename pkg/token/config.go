package token

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Config says which tokens are good.
type Config struct {
	Keys          []string      `conf:"token-keys" usage:"files with keys that verify clients' tokens: public keys or certificates as PEM, a JWK or JWKS, or a secret, raw or as base64; they are read again when they change"`
	JWKS          string        `conf:"token-jwks" usage:"URL of a JWKS with keys that verify clients' tokens; https, unless the network in between is trusted"`
	Refresh       time.Duration `conf:"token-jwks-refresh" usage:"how often the JWKS is fetched; a token with an unknown key id has it fetched sooner"`
	Issuer        string        `conf:"token-issuer" usage:"claim iss that tokens must have; empty for any"`
	Audience      []string      `conf:"token-audience" usage:"claims aud of which tokens must have one; empty for any"`
	Leeway        time.Duration `conf:"token-leeway" usage:"by how much clocks may differ when the times exp, nbf and iat of a token are checked"`
	RequireExpiry bool          `conf:"token-require-exp" usage:"refuse tokens that never expire"`
	MaxBytes      int           `conf:"token-max-bytes" usage:"most bytes of a token"`
}

// Default knows no key, so that every token is invalid.
func Default() Config {
	return Config{Refresh: 5 * time.Minute, Leeway: 5 * time.Second, MaxBytes: 8 << 10}
}

// Bounds of what an operator may set.
const (
	maxLeeway   = 10 * time.Minute
	minTokenLen = 256
	maxTokenLen = 64 << 10
)

// Validate reports every problem at once. It does not look at files.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, path := range c.Keys {
		check(path != "", "token-keys: a name is empty")
	}
	if c.JWKS != "" {
		u, err := url.Parse(c.JWKS)
		check(err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "",
			"token-jwks: %q is no URL such as https://auth.example.com/.well-known/jwks.json", c.JWKS)
	}
	check(c.Refresh >= MinRefetch, "token-jwks-refresh: must be at least %s, got %s", MinRefetch, c.Refresh)
	for _, audience := range c.Audience {
		check(audience != "", "token-audience: a name is empty")
	}
	check(c.Leeway >= 0 && c.Leeway <= maxLeeway, "token-leeway: must be 0s to %s, got %s", maxLeeway, c.Leeway)
	check(c.MaxBytes >= minTokenLen && c.MaxBytes <= maxTokenLen,
		"token-max-bytes: must be %d to %d, got %d", minTokenLen, maxTokenLen, c.MaxBytes)
	return errors.Join(errs...)
}

// Enabled reports whether any key is to be known.
func (c Config) Enabled() bool { return len(c.Keys) > 0 || c.JWKS != "" }
