// Package web serves the demo page: a chat room whose bundle is built by Vite
// and embedded here. The page learns from GET /demo.json which edge serves it,
// and connects to /socket of the same origin. All functions may be called
// concurrently. The package neither knows the channel protocol nor reads
// anything a client sends beyond the path.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed all:dist
var dist embed.FS

// Info is what the page shows about the process that serves it.
type Info struct {
	Edge    string `json:"edge"`    // id of the edge
	Version string `json:"version"` // of the software it runs
}

// HeaderEdge names the edge in every response of [Handler].
const HeaderEdge = "X-Skein-Edge"

// The page runs its own scripts and styles and talks to its own origin, which
// covers its WebSocket. Everything else is off.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const (
	cacheForever = "public, max-age=31536000, immutable" // names under /assets/ carry a hash of their content
	cacheNever   = "no-cache"                            // kept, but asked about each time; the ETag answers
	cacheNothing = "no-store"
)

// Handler serves the page at / and info at /demo.json. If the bundle was not
// built into the program, / explains how to build it.
func Handler(info func() Info) http.Handler {
	root, err := fs.Sub(dist, "dist")
	if err != nil { // impossible: the embed directive names the folder
		return http.NotFoundHandler()
	}
	return &handler{files: load(root), info: info}
}

type handler struct {
	files map[string]file // by URL path
	info  func() Info
}

type file struct {
	name    string
	content []byte
	etag    string
	cache   string
}

// load reads every file but the hidden ones.
func load(root fs.FS) map[string]file {
	files := make(map[string]file)
	visit := func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		files["/"+name] = newFile(name, content)
		return nil
	}
	if err := fs.WalkDir(root, ".", visit); err != nil {
		return nil // an embedded folder cannot fail to read; an empty map serves the explanation
	}
	return files
}

func newFile(name string, content []byte) file {
	sum := sha256.Sum256(content)
	f := file{name: name, content: content, etag: `"` + hex.EncodeToString(sum[:12]) + `"`, cache: cacheNever}
	if strings.HasPrefix(name, "assets/") {
		f.cache = cacheForever
	}
	return f
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info := h.info()
	secure(w.Header(), info)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	name := r.URL.Path
	if name == "/" {
		name = "/index.html"
	}
	f, found := h.files[name]
	switch {
	case name == "/demo.json":
		serveInfo(w, info)
	case found:
		f.serve(w, r)
	case name == "/index.html":
		explain(w)
	default:
		w.Header().Set("Cache-Control", cacheNothing)
		http.Error(w, "not found", http.StatusNotFound)
	}
}

func secure(header http.Header, info Info) {
	header.Set("Content-Security-Policy", contentPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set(HeaderEdge, info.Edge)
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", contentType(f.name))
	w.Header().Set("Cache-Control", f.cache)
	w.Header().Set("ETag", f.etag)
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.content))
}

func serveInfo(w http.ResponseWriter, info Info) {
	text, err := json.Marshal(info)
	if err != nil { // impossible: two strings
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", cacheNothing)
	_, _ = w.Write(text) // fails only if the client is gone
}

const explanation = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Skein: the demo is not in this build</title>
<h1>The demo is not in this build</h1>
<p>This program was compiled before the page was bundled. Run <code>make build</code>, which bundles it first, and start the new program.</p>
<p>Everything else works: clients connect at <code>/socket</code>.</p>
</html>
`

func explain(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", cacheNothing)
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(explanation)) // fails only if the client is gone
}

// contentType does not ask the system's table, which differs from machine to
// machine.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".json", ".map":
		return "application/json"
	default:
		return "application/octet-stream"
	}
}
