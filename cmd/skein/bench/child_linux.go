package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// child is this program, run again as a process of its own. It serves until its
// input ends.
type child struct {
	pid    int
	input  io.WriteCloser
	output *bufio.Reader
	wait   func() error
}

// startChild returns the child and the first line it printed.
func startChild(ctx context.Context, args []string) (*child, string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, "", fmt.Errorf("start: %w", err)
	}
	command := exec.CommandContext(ctx, program, args...) //nolint:gosec // this very program
	command.Stderr = os.Stderr
	input, err1 := command.StdinPipe()
	output, err2 := command.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, "", fmt.Errorf("start: %w", err)
	}
	if err := command.Start(); err != nil {
		return nil, "", fmt.Errorf("start: %w", err)
	}
	c := &child{command.Process.Pid, input, bufio.NewReader(output), command.Wait}
	line, err := c.output.ReadString('\n')
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("said %.200q: %w", line, err), c.stop())
	}
	return c, line, nil
}

// stop ends the child.
func (c *child) stop() error { return errors.Join(c.input.Close(), c.wait()) }
