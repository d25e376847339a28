package token

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/skein-mesh/skein/pkg/grant"
)

// algorithms are all that are supported, one of each kind of key first.
var algorithms = []string{
	"HS256", "RS256", "ES256", "ES384", "ES512", "EdDSA", "HS384", "HS512", "RS384", "RS512", "PS256", "PS384", "PS512",
}

// pair is a key as two files, and what signs with it.
type pair struct {
	algorithm string
	private   []byte
	public    []byte // of a secret, the secret
	signer    *Signer
}

// pairs are made once for each algorithm: RSA keys take their time.
var pairs = sync.OnceValue(func() map[string]pair {
	all := map[string]pair{}
	for _, name := range algorithms {
		private, public, err := Generate(name)
		if err != nil {
			panic(err)
		}
		if public == nil {
			public = private
		}
		signer, err := NewSigner(private, name)
		if err != nil {
			panic(err)
		}
		all[name] = pair{name, private, public, signer}
	}
	return all
})

func (p pair) sign(tb testing.TB, id string, claims map[string]any) string {
	tb.Helper()
	if claims == nil {
		claims = map[string]any{}
	}
	text, err := p.signer.Sign(claims, id)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// set is the keys of a file.
func set(tb testing.TB, files ...[]byte) *keySet {
	tb.Helper()
	var all []*key
	for _, f := range files {
		keys, err := readKeys(f)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, keys...)
	}
	return newKeySet(all, false)
}

// jwks is the set of the public halves, by key id.
func jwks(tb testing.TB, keys map[string]pair) []byte {
	tb.Helper()
	set := jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{}}
	for id, p := range keys {
		read, err := readKeys(p.public)
		if err != nil {
			tb.Fatal(err)
		}
		jwk, err := jwkset.NewJWKFromKey(read[0].material, jwkset.JWKOptions{
			Marshal: jwkset.JWKMarshalOptions{Private: true}, Metadata: jwkset.JWKMetadataOptions{KID: id, USE: jwkset.UseSig},
		})
		if err != nil {
			tb.Fatal(err)
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	text, err := json.Marshal(set)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// write makes a file that the test may change.
func write(tb testing.TB, text []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "key")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// endpoint is the server of a JWKS, without a network: virtual time goes on
// while it takes its time.
type endpoint struct {
	mu      sync.Mutex
	text    []byte // nil for one that is down
	delay   time.Duration
	fetches int
}

func (e *endpoint) serve(text []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text = text
}

func (e *endpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fetches
}

// RoundTrip implements [http.RoundTripper].
func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	e.fetches++
	text, delay := e.text, e.delay
	e.mu.Unlock()
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-time.After(delay):
	}
	if text == nil {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(text)), Request: r}, nil
}

// start runs a verifier until the test ends; e may be nil.
func start(t *testing.T, c Config, e *endpoint) *Verifier {
	t.Helper()
	v := inert(t, c, e)
	run(t, v)
	return v
}

func inert(tb testing.TB, c Config, e *endpoint) *Verifier {
	tb.Helper()
	v, err := New(c, slog.New(slog.DiscardHandler), noop.Meter{})
	if err != nil {
		tb.Fatal(err)
	}
	if e != nil {
		v.client.Transport = e
	}
	return v
}

// run runs v and returns what ends it.
func run(t *testing.T, v *Verifier) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- v.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// answer is what Verify said.
type answer struct {
	grant *grant.Grant
	err   error
}

// verify asks and returns where the answer comes. A second one would block the
// verifier for ever, which fails the test.
func verify(v *Verifier, token string) <-chan answer {
	answers := make(chan answer, 1)
	v.Verify(token, func(g *grant.Grant, err error) { answers <- answer{g, err} })
	return answers
}

// expect waits for an answer with the error, nil for a grant.
func expect(t *testing.T, answers <-chan answer, want error) {
	t.Helper()
	a := <-answers
	if !errors.Is(a.err, want) || (a.grant == nil) != (want != nil) {
		t.Errorf("got %v, %v, want %v", a.grant, a.err, want)
	}
}

func config(edit func(*Config)) Config {
	c := Default()
	edit(&c)
	return c
}
