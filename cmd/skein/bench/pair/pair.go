// Package pair runs one edge and one router whose telemetry can be turned off
// and up while they work. They share a process, so that one clock has their CPU,
// and talk over the loopback, as two processes do.
package pair

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/telemetry"
)

// Ports are where a pair listens, each as host:port.
type Ports struct {
	Edge  string   // for clients
	Admin []string // of the edge and of the router
}

// greeting begins the line that says where a pair listens.
const greeting = "pair listens on "

// String is the line, for [ParsePorts].
func (p Ports) String() string {
	return greeting + strings.Join(append([]string{p.Edge}, p.Admin...), " ")
}

// ParsePorts reads what a pair said first.
func ParsePorts(line string) (Ports, error) {
	text, ok := strings.CutPrefix(line, greeting)
	ports := strings.Fields(text)
	if !ok || len(ports) == 0 {
		return Ports{}, fmt.Errorf("pair: said %.200q", line)
	}
	return Ports{Edge: ports[0], Admin: ports[1:]}, nil
}

// Serve runs a pair on free ports of the loopback until input or ctx ends. It
// prints its [Ports], and then obeys each line of input, a number, and repeats
// it: 0 records nothing, 1 what services record by default, and n that n times.
// Spans go to otlp, a URL.
func Serve(ctx context.Context, input io.Reader, out, stderr io.Writer, otlp string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &pair{}
	components, err := p.assemble(ctx, otlp, stderr)
	if err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	if _, err := fmt.Fprintln(out, p.ports); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	obeyed := make(chan error, 1)
	go func() {
		defer cancel()
		obeyed <- p.obey(ctx, input, out)
	}()
	if err := lifecycle.Run(ctx, components...); err != nil {
		return err
	}
	select {
	case err = <-obeyed:
	default: // ctx ended first
	}
	return err
}

// pair is what a load generator turns.
type pair struct {
	ports     Ports
	telemetry []*telemetry.Telemetry
	volume    volume
}

// obey does what each line of input says.
func (p *pair) obey(ctx context.Context, input io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(input)
	for lines.Scan() {
		n, err := strconv.ParseUint(lines.Text(), 10, 16)
		if err == nil {
			err = p.turn(ctx, int(n))
		}
		if err == nil {
			_, err = fmt.Fprintln(out, n)
		}
		if err != nil {
			return fmt.Errorf("pair: %q: %w", lines.Text(), err)
		}
	}
	return lines.Err()
}

// turnTime is how long a ratio of traces counts, which is set for a while. It is
// longer than any turn.
const turnTime = time.Hour

// turn records n times the usual from now on. What was recorded before has been
// sent when it returns, so it is on the account of its own time.
func (p *pair) turn(ctx context.Context, n int) error {
	ratio := min(1, telemetry.Default().TraceRatio*float64(n))
	var errs []error
	for _, t := range p.telemetry {
		errs = append(errs, t.Sampling.Set("*", ratio, turnTime))
	}
	p.volume.Store(int64(n))
	for _, t := range p.telemetry {
		if spans, ok := t.TracerProvider().(interface{ ForceFlush(context.Context) error }); ok {
			errs = append(errs, spans.ForceFlush(ctx))
		}
	}
	return errors.Join(errs...)
}
