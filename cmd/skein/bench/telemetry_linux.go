package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Telemetry measures what an edge and a router spend on metrics and traces for each delivery.
func Telemetry(ctx context.Context, o TelemetryOptions) (*Report, error) {
	spans, err := startCollector(ctx)
	if err != nil {
		return nil, err
	}
	defer spans.stop()
	child, err := startPair(ctx, spans.url)
	if err != nil {
		return nil, err
	}
	result, err := alternate(ctx, o, child)
	if err := errors.Join(err, child.stop()); err != nil {
		return nil, err
	}
	result.Telemetry.Spans = spans.spans.Load()
	return &Report{Scenario: "telemetry", Target: result}, nil
}

// alternate publishes to a pair while the volumes take turns.
func alternate(ctx context.Context, o TelemetryOptions, child *pairChild) (*Result, error) {
	load := o.fanout(child.ports.Edge, child.pid)
	r, result, err := subscribe(ctx, load)
	if err != nil {
		return nil, err
	}
	defer r.loop.close()
	t := &turns{options: o, child: child, delivered: r.fanout.soFar.Load}
	var failed error
	r.alongside = func(ctx context.Context) { failed = t.run(ctx) }
	err = r.publish(ctx, load, result, nil)
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	result.Telemetry = overhead(t.costs, o.Turn)
	return result, nil
}

// turns gives each volume its turn, in each round.
type turns struct {
	options   TelemetryOptions
	child     *pairChild
	delivered func() int64
	costs     [volumes][]float64 // see [Overhead]
}

// reading is what the pair had done at a moment.
type reading struct {
	cpu        time.Duration
	deliveries int64
}

// since is the CPU of a delivery since an earlier reading, in microseconds.
func (r reading) since(before reading) float64 {
	return float64((r.cpu - before.cpu).Nanoseconds()) / 1000 / float64(r.deliveries-before.deliveries)
}

// run returns after the last round, and the load ends with it.
func (t *turns) run(ctx context.Context) error {
	plan := t.options.plan()
	due := time.Now().Add(t.options.warmUp())
	sleep(ctx, time.Until(due))
	before, err := t.end(ctx)
	if err != nil {
		return err
	}
	for i, v := range plan {
		if err := t.child.turn(v.times()); err != nil {
			return err
		}
		for range v.scrapes(i/int(volumes), t.options.Turn) {
			if err := t.child.scrape(ctx); err != nil {
				return err
			}
		}
		due = due.Add(t.options.Turn)
		sleep(ctx, time.Until(due))
		if err := t.await(ctx, before); err != nil {
			return err
		}
		now, err := t.end(ctx)
		if err != nil {
			return err
		}
		t.costs[v] = append(t.costs[v], now.since(before))
		before = now
	}
	return nil
}

// await waits for a delivery since a reading: without one there is nothing to
// divide by.
func (t *turns) await(ctx context.Context, before reading) error {
	for end := time.Now().Add(patience); t.delivered() == before.deliveries; sleep(ctx, time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("nothing was delivered in %s", patience)
		}
	}
	return nil
}

// end has the pair send the spans of a turn, and reads once that has passed: while
// it is busy with them, deliveries are late.
func (t *turns) end(ctx context.Context) (reading, error) {
	if err := t.child.turn(0); err != nil {
		return reading{}, err
	}
	sleep(ctx, t.options.Turn/50)
	if err := ctx.Err(); err != nil {
		return reading{}, err
	}
	cpu, err := cpuTime(t.child.pid)
	return reading{cpu, t.delivered()}, err
}
