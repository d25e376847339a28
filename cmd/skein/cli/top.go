package cli

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/skein-mesh/skein/cmd/skein/top"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// membersEvery is how often top asks the routers whether they agree.
const membersEvery = 2 * time.Second

func (a *app) topCommand() *cobra.Command {
	once, interval := false, time.Second
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch the fleet live: connections, load and message rates of every edge",
		Long: "Shows every edge with its connections, load and message rates, as presence counts them, the weight that\n" +
			"it tells balancers, the members of the fleet and what the planner does. Prints lines when its output is no terminal.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case a.common.json():
				return a.fleetJSON(cmd.Context())
			case once:
				ctx, cancel := context.WithTimeout(cmd.Context(), max(a.common.Timeout, 3*interval))
				defer cancel()
				return top.Plain(ctx, a.feed(interval), a.Stdout, true)
			case !terminal(a.Stdout) || !terminal(a.Stdin):
				return top.Plain(cmd.Context(), a.feed(interval), a.Stdout, false)
			}
			return top.Live(cmd.Context(), a.feed(interval), a.Stdin, a.Stdout)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "print the fleet once and end")
	cmd.Flags().DurationVar(&interval, "interval", interval, "time between two samples")
	return cmd
}

func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}

// fleetJSON prints what presence says, once.
func (a *app) fleetJSON(ctx context.Context) error {
	conn, err := a.presence(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // done with it
	ctx, cancel := a.question(ctx)
	defer cancel()
	resp, err := presencev1.NewFleetServiceClient(conn).List(ctx, &presencev1.ListRequest{})
	if err != nil {
		return fmt.Errorf("ask %s for the fleet: %w", conn.Target(), plain(err))
	}
	text, err := protojson.MarshalOptions{Multiline: true, UseProtoNames: true, EmitUnpopulated: true}.Marshal(resp.GetFleet())
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	_, err = fmt.Fprintln(a.Stdout, string(text))
	return err
}

// feed shows fleet and members as they change. A lost connection is shown and
// made again; only one that never worked is an error.
func (a *app) feed(interval time.Duration) top.Feed {
	return func(ctx context.Context, show func(top.Sample)) error {
		var mu sync.Mutex
		serial := func(s top.Sample) {
			mu.Lock()
			defer mu.Unlock()
			show(s)
		}
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return a.watchFleet(ctx, interval, serial) })
		a.watchMembers(ctx, serial)
		return group.Wait()
	}
}

func (a *app) watchFleet(ctx context.Context, interval time.Duration, show func(top.Sample)) error {
	for worked := false; ; {
		err := a.watchOnce(ctx, interval, func(s top.Sample) { worked = true; show(s) })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !worked {
			return err
		}
		show(top.Sample{Problem: "presence does not answer: " + err.Error()})
		if pause(ctx, time.Second) != nil {
			return ctx.Err()
		}
	}
}

// watchOnce follows one presence instance until it ends the stream.
func (a *app) watchOnce(ctx context.Context, interval time.Duration, show func(top.Sample)) error {
	conn, err := a.presence(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()                                                               //nolint:errcheck // done with it
	request := &presencev1.WatchRequest{IntervalMs: uint32(interval.Milliseconds())} //nolint:gosec // a few seconds
	stream, err := presencev1.NewFleetServiceClient(conn).Watch(ctx, request)
	if err != nil {
		return fmt.Errorf("watch the fleet: %w", plain(err))
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("watch the fleet: %w", plain(err))
		}
		show(top.Sample{Fleet: resp.GetFleet()})
	}
}

// watchMembers asks the routers, and the planner, from time to time. The view works
// without them.
func (a *app) watchMembers(ctx context.Context, show func(top.Sample)) {
	for {
		sample := top.Sample{Members: []top.Member{}, Phase: a.phase(ctx)}
		if f, err := a.fleet(ctx); err == nil {
			sample.Agreement = f.agreement()
			for _, m := range f.Routers {
				sample.Members = append(sample.Members, top.Member{Role: "routers", ID: m.ID, State: m.State})
			}
			for _, m := range f.Presence {
				sample.Members = append(sample.Members, top.Member{Role: "presence", ID: m.ID, State: m.State})
			}
		}
		show(sample)
		if pause(ctx, membersEvery) != nil {
			return
		}
	}
}

// phase asks what the planner does. The view works without it.
func (a *app) phase(ctx context.Context) string {
	phase := ""
	_ = a.withFleet(ctx, func(c fleetClient) error { // the fleet itself says if presence is away
		s, err := a.status(ctx, c)
		if err == nil {
			phase = words(s.GetPhase(), "PHASE_")
		}
		return err
	})
	return phase
}

// pause waits, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
