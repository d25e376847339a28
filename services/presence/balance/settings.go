package balance

import (
	"errors"
	"fmt"
	"time"
)

// Settings say when connections are moved, and how fast.
type Settings struct {
	LeastMoves     int           `conf:"least-moves" usage:"a plan of fewer moves is not worth it"`
	LeastShare     float64       `conf:"least-share" usage:"a plan that moves a smaller share of all connections is not worth it"`
	MovesPerSecond float64       `conf:"max-moves-per-second" usage:"most connections of the fleet that are moved in a second"`
	Arrivals       float64       `conf:"max-arrivals-per-second" usage:"most moved connections that one edge has to take in a second"`
	Budget         time.Duration `conf:"move-budget" usage:"time over which the moves of a plan are spread, unless the rates above make it longer"`
	SteerWait      time.Duration `conf:"steer-wait" usage:"how long weights are told before anybody is moved: twice HAProxy's agent-inter and a margin"`
	Settle         time.Duration `conf:"settle" usage:"how long nobody is moved after a drain"`
	ReturnWait     time.Duration `conf:"return-wait" usage:"how long a moved client may take to come back before it counts as gone"`
	HighCPU        float64       `conf:"high-cpu" usage:"share of its processors above which an edge gets fewer connections; 0 for never"`
	HighMemory     float64       `conf:"high-memory" usage:"share of its memory above which an edge gets fewer connections; 0 for never"`
}

// Default returns the settings of a fleet behind HAProxy with its defaults.
func Default() Settings {
	return Settings{
		LeastMoves: 50, LeastShare: 0.05,
		MovesPerSecond: 500, Arrivals: 250, Budget: 30 * time.Second,
		SteerWait: 5 * time.Second, Settle: 30 * time.Second, ReturnWait: 10 * time.Second,
		HighCPU: 0.85, HighMemory: 0.85,
	}
}

// Validate reports everything that is wrong with s.
func (s Settings) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(s.LeastMoves >= 1, "least-moves: must be at least 1, got %d", s.LeastMoves)
	check(s.LeastShare > 0 && s.LeastShare < 1, "least-share: must lie between 0 and 1, got %v", s.LeastShare)
	check(s.MovesPerSecond > 0, "max-moves-per-second: must be positive, got %v", s.MovesPerSecond)
	check(s.Arrivals > 0, "max-arrivals-per-second: must be positive, got %v", s.Arrivals)
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"move-budget", s.Budget}, {"steer-wait", s.SteerWait}, {"settle", s.Settle}, {"return-wait", s.ReturnWait}} {
		check(d.value > 0, "%s: must be positive, got %s", d.name, d.value)
	}
	check(s.HighCPU >= 0 && s.HighCPU <= 1, "high-cpu: must lie between 0 and 1, got %v", s.HighCPU)
	check(s.HighMemory >= 0 && s.HighMemory <= 1, "high-memory: must lie between 0 and 1, got %v", s.HighMemory)
	return errors.Join(errs...)
}
