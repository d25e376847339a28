package seeds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// endTime is how long a command that was told to end may hold its output open.
const endTime = time.Second

// maxComplaint is how much of a command's standard error is shown, in bytes.
const maxComplaint = 300

// command asks a program. It is started without a shell, with nothing to read,
// and without the variables of this process that begin with SKEIN_, which may be
// keys.
type command struct{ argv []string }

func parseExec(text string) (command, error) {
	argv := strings.Fields(text)
	if len(argv) == 0 {
		return command{}, errors.New("a command is missing")
	}
	return command{argv}, nil
}

// Addresses implements [Strategy]. When ctx ends, the command is killed and all
// that it started with it.
func (c command) Addresses(ctx context.Context) ([]string, error) {
	out, complaint := &bounded{most: maxText}, &bounded{most: maxComplaint}
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...) //nolint:gosec // the operator says what to run
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.WaitDelay = out, complaint, withoutKeys(os.Environ()), endTime
	killGroup(cmd)
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("run %s: %w", c.argv[0], ctx.Err())
	case err != nil && complaint.text.Len() > 0:
		return nil, fmt.Errorf("run %s: %w, and it said %q", c.argv[0], err, strings.TrimSpace(complaint.text.String()))
	case err != nil:
		return nil, fmt.Errorf("run %s: %w", c.argv[0], err)
	case out.cut:
		return nil, errTooLong
	}
	return parseLines(out.text.String())
}

// withoutKeys returns env without this program's own variables.
func withoutKeys(env []string) []string {
	kept := []string{}
	for _, v := range env {
		if !strings.HasPrefix(v, "SKEIN_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	most int
	text bytes.Buffer
	cut  bool // more was written than is kept
}

// Write keeps as much of p as there is room for. It never fails, so that the
// writer goes on.
func (b *bounded) Write(p []byte) (int, error) {
	room := min(len(p), b.most-b.text.Len())
	b.cut = b.cut || room < len(p)
	b.text.Write(p[:room])
	return len(p), nil
}
