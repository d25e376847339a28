package web

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func bundle() fstest.MapFS {
	return fstest.MapFS{
		".gitkeep":              {},
		"index.html":            {Data: []byte("<!doctype html>page")},
		"favicon.svg":           {Data: []byte("<svg/>")},
		"assets/index-1a2b.js":  {Data: []byte("export {}")},
		"assets/index-1a2b.css": {Data: []byte("a{}")},
	}
}

func info() Info { return Info{Edge: "edge-1", Version: "1.2.3"} }

func get(t *testing.T, h http.Handler, method, target string, header http.Header) *http.Response {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	maps.Copy(request.Header, header)
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, request)
	return recorder.Result()
}

func TestHandlerServesTheBundle(t *testing.T) {
	h := &handler{files: load(bundle()), info: info}
	for _, c := range []struct {
		path, method string
		status       int
		kind, cache  string
	}{
		{"/", http.MethodGet, 200, "text/html; charset=utf-8", cacheNever},
		{"/index.html", http.MethodGet, 200, "text/html; charset=utf-8", cacheNever},
		{"/?room=1", http.MethodGet, 200, "text/html; charset=utf-8", cacheNever},
		{"/favicon.svg", http.MethodGet, 200, "image/svg+xml", cacheNever},
		{"/assets/index-1a2b.js", http.MethodGet, 200, "text/javascript; charset=utf-8", cacheForever},
		{"/assets/index-1a2b.css", http.MethodHead, 200, "text/css; charset=utf-8", cacheForever},
		{"/demo.json", http.MethodGet, 200, "application/json", cacheNothing},
		{"/.gitkeep", http.MethodGet, 404, "text/plain; charset=utf-8", cacheNothing},
		{"/assets/", http.MethodGet, 404, "text/plain; charset=utf-8", cacheNothing},
		{"/../web.go", http.MethodGet, 404, "text/plain; charset=utf-8", cacheNothing},
		{"/", http.MethodPost, 405, "text/plain; charset=utf-8", ""},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			response := get(t, h, c.method, c.path, nil)
			if response.StatusCode != c.status {
				t.Errorf("status %d, want %d", response.StatusCode, c.status)
			}
			for name, want := range map[string]string{
				"Content-Type":            c.kind,
				"Cache-Control":           c.cache,
				"Content-Security-Policy": contentPolicy,
				"X-Content-Type-Options":  "nosniff",
				HeaderEdge:                "edge-1",
			} {
				if got := response.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestHandlerAnswersFromTheBrowsersCache(t *testing.T) {
	h := &handler{files: load(bundle()), info: info}
	etag := get(t, h, http.MethodGet, "/", nil).Header.Get("ETag")
	response := get(t, h, http.MethodGet, "/", http.Header{"If-None-Match": {etag}})
	if response.StatusCode != http.StatusNotModified {
		t.Errorf("status %d, want 304", response.StatusCode)
	}
}

func TestInfoIsAskedEachTime(t *testing.T) {
	edge := "before"
	h := Handler(func() Info { return Info{Edge: edge, Version: `"quoted"`} })
	for _, want := range []string{"before", "after"} {
		edge = want
		var got Info
		if err := json.NewDecoder(get(t, h, http.MethodGet, "/demo.json", nil).Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		if got != (Info{Edge: want, Version: `"quoted"`}) {
			t.Errorf("got %+v", got)
		}
	}
}

func TestWithoutBundleThePageSaysWhatToDo(t *testing.T) {
	h := &handler{files: load(fstest.MapFS{".gitkeep": {}}), info: info}
	response := get(t, h, http.MethodGet, "/", nil)
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "make build") {
		t.Errorf("status %d, body %q", response.StatusCode, body)
	}
	if got := get(t, h, http.MethodGet, "/demo.json", nil).StatusCode; got != http.StatusOK {
		t.Errorf("demo.json has status %d", got)
	}
}
