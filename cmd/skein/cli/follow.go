package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
)

// follower is the flags of a command that follows what it began.
type follower struct {
	detach   bool
	interval time.Duration
}

func (f *follower) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.detach, "detach", false, "order it and end; it goes on by itself")
	f.intervalFlag(cmd)
}

func (f *follower) intervalFlag(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.interval, "interval", time.Second, "time between two looks")
}

// look is what one look at the fleet shows.
type look struct {
	line string // for people
	view any    // for JSON output
	done bool
}

// settled is in how many looks in a row an absence must be seen to be believed: an
// instance that has just started, or has just been elected, knows nobody yet.
const settled = 5

// patience is how many timeouts a follower waits for an instance to answer:
// another may be elected meanwhile.
const patience = 6

// follow looks again and again until it is done or ctx ends; then it says what
// goes on. An instance that does not answer is asked again, or another one.
func (a *app) follow(ctx context.Context, interval time.Duration, goesOn string, at func(context.Context, fleetClient) (look, error)) error {
	p := progress{out: a.Stdout, json: a.common.json(), width: width(a.Stdout)}
	answered := time.Now()
	for {
		var seen look
		err := a.withFleet(ctx, func(c fleetClient) error {
			for !seen.done {
				var err error
				if seen, err = at(ctx, c); err != nil {
					return err
				}
				answered = time.Now()
				p.show(seen)
				if !seen.done && pause(ctx, interval) != nil {
					return ctx.Err()
				}
			}
			return nil
		})
		switch {
		case ctx.Err() != nil: // ctrl-C ends the command, not what it follows
			p.end(goesOn)
			return nil //nolint:nilerr // whatever it was doing
		case err == nil:
			p.end("")
			return nil
		case time.Since(answered) > patience*a.common.Timeout:
			p.end("")
			return err
		}
		p.show(look{line: "Asking again: " + err.Error(), view: map[string]string{"error": err.Error()}})
		_ = pause(ctx, interval) // ctx is looked at next
	}
}

// progress prints looks: on a terminal over each other, otherwise one line each
// time that something changed.
type progress struct {
	out   io.Writer
	json  bool
	width int // of the terminal in characters, 0 for none
	last  string
}

// width of a terminal in characters, 0 for what is none.
func width(stream any) int {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(f.Fd()) {
		return 0
	}
	w, _, err := term.GetSize(f.Fd())
	if err != nil || w < 2 {
		return 80
	}
	return w
}

func (p *progress) show(l look) {
	line := l.line
	if p.json {
		var text strings.Builder
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(l.view); err != nil {
			return // views are plain structs
		}
		line = strings.TrimSuffix(text.String(), "\n")
	}
	if line == p.last {
		return
	}
	p.last = line
	line = printable(line)
	if p.json || p.width == 0 {
		fmt.Fprintln(p.out, line)
		return
	}
	if runes := []rune(line); len(runes) >= p.width {
		line = string(runes[:p.width-2]) + "…" // a line that wraps could not be replaced
	}
	fmt.Fprint(p.out, "\r\x1b[K"+line) // the cursor stays: the next look takes its place
}

// end leaves the last look where it stands, and a last word if there is one.
func (p *progress) end(word string) {
	if p.json {
		return
	}
	if p.width > 0 && p.last != "" {
		fmt.Fprintln(p.out)
	}
	if word != "" {
		fmt.Fprintln(p.out, word)
	}
}
