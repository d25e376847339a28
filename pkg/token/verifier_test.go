package token

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/grant"
)

const jwksURL = "https://auth.test/jwks.json"

func TestWithoutAnyKeyEveryTokenIsInvalid(t *testing.T) {
	v := inert(t, Default(), nil) // not even Run is needed
	expect(t, verify(v, ""), grant.ErrMissing)
	expect(t, verify(v, pairs()["HS256"].sign(t, "", nil)), grant.ErrInvalid)
	expect(t, verify(v, pairs()["HS256"].sign(t, "1", nil)), grant.ErrInvalid)
	expect(t, verify(v, "rubbish"), grant.ErrInvalid)
}

func TestTokensThatComeBeforeTheKeysWait(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := pairs()["ES256"]
		v := inert(t, config(func(c *Config) { c.Keys = []string{write(t, p.public)} }), nil)
		early := verify(v, p.sign(t, "", nil))
		bad := verify(v, pairs()["RS256"].sign(t, "", nil))
		synctest.Wait()
		if len(early)+len(bad) != 0 {
			t.Fatal("answered without keys")
		}
		run(t, v)
		expect(t, early, nil)
		expect(t, bad, grant.ErrInvalid)
	})
}

func TestAKeyFileIsReadAgainWhenItChanges(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		before, after := pairs()["ES256"], pairs()["EdDSA"]
		path := write(t, before.public)
		v := start(t, config(func(c *Config) { c.Keys = []string{path} }), nil)
		synctest.Wait()
		change := func(text []byte, stamp time.Time) {
			if err := errors.Join(os.WriteFile(path, text, 0o600), os.Chtimes(path, stamp, stamp)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(fileInterval + time.Second) // virtual time
		}
		change([]byte("rubbish"), time.Unix(1, 0))
		expect(t, verify(v, before.sign(t, "", nil)), nil) // the last good ones are kept
		if n := v.counts.fileFailures.Load(); n != 1 {
			t.Errorf("%d failures", n)
		}
		change(before.private, time.Unix(2, 0)) // has no place here
		expect(t, verify(v, before.sign(t, "", nil)), nil)
		change(after.public, time.Unix(3, 0))
		expect(t, verify(v, after.sign(t, "", nil)), nil)
		expect(t, verify(v, before.sign(t, "", nil)), grant.ErrInvalid)
		if n := v.counts.fileFailures.Load(); n != 2 {
			t.Errorf("%d failures", n)
		}
	})
}

func TestKeyFilesMustBeGoodToBeginWith(t *testing.T) {
	bad := write(t, []byte("short"))
	v := inert(t, config(func(c *Config) { c.Keys = []string{"/nowhere/key", bad, write(t, pairs()["RS256"].private)} }), nil)
	waiting := verify(v, pairs()["HS256"].sign(t, "", nil))
	err := v.Run(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"token-keys: open /nowhere/key", bad + ": a secret of 5 bytes is too weak", "holds a private key"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	expect(t, waiting, grant.ErrUnavailable)
	expect(t, verify(v, pairs()["HS256"].sign(t, "", nil)), grant.ErrUnavailable)
}

func TestRotationOfAJWKS(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		first, second := pairs()["ES256"], pairs()["RS256"]
		e := &endpoint{text: jwks(t, map[string]pair{"1": first})}
		v := start(t, config(func(c *Config) { c.JWKS = jwksURL }), e)
		expect(t, verify(v, first.sign(t, "1", nil)), nil)
		e.serve(jwks(t, map[string]pair{"1": first, "2": second}))
		// A new id right after a fetch cannot have it fetched again.
		expect(t, verify(v, second.sign(t, "2", nil)), grant.ErrInvalid)
		time.Sleep(MinRefetch) // virtual time
		waiting := verify(v, second.sign(t, "2", nil))
		expect(t, waiting, nil)
		expect(t, verify(v, first.sign(t, "1", nil)), nil)
		if n := e.count(); n != 2 {
			t.Errorf("%d fetches", n)
		}
		// A key that is taken back is gone with the next regular fetch.
		e.serve(jwks(t, map[string]pair{"2": second}))
		time.Sleep(Default().Refresh + fileInterval) // virtual time
		expect(t, verify(v, first.sign(t, "1", nil)), grant.ErrInvalid)
		expect(t, verify(v, second.sign(t, "2", nil)), nil)
	})
}

func TestAJWKSThatIsDown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := pairs()["ES256"]
		e := &endpoint{}
		v := start(t, config(func(c *Config) { c.JWKS = jwksURL }), e)
		expect(t, verify(v, p.sign(t, "", nil)), grant.ErrUnavailable)
		expect(t, verify(v, "rubbish"), grant.ErrInvalid)
		e.serve(jwks(t, map[string]pair{"1": p}))
		time.Sleep(retryTime + fileInterval) // virtual time
		expect(t, verify(v, p.sign(t, "", nil)), nil)
		e.serve(nil)
		time.Sleep(time.Hour) // virtual time
		expect(t, verify(v, p.sign(t, "1", nil)), nil)
		time.Sleep(MinRefetch) // virtual time
		expect(t, verify(v, p.sign(t, "2", nil)), grant.ErrUnavailable)
		if n := v.counts.jwksFailures.Load(); n < 10 {
			t.Errorf("%d failures", n)
		}
	})
}

