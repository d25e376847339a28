package lifecycle

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// doubled is how close a second signal must follow the first to be the same
// wish: a terminal and a wrapper often both pass one on.
const doubled = 250 * time.Millisecond

// UntilSignal returns a context that ends with the first SIGINT or SIGTERM. A
// later one, but not a doubled first, kills the process as if nobody had asked
// for signals. It is for a program's main.
func UntilSignal(ctx context.Context) context.Context {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { time.AfterFunc(doubled, stop) })
	return ctx
}
