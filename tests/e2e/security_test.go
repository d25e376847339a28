//go:build e2e

package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/skein-mesh/skein/pkg/apikey"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
	"github.com/skein-mesh/skein/pkg/tlsfiles/tlstest"
	"github.com/skein-mesh/skein/tests/process"
)

// guarded is a fleet whose every port is protected: mTLS between processes, an
// encrypted gossip, TLS to clients of edge-b, API keys for backends.
type guarded struct {
	*fleet
	t         *testing.T
	authority *tlstest.Authority
	dirs      map[string]string // of each process, and of the operator
	roots     *x509.CertPool
	key       string // of the backend
	sha       string
}

func startGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{t: t, authority: tlstest.New(t), dirs: map[string]string{}, roots: x509.NewCertPool()}
	g.key, g.sha = apikey.Make()
	gossip, _, code := run(t, "skein", "keys", "generate")
	if code != 0 {
		t.Fatal("skein keys generate failed")
	}
	for _, id := range []string{"router-1", "router-2", "router-3", "presence-1", "edge-a", "edge-b", "operator"} {
		g.dirs[id] = t.TempDir()
		g.certify(id)
		if err := os.WriteFile(g.gossipKey(id), []byte(gossip), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ca, err := os.ReadFile(filepath.Join(g.dirs["operator"], "ca.crt"))
	if err != nil || !g.roots.AppendCertsFromPEM(ca) {
		t.Fatal(err)
	}
	g.fleet = plan{routers: 3, edges: 2, flags: g.flags}.start(t)
	for _, r := range g.routers {
		r.dial = []grpc.DialOption{
			grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: g.roots})), apikey.Send(g.key),
		}
	}
	g.edges[1].tls = &tls.Config{RootCAs: g.roots, ServerName: "localhost"}
	return g
}

// certify gives a process a new certificate.
func (g *guarded) certify(id string) tlsfiles.TLS {
	g.t.Helper()
	return g.authority.Files(g.t, g.dirs[id], tlstest.Leaf{Name: id})
}

func (g *guarded) gossipKey(id string) string { return filepath.Join(g.dirs[id], "gossip.key") }

// flags protect a process.
func (g *guarded) flags(id string) []string {
	file := func(name string) string { return filepath.Join(g.dirs[id], name) }
	flags := []string{"--tls-cert", file("tls.crt"), "--tls-key", file("tls.key"), "--tls-ca", file("ca.crt")}
	switch {
	case id == "edge-b":
		return append(flags, "--public-tls-cert", file("tls.crt"), "--public-tls-key", file("tls.key"))
	case strings.HasPrefix(id, "edge-") || id == "operator":
		return flags
	}
	keys := fmt.Sprintf("[{name: backend, sha256: %q, scopes: [publish, inspect]}]", g.sha)
	return append(flags, "--gossip-key-file", file("gossip.key"), "--api-keys", keys)
}

// skein runs the tool as an operator does, with a certificate.
func (g *guarded) skein(args ...string) (stdout, stderr string, code int) {
	g.t.Helper()
	return run(g.t, "skein", append(args, append(g.flags("operator"), "--router", g.routers[0].grpc, "--presence", g.presence.grpc)...)...)
}

// serves reports whether a port shows the certificate that is in a process's
// file now.
func (g *guarded) serves(address, id string) bool {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dirs[id], "tls.crt"))
	if err != nil {
		g.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: g.roots, ServerName: "localhost"}}).DialContext(g.t.Context(), "tcp", address)
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	return bytes.Equal(conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw, block.Bytes)
}

