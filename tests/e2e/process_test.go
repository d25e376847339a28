//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is one program of bin/ that can be stopped and started again with
// the same arguments. Its methods belong to the test's goroutine.
type process struct {
	id     string
	binary string
	args   []string
	admin  string // address of /readyz; "" if there is none

	output *output
	cmd    *exec.Cmd
	exited chan struct{}
}

// output keeps what a process wrote over all its lives.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// tail is the end of the output, as much as one reads of a failing test.
func (o *output) tail(lines int) string {
	all := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// newProcess prepares a program. It ends with the test, and its output is
// attached if the test fails.
func newProcess(t *testing.T, id, binary, admin string, args ...string) *process {
	t.Helper()
	p := &process{id: id, binary: bin(t, binary), args: args, admin: admin, output: &output{}}
	t.Cleanup(func() {
		p.kill(t)
		if t.Failed() {
			t.Logf("output of %s:\n%s", p.id, p.output.tail(60))
		}
	})
	return p
}

// bin is the path of a built program.
func bin(t *testing.T, name string) string {
	t.Helper()
	folder := os.Getenv("SKEIN_BIN")
	if folder == "" {
		folder = filepath.Join("..", "..", "bin")
	}
	path, err := filepath.Abs(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run make build first", err)
	}
	return path
}

// launch starts the program and does not wait for it to be ready.
func (p *process) launch(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.binary, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // if the tests are killed
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.id, err)
	}
	cmd, exited := p.cmd, make(chan struct{})
	p.exited = exited
	go func() {
		_ = cmd.Wait() // the exit code is in cmd.ProcessState
		close(exited)
	}()
}

// start launches the program and waits until it says that it is ready.
func (p *process) start(t *testing.T) {
	t.Helper()
	p.launch(t)
	p.awaitReady(t)
}

func (p *process) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, 30*time.Second, p.id+" is ready", func() bool {
		select {
		case <-p.exited:
			t.Fatalf("%s ended at once: %s", p.id, p.cmd.ProcessState)
		default:
		}
		return p.ready()
	})
}

func (p *process) ready() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/readyz", nil)
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

// signal sends a signal and waits for the end of the process. It returns the
// exit code, -1 if the signal killed it.
func (p *process) signal(t *testing.T, sig os.Signal) int {
	t.Helper()
	if p.cmd == nil {
		return 0
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("signal %s: %v", p.id, err)
	}
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		t.Errorf("%s did not end within 30 s of %s", p.id, sig)
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop drains the process, which must end with status 0.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if code := p.signal(t, syscall.SIGTERM); code != 0 {
		t.Errorf("%s ended with status %d after SIGTERM", p.id, code)
	}
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
}

func (p *process) restart(t *testing.T) {
	t.Helper()
	p.stop(t)
	p.start(t)
}

// run runs a program of bin/ to its end.
func run(t *testing.T, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin(t, name), args...)
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %s %q: %v", name, args, err)
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// Ports of processes lie below those that the system gives to outgoing
// connections: one of these could take a port before its process listens.
const (
	firstPort = 20000
	ports     = 12000
)

// nextPort is the last port that was handed out, less firstPort. It begins
// anywhere, and no port is handed out twice in a row.
var nextPort = rand.N(ports)

// addresses returns free addresses of loopback.
func addresses(t *testing.T, n int) []string {
	t.Helper()
	list := make([]string, 0, n)
	for range ports {
		if len(list) == n {
			return list
		}
		nextPort = (nextPort + 1) % ports
		var config net.ListenConfig
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+nextPort)
		if l, err := config.Listen(t.Context(), "tcp", address); err == nil {
			_ = l.Close() // it was only asked for
			list = append(list, address)
		}
	}
	t.Fatal("no port is free")
	return nil
}

// eventually polls until check holds, and fails the test when it does not in
// time.
func eventually(t *testing.T, within time.Duration, what string, check func() bool) {
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
