//go:build e2e

package compose

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const root = "../.."

// engine is a container engine that belongs to one test.
type engine struct {
	env []string
}

// startEngine starts a container engine with a folder of its own, which ends
// with the test.
func startEngine(t *testing.T) *engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "skein-engine") //nolint:usetesting // the path of the socket may have 108 bytes only
	if err != nil {
		t.Fatal(err)
	}
	daemon, err := exec.LookPath("dockerd")
	if err != nil {
		if daemon, err = exec.LookPath("/usr/sbin/dockerd"); err != nil {
			t.Fatal("no container engine: .ci/deps installs docker.io and docker-compose: ", err)
		}
	}
	host := "unix://" + filepath.Join(dir, "docker.sock")
	cmd := exec.Command(daemon, "--host", host, "--data-root", filepath.Join(dir, "data"),
		"--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"), "--bridge", "none")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	exited := launch(t, cmd)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		<-exited
		if t.Failed() {
			t.Logf("the engine's log ends:\n%s", tail(log.String(), 20))
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	e := &engine{append(os.Environ(),
		"DOCKER_HOST="+host, "DOCKER_BUILDKIT=1", "COMPOSE_DOCKER_CLI_BUILD=1", "DOCKER_CONFIG="+dir,
		// The engine's own client first: another one may come without a builder.
		"PATH=/usr/bin:"+os.Getenv("PATH"))}
	eventually(t, time.Minute, "the container engine answers", func() error {
		select {
		case <-exited:
			t.Fatal("the container engine does not start: it needs root, cgroups and iptables")
		default:
		}
		_, err := e.try(t.Context(), "docker", "version")
		return err
	})
	return e
}

// launch starts a daemon and returns what is closed when it has ended. The kernel
// ends it with the thread that started it, so that thread stays.
func launch(t *testing.T, cmd *exec.Cmd) <-chan struct{} {
	t.Helper()
	exited := make(chan struct{})
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its log says why
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	return exited
}

// try runs a command that talks to the engine and returns what it printed.
func (e *engine) try(ctx context.Context, name string, args ...string) (string, error) {
	path := name
	if name == "docker" {
		path = "/usr/bin/docker"
	}
	cmd := exec.CommandContext(ctx, path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = e.env, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", errors.New(name + " " + strings.Join(args, " ") + ": " + err.Error() + "\n" + tail(stderr.String(), 20))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// docker runs docker with the arguments and returns what it printed.
func (e *engine) docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := e.try(t.Context(), "docker", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually asks again until there is no error, and fails the test with the
// last one when time is up.
func eventually(t *testing.T, within time.Duration, what string, ask func() error) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("not within %v: %s: %v", within, what, err)
		case <-again.C:
		}
	}
}

// tail is the end of a text, as much as one reads of a failing test.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
