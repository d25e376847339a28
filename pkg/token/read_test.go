package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/grant"
)

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// der panics on errors, for tables.
func der(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

func certificate(key *ecdsa.PrivateKey) []byte {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "skein"}, NotAfter: time.Unix(2e9, 0)}
	return der(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
}

func TestKeyFilesOfEveryKind(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("a secret of people: 32 bytes or more")
	for _, c := range []struct {
		name    string
		file    []byte
		methods string // first of each key
		private bool
	}{
		{"PKIX", block("PUBLIC KEY", der(x509.MarshalPKIXPublicKey(&ec.PublicKey))), "ES384", false},
		{"PKCS #1", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&r.PublicKey)), "RS256", false},
		{"certificate", block("CERTIFICATE", certificate(ec)), "ES384", false},
		{"two", slices.Concat([]byte("comment\n"), block("CERTIFICATE", certificate(ec)), block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&r.PublicKey))), "ES384,RS256", false},
		{"PKCS #8", block("PRIVATE KEY", der(x509.MarshalPKCS8PrivateKey(r))), "RS256", true},
		{"RSA", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(r)), "RS256", true},
		{"EC", slices.Concat(block("EC PARAMETERS", []byte{1}), block("EC PRIVATE KEY", der(x509.MarshalECPrivateKey(ec)))), "ES384", true},
		{"words", append(secret, '\n'), "HS256", false},
		{"bytes", append([]byte{0}, secret...), "HS256", false},
		{"base64", []byte(base64.StdEncoding.EncodeToString(secret)), "HS256,HS256", false},
		{"base64url", []byte(base64.RawURLEncoding.EncodeToString(secret) + "\r\n"), "HS256,HS256", false},
		{"hex", []byte(hex.EncodeToString(secret)), "HS256,HS256", false}, // is base64 as well
		{"JWKS", jwks(t, map[string]pair{"1": pairs()["PS256"]}), "RS256", false},
		{"JWK of one algorithm", []byte(`{"kty":"oct","alg":"HS512","k":"` + base64.RawURLEncoding.EncodeToString(secret) + `"}`), "HS512", false},
		{"JWKS with a key that encrypts", []byte(`{"keys":[{"kty":"RSA","use":"enc"},{"kty":"EC","key_ops":["deriveBits"]},` +
			`{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString(secret) + `"}]}`), "HS256", false},
	} {
		keys, err := readKeys(c.file)
		var methods []string
		private := false
		for _, k := range keys {
			methods = append(methods, k.methods[0])
			private = private || k.asymmetricPrivate()
		}
		if err != nil || strings.Join(methods, ",") != c.methods || private != c.private {
			t.Errorf("%s: %v, private %v, %v", c.name, methods, private, err)
		}
	}
}

func TestKeyFilesThatMakeNoSense(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	odd, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, want string }{
		{" \n", "is empty"},
		{"secret", "a secret of 6 bytes is too weak: at least 32 are needed"},
		{string(block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&weak.PublicKey))), "an RSA key of 1024 bits is too weak"},
		{string(block("EC PRIVATE KEY", der(x509.MarshalECPrivateKey(odd)))), "curve P-224 is not supported"},
		{"-----BEGIN PUBLIC KEY-----\nAAAA", "no complete block"},
		{string(block("PUBLIC KEY", []byte("x"))), `PEM block "PUBLIC KEY": `},
		{string(block("ENCRYPTED PRIVATE KEY", nil)), "neither a public key"},
		{strings.Repeat(string(pairs()["EdDSA"].public), maxKeys+1), "more than 64 keys"},
		{"{", "JWKS: "},
		{"{}", "unsupported key"},
		{`{"keys":[]}`, "no key that verifies"},
		{`{"keys":[` + strings.Repeat(`{},`, maxKeys) + `{}]}`, "has 65 keys"},
		{`{"kty":"oct","k":"AAAA","kid":"7"}`, `JWK "7": a secret of 3 bytes is too weak`},
		{`{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}`, "invalid key"},
		{`{"kty":"OKP","crv":"X25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`, "is not supported"},
		{`{"kty":"oct","alg":"RS256","k":"` + strings.Repeat("A", 43) + `"}`, `algorithm "RS256" does not fit`},
	} {
		keys, err := readKeys([]byte(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) || keys != nil {
			t.Errorf("%.60q: %v, want %q", c.file, err, c.want)
		}
	}
}

func FuzzReadKeys(f *testing.F) {
	for _, p := range pairs() {
		f.Add(p.public)
	}
	f.Add(jwks(f, map[string]pair{"1": pairs()["ES256"], "2": pairs()["HS256"]}))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQ"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := readKeys(text)
		if (err == nil) != (len(keys) > 0) || len(keys) > maxKeys {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if len(k.methods) == 0 || k.material == nil || k.verifies("none") {
				t.Errorf("%+v", k)
			}
		}
	})
}

func TestFetchOverHTTP(t *testing.T) {
	p := pairs()["ES256"]
	set := jwks(t, map[string]pair{"1": p})
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, _ *http.Request) { w.Write(set) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/good", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/teapot", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxKeyBytes+1)) })
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) })
	mux.HandleFunc("/secret", func(w http.ResponseWriter, _ *http.Request) {
		w.Write(jwks(t, map[string]pair{"1": pairs()["HS256"]}))
	})
	mux.HandleFunc("/both", func(w http.ResponseWriter, _ *http.Request) {
		w.Write(jwks(t, map[string]pair{"1": p, "2": pairs()["HS256"]}))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	for path, want := range map[string]string{
		"/good": "", "/moved": "", "/both": "", "/loop": "more than 3 redirects", "/teapot": "answered 418", "/huge": "more than 1048576 bytes",
		"/page": "JWKS: invalid character", "/secret": `JWK "1": is secret`, "/none": "answered 404",
	} {
		c := config(func(c *Config) { c.JWKS = server.URL + path })
		g, err := Check(t.Context(), c, p.sign(t, "1", map[string]any{"sub": "ada"}))
		if want == "" && (err != nil || g.User != "ada") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, %v, want %q", path, g, err, want)
		}
		if path == "/both" {
			if _, err := Check(t.Context(), c, pairs()["HS256"].sign(t, "2", nil)); !errors.Is(err, grant.ErrInvalid) {
				t.Errorf("a secret that everybody can read: %v", err)
			}
		}
	}
}

func TestAJWKSIsNotFollowedFromHTTPSToHTTP(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer secure.Close()
	v := inert(t, config(func(c *Config) { c.JWKS = secure.URL }), nil)
	v.client.Transport = secure.Client().Transport
	if err := v.fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Error(err)
	}
}
