package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sync/errgroup"
)

// Feed calls show with each new sample until ctx ends or nothing more can come.
// It may be called by several goroutines, one at a time.
type Feed func(ctx context.Context, show func(Sample)) error

// Live shows the feed on a terminal until the user quits or ctx ends.
func Live(ctx context.Context, feed Feed, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	program := tea.NewProgram(model{history: newHistory(), screen: screen{width: 80, height: 24, theme: colours()}},
		tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out))
	var group errgroup.Group
	group.Go(func() error {
		err := feed(ctx, func(s Sample) { program.Send(s) })
		program.Quit()
		return err
	})
	_, err := program.Run()
	cancel()
	if fed := group.Wait(); fed != nil && !errors.Is(fed, context.Canceled) {
		return fed
	}
	if err != nil && !errors.Is(err, tea.ErrProgramKilled) && !errors.Is(err, tea.ErrInterrupted) {
		return fmt.Errorf("terminal: %w", err)
	}
	return nil
}

// model is the state of the live view.
type model struct {
	history *history
	screen  screen
}

// Init implements [tea.Model].
func (m model) Init() tea.Cmd { return nil }

// Update implements [tea.Model].
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case Sample:
		m.history.add(msg, time.Now())
	case tea.WindowSizeMsg:
		m.screen.width, m.screen.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return m, tea.Quit
		case "s":
			m.screen.busiest = !m.screen.busiest
		case "up", "k":
			m.screen.skip = max(0, m.screen.skip-1)
		case "down", "j":
			m.screen.skip = min(len(m.history.edges), m.screen.skip+1)
		}
	}
	return m, nil
}

// View implements [tea.Model].
func (m model) View() tea.View {
	v := tea.NewView(m.history.render(m.screen))
	v.AltScreen = true
	v.WindowTitle = "skein top"
	return v
}

// plainWidth is wide enough for every column.
const plainWidth = 120

// Plain writes each sample of the fleet as text, for logs and pipes. With once
// it ends after the first sample that has rates, or when ctx ends.
func Plain(ctx context.Context, feed Feed, out io.Writer, once bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h := newHistory()
	shown := false
	show := func() {
		shown = true
		fmt.Fprintln(out, h.render(screen{width: plainWidth}))
	}
	err := feed(ctx, func(s Sample) {
		h.add(s, time.Now())
		switch {
		case ctx.Err() != nil: // the last one was shown
		case s.Fleet == nil:
		case !once:
			show()
			fmt.Fprintln(out)
		case h.rated():
			show()
			cancel()
		}
	})
	if once && !shown && h.fleet != nil {
		show()
	}
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// rated says whether every edge was seen twice.
func (h *history) rated() bool {
	for _, e := range h.edges {
		if len(e.out) == 0 {
			return false
		}
	}
	return h.fleet != nil && h.members != nil
}