// However many tokens name keys that nobody knows, the fetches stay rare, what
// waits stays bounded, and everybody gets one answer.
func TestAFloodOfUnknownKeyIDs(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := pairs()["EdDSA"]
		e := &endpoint{text: jwks(t, map[string]pair{"1": p}), delay: time.Second}
		v := start(t, config(func(c *Config) { c.JWKS = jwksURL }), e)
		time.Sleep(2 * time.Second) // virtual time
		good, forged := p.sign(t, "1", nil), p.sign(t, "0", nil)
		var wg sync.WaitGroup
		began := time.Now()
		for range 20 { // seconds
			time.Sleep(time.Second) // virtual time
			for range 2 * maxParked {
				wg.Add(1)
				v.Verify(forged, func(_ *grant.Grant, err error) {
					defer wg.Done()
					if !errors.Is(err, grant.ErrInvalid) && !errors.Is(err, grant.ErrUnavailable) {
						t.Error(err)
					}
				})
			}
			v.mu.Lock()
			if len(v.parked) > maxParked {
				t.Errorf("%d wait", len(v.parked))
			}
			v.mu.Unlock()
			answers := verify(v, good)
			if len(answers) == 0 {
				t.Error("a known key had to wait")
			}
			expect(t, answers, nil)
		}
		wg.Wait()
		if n := e.count(); n > 1+int(time.Since(began)/MinRefetch)+1 {
			t.Errorf("%d fetches in %s", n, time.Since(began))
		}
		if v.counts.outcomes[undecided].Load() == 0 || v.counts.outcomes[unknownKey].Load() == 0 {
			t.Error("not counted")
		}
	})
}

func TestWhatWaitsIsAnsweredWhenRunEnds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := &endpoint{text: jwks(t, map[string]pair{"1": pairs()["ES256"]}), delay: time.Hour}
		v := inert(t, config(func(c *Config) { c.JWKS = jwksURL }), e)
		v.client.Timeout = 0
		stop := run(t, v)
		waiting := verify(v, pairs()["ES256"].sign(t, "1", nil))
		synctest.Wait()
		stop()
		expect(t, waiting, grant.ErrUnavailable)
		expect(t, verify(v, pairs()["ES256"].sign(t, "1", nil)), grant.ErrUnavailable)
	})
}

// A check that takes milliseconds does not keep the caller, and many of them do
// not keep those that are quick.
func TestSlowChecksAreDoneElsewhere(t *testing.T) {
	slow, quick := pairs()["ES512"], pairs()["ES256"]
	v := inert(t, config(func(c *Config) { c.Keys = []string{write(t, slow.public), write(t, quick.public)} }), nil)
	v.keys.Store(set(t, slow.public, quick.public)) // as if Run had read them, but nobody works
	token := slow.sign(t, "", nil)
	var answers []<-chan answer
	for range maxParked {
		answers = append(answers, verify(v, token))
	}
	for _, a := range answers {
		if len(a) != 0 {
			t.Fatal("it was checked on the caller's goroutine")
		}
	}
	expect(t, verify(v, token), grant.ErrUnavailable) // the queue is full
	if early := verify(v, quick.sign(t, "", nil)); len(early) != 1 {
		t.Error("a quick check waits")
	}
	stop := run(t, v)
	expect(t, answers[0], nil)
	stop()
	for _, a := range answers[1:] {
		if a := <-a; a.err != nil && !errors.Is(a.err, grant.ErrUnavailable) {
			t.Error(a.err)
		}
	}
	expect(t, verify(v, token), grant.ErrUnavailable)
}

func TestMetrics(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		c := config(func(c *Config) { c.JWKS = jwksURL })
		v, err := New(c, slog.New(slog.DiscardHandler), metric.NewMeterProvider(metric.WithReader(reader)).Meter("test"))
		if err != nil {
			t.Fatal(err)
		}
		p := pairs()["ES256"]
		v.client.Transport = &endpoint{text: jwks(t, map[string]pair{"1": p})}
		run(t, v)
		expect(t, verify(v, p.sign(t, "1", nil)), nil)
		expect(t, verify(v, "rubbish"), grant.ErrInvalid)
		time.Sleep(time.Minute) // virtual time
		var got metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &got); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%+v", got.ScopeMetrics)
		for _, name := range []string{"skein.token.verifications", "skein.token.refresh_failures", "skein.token.keys", "skein.token.jwks_age"} {
			if !strings.Contains(text, name) {
				t.Errorf("%s is missing", name)
			}
		}
		for _, m := range got.ScopeMetrics[0].Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, point := range data.DataPoints {
					reason, _ := point.Attributes.Value("reason")
					want := int64(0)
					if r := reason.AsString(); r == "accepted" || r == "malformed" {
						want = 1
					}
					if point.Value != want {
						t.Errorf("%s %s: %d", m.Name, reason.AsString(), point.Value)
					}
				}
			case metricdata.Gauge[float64]:
				if age := data.DataPoints[0].Value; age != 60 {
					t.Errorf("%s: %v", m.Name, age)
				}
			}
		}
	})
}
