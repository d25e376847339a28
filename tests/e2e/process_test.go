//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

// newProcess prepares a program of bin/.
func newProcess(t *testing.T, id, binary, admin string, args ...string) *process.Process {
	t.Helper()
	return process.New(t, id, process.Built(t, binary), admin, args...)
}

// run runs a program of bin/ to its end.
func run(t *testing.T, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, process.Built(t, name), args...)
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %s %q: %v", name, args, err)
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// logged waits until a process has logged some texts: its output comes through a
// pipe, later than its answers.
func logged(t *testing.T, p *process.Process, texts ...string) {
	t.Helper()
	process.Eventually(t, time.Minute, fmt.Sprintf("%s logs %q", p.ID, texts), func() bool {
		log := p.Output.String()
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(log, text) })
	})
}
