package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Bounds of a fetch.
const (
	fetchTime    = 5 * time.Second
	retryTime    = 30 * time.Second // until the next regular fetch after one that failed
	maxRedirects = 3
)

// Why it cannot be told now whether a token is good.
var (
	errFetch   = errors.New("its key is not known, and the JWKS cannot be fetched")
	errCrowded = errors.New("its key is not known, and too many tokens wait for the JWKS")
	errBusy    = errors.New("too many tokens wait for checks that take long")
	errStopped = errors.New("no keys are read any more")
)

func newClient() *http.Client {
	return &http.Client{
		Timeout: fetchTime,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch {
			case len(via) > maxRedirects:
				return fmt.Errorf("more than %d redirects", maxRedirects)
			case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
				return errors.New("a redirect leads from https to http")
			}
			return nil
		},
		// Fetches are minutes apart: no connection is kept, which a stopping
		// process would have to close.
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// fetch reads the keys of the JWKS. Secrets and private keys in it are no
// secrets any more, so they are not used.
func (v *Verifier) fetch(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.config.JWKS, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := v.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // only read
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", response.Status)
	}
	text, err := readBounded(response.Body)
	if err != nil {
		return err
	}
	all, skipped, err := readJWKS(text)
	if err != nil {
		return errors.Join(append(skipped, err)...)
	}
	var keys []*key
	for _, k := range all {
		if k.private != nil {
			skipped = append(skipped, fmt.Errorf("JWK %q: is secret, but was served to everybody", k.id))
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return errors.Join(append(skipped, errors.New("JWKS: has no key that may be used"))...)
	}
	if len(skipped) > 0 {
		v.log.WarnContext(ctx, "some keys of the JWKS are not used", "url", v.config.JWKS, "error", errors.Join(skipped...))
	}
	v.jwks = keys
	v.counts.fetched.Store(time.Now().UnixNano())
	return nil
}
