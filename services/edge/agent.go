package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	agentYouth   = 30 * time.Second
	agentTimeout = time.Second
)

// told is what balancers are told.
type told struct {
	weight uint32    // in percent; 0 while the edge drains
	since  time.Time // when that began
	fresh  bool      // the edge began to serve a moment ago
}

// line is what HAProxy's agent-check reads. Weight and administrative state are
// independent there, so a drain that is over must be taken back in words; but
// "ready" would also undo a drain that an operator set, so it is said only for a
// while. While it drains, the weight is the least: a 0 would outlive the drain.
func (t told) line() string {
	switch {
	case t.weight == 0:
		return "up drain 1%\n"
	case t.fresh:
		return fmt.Sprintf("up ready %d%%\n", t.weight)
	default:
		return fmt.Sprintf("up %d%%\n", t.weight)
	}
}

// Agent answers HAProxy's agent-check: one line for each connection. All methods
// may be called concurrently, Run once.
type Agent struct {
	// Static after construction.
	listener net.Listener
	told     func(now time.Time) told

	polled atomic.Int64 // when a balancer asked last, in nanoseconds since 1970; 0 for never
}

// Polled is when a balancer asked last; false for never.
func (a *Agent) Polled() (at time.Time, ok bool) {
	nanos := a.polled.Load()
	return time.Unix(0, nanos), nanos != 0
}

// Run answers until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
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
		now := time.Now()
		line := a.told(now).line()
		a.polled.Store(now.UnixNano())
		answering.Go(func() { answer(conn, line) })
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
