package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// What HAProxy's agent-check reads. Weight and administrative state are
// independent there, so a drain that is over must be taken back in words; but
// "ready" would also undo a drain that an operator set, so it is said only
// while the edge is young.
const (
	agentUp    = "up 100%\n"
	agentReady = "up ready 100%\n"
	agentDrain = "up drain 1%\n"
)

const (
	agentYouth   = 30 * time.Second
	agentTimeout = time.Second
)

// Agent answers HAProxy's agent-check: one line for each connection.
type Agent struct {
	listener net.Listener
	draining func() bool
}

// Run answers until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	born := time.Now()
	defer context.AfterFunc(ctx, func() { _ = a.listener.Close() })() // Accept reports it
	var answering sync.WaitGroup
	defer answering.Wait()
	for {
		conn, err := a.listener.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("agent on %s: %w", a.listener.Addr(), err)
		case err != nil: // of this connection, or out of descriptors for a moment
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		line := a.line(time.Since(born))
		answering.Go(func() { answer(conn, line) })
	}
}

func (a *Agent) line(age time.Duration) string {
	switch {
	case a.draining():
		return agentDrain
	case age < agentYouth:
		return agentReady
	default:
		return agentUp
	}
}

// answer writes the line and closes. What HAProxy may have sent is read first:
// closing over unread bytes resets the connection and the line with it.
func answer(conn net.Conn, line string) {
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	if conn.SetDeadline(time.Now().Add(agentTimeout)) != nil {
		return
	}
	if _, err := io.WriteString(conn, line); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, 1<<10)) // ends with the peer's close or the deadline
	}
}
