// Package simulate runs a fleet of edges, its balancers and all its clients in
// virtual time, to show what levelling costs: with the real planner of package
// balance, and with simpler rules beside it.
//
// It is pure: the same options and seed give the same run. Time goes in steps of
// 100 ms, within which a stock Phoenix client comes back, because it waits for 11
// ms only. Edges report, follow hints and drain as real ones do; balancers know
// of an edge only what its agent said when they asked last.
package simulate

import (
	"context"
	"time"
)

// Progress tells how far a run is: virtual time, and what happened last.
type Progress func(now time.Duration, last string)

// Run simulates what o says until nothing more is to come or ctx ends, whose error
// it returns then. Options that are not valid are an error too. Progress, if not nil, is called each
// virtual second.
func Run(ctx context.Context, o Options, progress Progress) (*Result, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	w, err := newWorld(o)
	if err != nil {
		return nil, err
	}
	s := choose(strategies(), o.Strategy)(o)
	if err := play(ctx, w, s, progress); err != nil {
		return nil, err
	}
	return w.result(s), nil
}

// play runs the scenario until nothing more is to come.
func play(ctx context.Context, w *world, s strategy, progress Progress) error {
	o := &w.options
	events := choose(scenarios(), o.Scenario)(w, s)
	for w.now < o.Limit {
		if len(events) > 0 && events[0].when(w) {
			events[0].do(w)
			w.tally.happen(w.now, events[0].what)
			events = events[1:]
		}
		w.advance()
		if w.now%time.Second != 0 {
			continue
		}
		s.step(w)
		if err := ctx.Err(); err != nil {
			return err
		}
		if progress != nil {
			progress(w.now, w.tally.last())
		}
		if len(events) == 0 && w.now >= max(w.tally.lastEvent, w.tally.lastClosed)+o.quiet() {
			break
		}
	}
	return nil
}

// quiet is how long nothing was closed when a run is over: longer than whatever a
// planner waits for.
func (o *Options) quiet() time.Duration {
	quiet := time.Minute + o.Settle + o.SteerWait + o.ReturnWait
	if o.Coming > 0 || o.Leaving > 0 || o.Hidden > 0 {
		return max(quiet, 5*time.Minute)
	}
	return quiet
}

// Choice is a value of an option, with what it means.
type Choice struct{ Name, About string }

// Scenarios are the values of [Options.Scenario].
func Scenarios() []Choice { return choices(scenarios()) }

// Strategies are the values of [Options.Strategy].
func Strategies() []Choice { return choices(strategies()) }

// Policies are the values of [Options.Policy].
func Policies() []Choice { return choices(policies()) }

func choices[T any](all []named[T]) []Choice {
	var found []Choice
	for _, n := range all {
		found = append(found, Choice{n.name, n.about})
	}
	return found
}
