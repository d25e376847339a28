//go:build e2e

package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/tests/process"
)

// elsewhere are blocks that other tests run, as they stand or with other ports.
var elsewhere = []struct {
	ref

	file, test string
}{
	{ref{readme, "make dev        #"}, "tests/e2e/cli_test.go", "TestDev"},
	{ref{"docs/backends.md", "curl http://127.0.0.1:5002/v1/publish"}, "services/router/http_test.go", "TestCurlsOfTheDocs"},
	{ref{"docs/deploy.md", "kubectl create namespace"}, "tests/deploy/docs_test.go", "TestKubernetesDocs"},
	{ref{"docs/deploy.md", "mkdir -p fleet"}, "tests/deploy/docs_test.go", "TestKubernetesDocsOverlay"},
	{ref{"docs/deploy.md", "mkdir -p certs"}, "tests/deploy/docs_test.go", "TestKubernetesDocs"},
	{ref{"docs/deploy.md", "sk() {"}, "tests/deploy/docs_test.go", "TestKubernetesDocs"},
	{ref{"docs/getting-started.md", "examples/go-chat/run"}, "tests/e2e/examples/chat_test.go", "TestGoChat"},
	{ref{"docs/getting-started.md", "cd examples/node-chat"}, "tests/e2e/examples/chat_test.go", "TestNodeChat"},
	{ref{"docs/security.md", "mkdir -p certs"}, "tests/e2e/security_docs_test.go", "TestCommandsOfTheSecurityPage"},
	{ref{"docs/security.md", "skein keys generate"}, "tests/e2e/security_docs_test.go", "TestCommandsOfTheSecurityPage"},
	{ref{"docs/security.md", "skein keys api"}, "tests/e2e/security_docs_test.go", "TestCommandsOfTheSecurityPage"},
	{ref{"examples/go-chat/README.md", "./run"}, "tests/e2e/examples/chat_test.go", "TestGoChat"},
	{ref{"examples/node-chat/README.md", "npm start"}, "tests/e2e/examples/chat_test.go", "TestNodeChat"},
}

// rehearsed are blocks that no test can run, and why. They are run with
// stand-ins that look at the arguments only: do such commands, flags, targets and
// files exist?
var rehearsed = []struct {
	ref

	reason string
}{
	{ref{readme, "make test"}, "make test is what runs this test"},
	{ref{readme, "bin/skein rebalance simulate --clients 50000 --add 2"}, "it needs edges of the groups blue and green"},
	{ref{"docs/deploy.md", "docker compose"}, "it needs a registry; tests/compose brings the same file up with images of its own"},
	{ref{"docs/deploy.md", "apt install"}, "it needs a machine with systemd; tests/deploy looks into the package"},
	{ref{"docs/deploy.md", "install -d /etc/skein/tls"}, "it writes to the system; tests/deploy installs the package beside it"},
	{ref{"docs/getting-started.md", "git clone"}, "it needs the internet"},
	{ref{"docs/performance.md", "make bench"}, "it takes many minutes"},
	{ref{"docs/performance.md", "bin/skein bench join"}, "it takes minutes, and names processes by PID"},
	{ref{"docs/performance.md", "go test"}, "it takes many minutes"},
	{ref{"docs/performance.md", "bin/skein bench people"}, "it names edges by HOST:PORT; a story runs bench"},
	{ref{"docs/performance.md", "SKEIN_BIN=$PWD/bin SKEIN_PEOPLE"}, "it takes minutes; tests/e2e runs it with fewer people"},
	{ref{"docs/security.md", "skein-router --id router-1"}, "it is for three machines; tests/e2e runs it on loopback"},
	{ref{"docs/sizing.md", "sudo sysctl"}, "it changes the machine"},
	{ref{"deploy/haproxy/README.md", "EDGE_1="}, "it names machines; tests/balancer runs the same files on loopback"},
	{ref{"deploy/nginx/README.md", "nginx -c"}, "it never ends; tests/balancer runs the same files"},
}

// TestEveryBlockIsTested fails for a block that nobody has decided about.
func TestEveryBlockIsTested(t *testing.T) {
	blocks := read(t)
	times := map[block]int{}
	count := func(r ref) { times[find(t, blocks, r)]++ }
	for _, s := range stories {
		for _, r := range s.blocks {
			count(r)
		}
	}
	for _, e := range elsewhere {
		count(e.ref)
		text, err := os.ReadFile(filepath.Join(process.Root(), e.file))
		if err != nil || !strings.Contains(string(text), "func "+e.test+"(t *testing.T)") {
			t.Errorf("%s has no %s, which is to run a block of %s (%v)", e.file, e.test, e.page, err)
		}
	}
	for _, e := range rehearsed {
		count(e.ref)
	}
	for _, b := range blocks {
		if times[b] != 1 {
			t.Errorf("%s is in %d of the tables, want one: let a story run it, or say why none can:\n%s", b, times[b], b.text)
		}
	}
}

func TestRehearsals(t *testing.T) {
	blocks := read(t)
	for _, e := range rehearsed {
		b := find(t, blocks, e.ref)
		t.Run(b.String(), func(t *testing.T) {
			if e.reason == "" {
				t.Error("nothing says why it cannot be run")
			}
			if out, err := rehearse(t, b); err != nil {
				t.Errorf("%v:\n%s\n%s", err, b.text, out)
			}
		})
	}
}

// A rehearsal that finds nothing would be worth nothing.
func TestRehearsalsFindMistakes(t *testing.T) {
	for _, text := range []string{
		"bin/skein nonsense",
		"bin/skein rebalance nonsense",
		"skein members --nonsense",
		"bin/skein-edge --nonsense",
		"make nonsense",
		"docker compose -f deploy/compose/nonsense.yaml up",
		"docker compose -f deploy/compose/compose.yaml nonsense",
		"kubectl apply -k deploy/nonsense",
		"node tests/nonsense.mjs",
		"systemctl start skein-nonsense",
		"sudo sysctl -w net.nonsense=1",
		"nonsense",
		"if",
	} {
		if out, err := rehearse(t, block{page: readme, text: text + "\n"}); err == nil {
			t.Errorf("no mistake was found in %s: %s", text, out)
		}
	}
}
