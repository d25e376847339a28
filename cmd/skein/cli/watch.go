package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// watcher is the flags of a command that may show the same again and again.
type watcher struct {
	watch    bool
	interval time.Duration
}

func (w *watcher) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.watch, "watch", false, "go on and show it again each interval, until ctrl-C")
	cmd.Flags().DurationVar(&w.interval, "interval", 2*time.Second, "time between two looks of --watch")
}

// shown is what one look shows: to programs, and to people.
type shown struct {
	view  any
	print func(io.Writer)
}

// show shows what at sees, once or again and again. While it watches, a terminal
// shows the latest look only, other outputs all of them, JSON one line each; a
// look that fails is shown and tried again.
func (a *app) show(ctx context.Context, w watcher, at func(context.Context) (shown, error)) error {
	if !w.watch {
		s, err := at(ctx)
		if err != nil {
			return err
		}
		return a.showOnce(s)
	}
	if w.interval <= 0 {
		return errors.New("interval: must be positive")
	}
	for {
		s, err := at(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // ctrl-C is how it ends
		}
		if err != nil {
			s = shown{map[string]string{"error": err.Error()}, func(out io.Writer) { fmt.Fprintln(out, "Asking again:", printable(err.Error())) }}
		}
		if err := a.showAgain(s); err != nil {
			return err
		}
		_ = pause(ctx, w.interval) // the next look sees that ctx ended
	}
}

func (a *app) showOnce(s shown) error {
	if a.common.json() {
		return printJSON(a.Stdout, s.view)
	}
	s.print(a.Stdout)
	return nil
}

func (a *app) showAgain(s shown) error {
	if a.common.json() {
		encoder := json.NewEncoder(a.Stdout)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(s.view); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		return nil
	}
	var text bytes.Buffer
	if terminal(a.Stdout) {
		text.WriteString("\x1b[H\x1b[2J") // at once with the text, so that nothing flickers
	}
	fmt.Fprintln(&text, time.Now().Format(time.TimeOnly))
	s.print(&text)
	fmt.Fprintln(&text)
	if _, err := a.Stdout.Write(text.Bytes()); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
