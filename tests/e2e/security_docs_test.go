//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

// The commands of docs/security.md make certificates, keys and API keys that a
// fleet takes.
func TestCommandsOfTheSecurityPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(process.Root(), "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, begin := range []string{"mkdir -p certs", "skein keys generate", "skein keys api"} {
		shell(t, dir, block(t, string(page), begin))
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	protected := func(id string) []string {
		return []string{
			"--tls-cert", file("certs/" + id + ".crt"), "--tls-key", file("certs/" + id + ".key"), "--tls-ca", file("certs/ca.crt"),
			"--tls-server-name", "skein.internal",
		}
	}
	a := process.Addresses(t, 5)
	args := append([]string{"--id", "router-1", "--grpc", a[0], "--gossip", a[1], "--admin", a[2], "--gossip-key-file", file("keys/gossip.key")}, protected("router-1")...)
	newProcess(t, "router-1", "skein-router", a[2], args...).Start(t)
	args = append([]string{"--id", "edge-1", "--routers", a[0], "--listen", a[3], "--admin", a[4], "--agent", ""}, protected("edge-1")...)
	newProcess(t, "edge-1", "skein-edge", a[4], args...).Start(t)
	stdout, stderr, code := run(t, "skein", append([]string{"members", "--router", a[0]}, protected("operator")...)...)
	if code != 0 || !strings.Contains(stdout, "edge-1") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

// block returns the code block of a page that begins with some text.
func block(t *testing.T, page, begin string) string {
	t.Helper()
	_, rest, found := strings.Cut(page, "```sh\n"+begin)
	code, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatalf("no block begins with %s", begin)
	}
	return begin + code
}

func shell(t *testing.T, dir, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-e", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(process.Built(t, "skein"))+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
}
