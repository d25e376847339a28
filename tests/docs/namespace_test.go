//go:build e2e

package docs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside marks the process that lives in the namespaces.
const inside = "SKEIN_DOCS_INSIDE"

// TestMain runs the tests in network and process namespaces of their own:
// ports of pages are fixed, and whatever a page starts ends with the tests, even
// when they are killed.
func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" {
		os.Exit(enter())
	}
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, "tests/docs: prepare the namespaces:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// enter runs this program again in new namespaces and returns its status.
func enter() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) // its own -timeout bounds it
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1) // -1 is a signal
	}
	fmt.Fprintln(os.Stderr, "tests/docs: make namespaces for the fixed ports of the pages, for which it must run as root (CAP_SYS_ADMIN):", err)
	return 1
}

// furnish gives the namespaces what programs expect: a loopback that is up, and
// a /proc of their own processes.
func furnish() error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to itself: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(socket)
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("name the loopback: %w", err)
	}
	loopback.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, loopback); err != nil {
		return fmt.Errorf("switch the loopback on: %w", err)
	}
	return nil
}
