// Package process starts programs of this repository as processes on loopback,
// for tests. Whatever a test starts ends with it, and when the test fails its
// output is attached.
package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/telemetry/logtest"
)

// Process is one program that can be stopped and started again with the same
// arguments. Its methods belong to the test's goroutine.
type Process struct {
	ID     string
	Admin  string // address of /readyz; "" if there is none
	Output *Output
	Cmd    *exec.Cmd     // of its latest life; nil before the first
	Exited chan struct{} // closed at the end of that life

	binary string
	args   []string
	dir    string
	env    []string // beside that of the test
	group  bool     // signals go to all that it started, too
}

// Output keeps what a process wrote over all its lives. All methods may be
// called concurrently.
type Output struct{ logtest.Buffer }

// Tail is the end of the output, as much as one reads of a failing test.
func (o *Output) Tail(lines int) string {
	all := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// New prepares a program, given by its path. admin is the address of its
// /readyz, or "".
func New(t *testing.T, id, binary, admin string, args ...string) *Process {
	t.Helper()
	p := &Process{ID: id, Admin: admin, Output: &Output{}, binary: binary, args: args}
	t.Cleanup(func() {
		p.Kill(t)
		if t.Failed() {
			t.Logf("output of %s:\n%s", p.ID, p.Output.Tail(60))
		}
	})
	return p
}

// In makes the program run in a folder.
func (p *Process) In(dir string) *Process {
	p.dir = dir
	return p
}

// With gives the program variables of the environment, "NAME=value" each.
func (p *Process) With(env ...string) *Process {
	p.env = append(p.env, env...)
	return p
}

// AsGroup sends signals to the program and to all that it starts, as a terminal
// does. It has ended when all of them have.
func (p *Process) AsGroup() *Process {
	p.group = true
	return p
}

// Launch starts the program and does not wait for it to be ready.
func (p *Process) Launch(t *testing.T) {
	t.Helper()
	cmd, exited := exec.Command(p.binary, p.args...), make(chan struct{}) //nolint:gosec,noctx // tests say what to run, and end it by signals
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, p.Output, p.Output
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, // if the tests are killed
		Setpgid:   p.group,
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.ID, err)
	}
	p.Cmd, p.Exited = cmd, exited
	go func() {
		_ = cmd.Wait() // the exit code is in cmd.ProcessState
		close(exited)
	}()
}

// Start launches the program and waits until it says that it is ready.
func (p *Process) Start(t *testing.T) {
	t.Helper()
	p.Launch(t)
	p.AwaitReady(t)
}

// AwaitReady waits until the program says that it is ready.
func (p *Process) AwaitReady(t *testing.T) {
	t.Helper()
	Eventually(t, 30*time.Second, p.ID+" is ready", func() bool {
		p.Alive(t)
		return p.ready(t.Context())
	})
}

// Alive fails the test when the program has ended.
func (p *Process) Alive(t *testing.T) {
	t.Helper()
	select {
	case <-p.Exited:
		t.Fatalf("%s ended: %s", p.ID, p.Cmd.ProcessState)
	default:
	}
}

func (p *Process) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Admin+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Signal sends a signal and waits for the end of the process. It returns the
// exit code, -1 if the signal killed it.
func (p *Process) Signal(t *testing.T, sig syscall.Signal) int {
	t.Helper()
	if p.Cmd == nil {
		return 0
	}
	if err := p.send(sig); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("signal %s: %v", p.ID, err)
	}
	select {
	case <-p.Exited:
	case <-time.After(30 * time.Second):
		t.Errorf("%s did not end within 30 s of %s", p.ID, sig)
		_ = p.send(syscall.SIGKILL)
		<-p.Exited
	}
	return p.Cmd.ProcessState.ExitCode()
}

func (p *Process) send(sig syscall.Signal) error {
	if p.group {
		return syscall.Kill(-p.Cmd.Process.Pid, sig)
	}
	return p.Cmd.Process.Signal(sig)
}

// Stop drains the process, which must end with status 0.
func (p *Process) Stop(t *testing.T) {
	t.Helper()
	if code := p.Signal(t, syscall.SIGTERM); code != 0 {
		t.Errorf("%s ended with status %d after SIGTERM", p.ID, code)
	}
}

// Kill ends the process at once.
func (p *Process) Kill(t *testing.T) {
	t.Helper()
	p.Signal(t, syscall.SIGKILL)
}

// Restart stops and starts the process.
func (p *Process) Restart(t *testing.T) {
	t.Helper()
	p.Stop(t)
	p.Start(t)
}

// Ports of processes lie below those that the system gives to outgoing
// connections: one of these could take a port before its process listens.
const (
	firstPort = 20000
	ports     = 12000
)

// handedOut counts ports, so that none is handed out twice in a row. Processes
// that test at the same time begin at different ones.
var handedOut = func() *atomic.Int64 { //nolint:gochecknoglobals // ports are the system's, so they are counted once for all tests
	var n atomic.Int64
	n.Store(int64(os.Getpid()) * 101)
	return &n
}()

// Addresses returns n free addresses of loopback.
func Addresses(t *testing.T, n int) []string {
	t.Helper()
	list := make([]string, 0, n)
	for range ports {
		if len(list) == n {
			return list
		}
		var config net.ListenConfig
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+handedOut.Add(1)%ports)
		if l, err := config.Listen(t.Context(), "tcp", address); err == nil {
			_ = l.Close() // it was only asked for
			list = append(list, address)
		}
	}
	t.Fatal("no port is free")
	return nil
}

// Eventually polls until check holds, and fails the test when it does not in
// time.
func Eventually(t *testing.T, within time.Duration, what string, check func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !check() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
		<-ticker.C
	}
}
