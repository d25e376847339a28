// Command skein is the tool for people who run a fleet: it shows it, publishes
// and listens, puts load on it, and runs all of it in one process.
package main

import (
	"context"
	"os"

	"github.com/skein-mesh/skein/cmd/skein/cli"
	"github.com/skein-mesh/skein/pkg/lifecycle"
)

func main() {
	ctx := lifecycle.UntilSignal(context.Background())
	os.Exit(cli.Main(ctx, cli.Env{
		Args:   os.Args[1:],
		Getenv: os.Getenv,
		Stdin:  os.Stdin,
		Stdout: os.Stdout,
		Stderr: os.Stderr,
	}))
}
