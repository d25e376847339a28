// Command skein is the tool for people who run a fleet: it shows it, publishes
// and listens, puts load on it, and runs all of it in one process.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/skein-mesh/skein/cmd/skein/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(cli.Main(ctx, cli.Env{
		Args:   os.Args[1:],
		Getenv: os.Getenv,
		Stdin:  os.Stdin,
		Stdout: os.Stdout,
		Stderr: os.Stderr,
	}))
}
