package bench

import (
	"fmt"
	"io"
)

// Print writes a report for people.
func (r *Report) Print(w io.Writer) {
	if r.Floor != nil {
		fmt.Fprintln(w, "FLOOR: a bare epoll server")
		r.Floor.print(w)
		fmt.Fprintln(w, "\nTARGET")
	}
	r.Target.print(w)
	if x := r.Ratios; x != nil {
		fmt.Fprintln(w, "\nTARGET / FLOOR")
		ratio := func(what string, v float64) {
			if v > 0 {
				fmt.Fprintf(w, "  %-22s %.2f\n", what, v)
			}
		}
		ratio("cpu per "+r.Target.Operation, x.CPU)
		ratio("memory per socket", x.Memory)
		ratio("deliveries per second", x.Rate)
	}
}

func (r *Result) print(w io.Writer) {
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %-12s "+format+"\n", append([]any{what}, args...)...)
	}
	r.Connect.print(line, "connect")
	r.Join.print(line, "join")
	if f := r.Fanout; f != nil {
		line("published", "%d accepted, %d refused, %d unanswered: %.0f/s", f.Published, f.Refused, f.Unanswered, f.PublishedPerSecond)
		line("delivered", "%d of %d in %.1f s: %.0f/s", f.Delivered, f.Expected, f.Seconds, f.DeliveriesPerSecond)
		line("", "%d lost, %d duplicated, %d out of order, %d foreign", f.Lost, f.Duplicated, f.OutOfOrder, f.Foreign)
		line("latency", "%s", f.Latency)
		line("acknowledged", "%s", f.Acknowledged)
	}
	r.People.print(line)
	r.Telemetry.print(line)
	line("sockets", "%d open, %d closed by the server", r.Sockets, r.Closed)
	for _, p := range append(r.Processes, r.Client) {
		if p.Ended {
			line(p.Name, "ended during the run")
			continue
		}
		text := fmt.Sprintf("%8.2f s CPU  %8.2f us per %s  %7.1f MiB RSS", p.CPUSeconds, p.CPUMicrosPerOperation, r.Operation, float64(p.RSSBytes)/(1<<20))
		if p.BytesPerSocket != 0 && r.Fanout == nil {
			text += fmt.Sprintf("  %6.2f KB per socket", p.BytesPerSocket/1000)
		}
		line(p.Name, "%s", text)
	}
	if r.Problem != "" {
		line("PROBLEM", "%s", r.Problem)
	}
}

func (p *Phase) print(line func(what, format string, args ...any), what string) {
	if p == nil {
		return
	}
	line(what, "%d in %.2f s: %.0f/s, %d failed", p.Count, p.Seconds, p.PerSecond, p.Failed)
	line("", "%s", p.Latency)
}

func (p *Crowd) print(line func(what, format string, args ...any)) {
	if p == nil {
		return
	}
	line("people", "%d in %d topics; %d lists followed, %d incomplete", p.People, p.Topics, p.Lists, p.Incomplete)
	line("complete", "after %.2f s", p.CompleteSeconds)
	line("held", "%.1f s: %d calls of onJoin and onLeave; in all %d spurious joins, %d spurious leaves", p.HeldSeconds, p.HeldCalls, p.SpuriousJoins, p.SpuriousLeaves)
	line("emptied", "after %.2f s, %d lists with ghosts", p.EmptySeconds, p.Ghosts)
	line("received", "%d frames, %.1f MB: %.2f KB per client, %.2f KB of it while held",
		p.Frames, float64(p.Bytes)/1e6, p.BytesPerClient/1000, p.HeldBytesPerClient/1000)
}

// String is the quantiles in one line.
func (l Latency) String() string {
	return fmt.Sprintf("p50 %.2f  p90 %.2f  p99 %.2f  max %.2f ms", l.P50, l.P90, l.P99, l.Max)
}
