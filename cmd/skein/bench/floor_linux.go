package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// FloorCommand are the arguments with which a program must call [Floor], so
// that it can be its own child.
func FloorCommand(coalesce time.Duration) []string {
	return []string{"bench", "floor-server", "--coalesce", coalesce.String()}
}

// child is a floor server that runs as a process of its own.
type child struct {
	common Common // options that lead to it
	stdin  io.Closer
	wait   func() error
}

// startFloor runs this program again as a floor server.
func startFloor(ctx context.Context, o floorOptions) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("floor: %w", err)
	}
	command := exec.CommandContext(ctx, program, FloorCommand(o.coalesce)...) //nolint:gosec // this very program
	command.Stderr = os.Stderr
	stdin, err1 := command.StdinPipe()
	stdout, err2 := command.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("floor: %w", err)
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("floor: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), floorGreeting)
	if err != nil || !ok {
		_ = stdin.Close()
		return nil, errors.Join(fmt.Errorf("floor: said %q", line), err, command.Wait())
	}
	c := &child{common: o.common, stdin: stdin, wait: command.Wait}
	c.common.Edge, c.common.Pids = []string{address}, []string{"floor=" + strconv.Itoa(command.Process.Pid)}
	return c, nil
}

// floorGreeting is what a floor server prints before its address.
const floorGreeting = "floor listens on "

// stop ends the child, which ends with its input.
func (c *child) stop() error {
	return errors.Join(c.stdin.Close(), c.wait())
}
