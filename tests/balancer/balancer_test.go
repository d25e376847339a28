//go:build e2e

package balancer

import (
	"context"
	"encoding/csv"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

// balancer is one that runs, with a configuration of deploy/.
type balancer struct {
	*process.Process
	listen string
	stats  string // of HAProxy
}

// haproxy starts HAProxy with a shipped file in front of some hosts. env is what
// else its environment says.
func haproxy(t *testing.T, file string, hosts []string, env ...string) *balancer {
	t.Helper()
	a := process.Addresses(t, 2)
	b := &balancer{listen: a[0], stats: a[1]}
	env = append(env, "LISTEN="+b.listen, "STATS="+b.stats)
	for i, host := range hosts {
		env = append(env, fmt.Sprintf("EDGE_%d=%s", i+1, host))
	}
	// -db keeps it in the foreground; with -W it can be reloaded, as under systemd.
	b.Process = process.New(t, "haproxy", installed(t, "haproxy"), "", "-W", "-db", "-f", process.Root()+"/deploy/haproxy/"+file).
		With(env...).AsGroup()
	b.Launch(t)
	b.awaitOpen(t)
	b.awaitChecked(t)
	return b
}

// nginx starts nginx with a shipped file in front of some hosts. change rewrites
// the file first.
func nginx(t *testing.T, file string, hosts []string, change ...string) *balancer {
	t.Helper()
	b := &balancer{listen: process.Addresses(t, 1)[0]}
	dir := t.TempDir()
	change = append(change, "listen 8080", "listen "+b.listen, "/run/skein-nginx.pid", dir+"/nginx.pid",
		"http {\n", "http {\n"+temporary(dir))
	text := shipped(t, "nginx/"+file)
	for pair := range slices.Chunk(change, 2) {
		if pair[0] != "http {\n" && !strings.Contains(text, pair[0]) {
			t.Fatalf("%s has no %q", file, pair[0])
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	var edges strings.Builder
	for _, host := range hosts {
		edges.WriteString(strings.ReplaceAll(firstServer(t), "127.0.0.1:4000", host+":"+clientPort))
	}
	for name, text := range map[string]string{"nginx.conf": text, "edges.conf": edges.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.Process = process.New(t, "nginx", installed(t, "nginx"), "", "-c", dir+"/nginx.conf", "-g", "daemon off;").AsGroup()
	b.Launch(t)
	b.awaitOpen(t)
	return b
}

// temporary keeps nginx out of /var, so that it needs no root.
func temporary(dir string) (text string) {
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		text += fmt.Sprintf("    %s_temp_path %s/%s;\n", kind, dir, kind)
	}
	return text
}

// firstServer is the line of a server in the shipped edges.conf.
func firstServer(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(shipped(t, "nginx/edges.conf")) {
		if strings.HasPrefix(line, "server ") {
			return line
		}
	}
	t.Fatal("edges.conf has no server")
	return ""
}

func (b *balancer) awaitOpen(t *testing.T) {
	t.Helper()
	process.Eventually(t, patience, b.ID+" listens", func() bool {
		b.Alive(t)
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", b.listen)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
}

// reload replaces the worker of HAProxy, which knows nothing of the connections
// that the old one keeps.
func (b *balancer) reload(t *testing.T) {
	t.Helper()
	if err := b.Cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
}

// server is one line of HAProxy's statistics.
type server struct{ status, weight, sessions string }

// servers are what HAProxy says of its servers, by name; none while it reloads.
func (b *balancer) servers(t *testing.T) map[string]server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.stats+"/;csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil
	}
	defer func() { _ = response.Body.Close() }()
	rows, err := csv.NewReader(response.Body).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil
	}
	column := func(name string) int { return slices.Index(rows[0], name) }
	found := map[string]server{}
	for _, row := range rows[1:] {
		if row[0] == "edges" && row[1] != "BACKEND" {
			found[row[1]] = server{row[column("status")], row[column("weight")], row[column("stot")]}
		}
	}
	return found
}

// awaitChecked waits until HAProxy has asked every server for its health: before, it
// takes each for up, also one that is not there, and says "UP 1/2".
func (b *balancer) awaitChecked(t *testing.T) {
	t.Helper()
	process.Eventually(t, patience, "HAProxy has checked every server", func() bool {
		servers := b.servers(t)
		for _, s := range servers {
			if strings.Contains(s.status, "/") {
				return false
			}
		}
		return len(servers) > 0
	})
}

// awaitWeights waits until HAProxy has these servers up, with these weights; "" is
// any.
func (b *balancer) awaitWeights(t *testing.T, weights ...string) {
	t.Helper()
	var last map[string]server
	defer func() {
		if t.Failed() {
			t.Logf("HAProxy says %v", last)
		}
	}()
	process.Eventually(t, patience, fmt.Sprintf("HAProxy has weights %q", weights), func() bool {
		last = b.servers(t)
		for i, weight := range weights {
			if s := last[fmt.Sprintf("edge-%d", i+1)]; s.status != "UP" || weight != "" && s.weight != weight {
				return false
			}
		}
		return true
	})
}
