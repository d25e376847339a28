package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// FloorCommand are the arguments with which a program must call [Floor], so
// that it can be its own child.
func FloorCommand(coalesce time.Duration) []string {
	return []string{"bench", "floor-server", "--coalesce", coalesce.String()}
}

// floorChild is a floor server that runs as a process of its own.
type floorChild struct {
	*child

	common Common // options that lead to it
}

// startFloor runs this program again as a floor server.
func startFloor(ctx context.Context, o floorOptions) (*floorChild, error) {
	c, line, err := startChild(ctx, FloorCommand(o.coalesce))
	if err != nil {
		return nil, fmt.Errorf("floor: %w", err)
	}
	address, ok := strings.CutPrefix(strings.TrimSpace(line), floorGreeting)
	if !ok {
		return nil, errors.Join(fmt.Errorf("floor: said %q", line), c.stop())
	}
	f := &floorChild{c, o.common}
	f.common.Edge, f.common.Pids = []string{address}, []string{"floor=" + strconv.Itoa(c.pid)}
	return f, nil
}

// floorGreeting is what a floor server prints before its address.
const floorGreeting = "floor listens on "
