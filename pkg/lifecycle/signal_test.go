package lifecycle_test

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/lifecycle"
)

// The test binary runs itself: as a child it waits for signals for ever.
const child = "SKEIN_TEST_SIGNAL_CHILD"

func TestUntilSignal(t *testing.T) {
	if os.Getenv(child) != "" {
		ctx := lifecycle.UntilSignal(t.Context())
		os.Stdout.WriteString("r") // the parent fails if it does not come
		<-ctx.Done()
		os.Stdout.WriteString("d") // likewise
		select {}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestUntilSignal$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expect := func(want byte) {
		t.Helper()
		got := make([]byte, 1)
		if _, err := out.Read(got); err != nil || got[0] != want {
			t.Fatalf("child said %q (%v), want %q", got, err, want)
		}
	}
	expect('r')
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	expect('d') // the first one ends the context only
	// Later ones are ignored for a moment, then kill: however slow this machine,
	// one of them does. They come one at a time: Go's runtime takes a signal that
	// nobody waits for with that signal unblocked, so a flood of them nests until
	// the stack ends, and the child dies of that instead.
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case err := <-exited:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM { // POSIX only
				t.Fatalf("child ended with %v, want death by SIGTERM", err)
			}
			return
		case <-again.C:
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may be gone
		}
	}
}
