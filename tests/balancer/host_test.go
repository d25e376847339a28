//go:build e2e

package balancer

import (
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

// patience bounds waiting for what must happen; no test expects it to run out.
const patience = time.Minute

func TestMain(m *testing.M) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) // a lower limit fails a test that needs more
	}
	os.Exit(m.Run())
}

// Ports of an edge: those of its own defaults, and of the shipped
// configurations.
const (
	clientPort = "4000"
	adminPort  = "4001"
	agentPort  = "4002"
)

// hosts counts addresses once for all tests: they are the system's.
var hosts atomic.Int64

// newHost returns a loopback address that no other test uses, of this process or
// of another that runs at the same time.
func newHost() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>8&63, pid&255, 1+hosts.Add(1)%250)
}

// installed is the path of a program of the system, which may be in a folder that
// only root has in its PATH.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath("/usr/sbin/" + name)
	if err != nil {
		path, err = exec.LookPath(name)
	}
	if err != nil {
		t.Fatalf("%v: run .ci/deps first", err)
	}
	return path
}

// shipped is a file of deploy/.
func shipped(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(process.Root() + "/deploy/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