// Every certificate and the key of the gossip are replaced twice while a
// thousand messages a second flow; then routers restart and have to be let in
// again with what is new. Nothing is lost, and no socket is closed.
func TestRotationUnderLoad(t *testing.T) {
	g := startGuarded(t)
	tr := startTraffic(t, g.fleet)
	pass(t, 2*time.Second)
	for range 2 {
		for id := range g.dirs {
			g.certify(id)
		}
		before, err := os.ReadFile(g.gossipKey("presence-1"))
		if err != nil {
			t.Fatal(err)
		}
		if stdout, stderr, code := g.skein("keys", "rotate"); code != 0 {
			t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
		}
		if after, err := os.ReadFile(g.gossipKey("presence-1")); err != nil || bytes.Equal(after, before) {
			t.Errorf("the file of keys was not rewritten: %v", err)
		}
		for id, address := range map[string]string{"router-1": g.routers[0].grpc, "presence-1": g.presence.grpc, "edge-b": g.edges[1].listen} {
			process.Eventually(t, 10*time.Second, id+" shows its new certificate", func() bool { return g.serves(address, id) })
		}
		pass(t, time.Second)
	}
	for _, r := range g.routers[1:] {
		r.Restart(t)
		pass(t, 2*time.Second)
	}
	tr.finish(t)
	if stdout, _, code := g.skein("members"); code != 0 || strings.Contains(stdout, "DISAGREEMENT") || !strings.Contains(stdout, "3 routers agree") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

// Each stranger is refused in words, written down and counted.
func TestStrangersAreRefused(t *testing.T) {
	g := startGuarded(t)
	foreign := tlstest.New(t).Files(t, t.TempDir(), tlstest.Leaf{Name: "stranger"})
	expired := g.authority.Files(t, t.TempDir(), tlstest.Leaf{Name: "late", Until: time.Now().Add(-time.Minute)})
	ca := filepath.Join(g.dirs["operator"], "ca.crt")
	for name, test := range map[string]struct {
		args   []string
		stderr string
		reason string
	}{
		"no TLS":            {nil, "cannot reach", "plaintext"},
		"unknown authority": {[]string{"--tls-cert", foreign.Cert, "--tls-key", foreign.Key, "--tls-ca", ca}, "cannot reach", "unknown_ca"},
		"expired":           {[]string{"--tls-cert", expired.Cert, "--tls-key", expired.Key, "--tls-ca", ca}, "cannot reach", "expired"},
		"nobody":            {[]string{"--tls-ca", ca}, "an API key is needed", "no_key"},
		"unknown key":       {[]string{"--tls-ca", ca, "--api-key", "guess"}, "not known here", "unknown_key"},
		"scope":             {[]string{"--tls-ca", ca, "--api-key", g.key}, "lacks the scope disconnect", "scope"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"kick", "--user", "ada", "--timeout", "2s", "--router", g.routers[0].grpc}, test.args...)
			_, stderr, code := run(t, "skein", args...)
			if code != 1 || !strings.Contains(stderr, test.stderr) {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			logged(t, g.routers[0].Process, `"reason":"`+test.reason+`"`)
			process.Eventually(t, time.Minute, "the metrics count "+test.reason, func() bool {
				metrics, ok := get(t, "http://"+g.routers[0].Admin+"/metrics")
				return ok && strings.Contains(metrics, fmt.Sprintf(`skein_refused_total{reason=%q}`, test.reason))
			})
		})
	}
	if strings.Contains(g.routers[0].Output.String(), g.key) {
		t.Error("the log has the key")
	}
	stdout, stderr, code := run(t, "skein", "publish", "room:1", "e", "{}", "--tls-ca", ca, "--api-key", g.key, "--router", g.routers[0].grpc)
	if code != 0 {
		t.Errorf("the backend is refused: %s%s", stdout, stderr)
	}
}

// Without protection nothing opens a port to other machines, or sends to them.
func TestOffLoopbackNothingStartsUnprotected(t *testing.T) {
	for program, args := range map[string][]string{
		"skein-router":   {"--grpc", "0.0.0.0:0", "--gossip", "0.0.0.0:0"},
		"skein-presence": {"--grpc", "0.0.0.0:0", "--gossip", "0.0.0.0:0"},
		"skein-edge":     {"--routers", "192.0.2.1:5000"},
	} {
		_, stderr, code := run(t, program, args...)
		if code != 2 || !strings.Contains(stderr, "set tls-cert, tls-key and tls-ca") {
			t.Errorf("%s: exit code %d: %s", program, code, stderr)
		}
		if program != "skein-edge" && !strings.Contains(stderr, "gossip-key-file") {
			t.Errorf("%s: nothing about gossip: %s", program, stderr)
		}
	}
}
