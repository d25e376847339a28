package simulate

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skein-mesh/skein/services/presence/balance"
)

// Options say what is simulated.
type Options struct {
	Scenario string `conf:"scenario" usage:"what happens to the fleet; the help lists them"`
	Strategy string `conf:"strategy" usage:"who decides which connections are moved; the help lists them"`
	Policy   string `conf:"policy"   usage:"how balancers choose an edge; the help lists them"`
	Fleet
	Operation
	Traffic
	Balancers
	Seed  uint64        `conf:"seed"  usage:"runs with the same seed and options are the same"`
	Limit time.Duration `conf:"limit" usage:"longest time to simulate; a run ends before, when nothing more is to come"`
	balance.Settings
}

// Fleet is what there is as a run begins.
type Fleet struct {
	Edges       int      `conf:"edges"       usage:"edges at the start"`
	Clients     int      `conf:"clients"     usage:"clients of each edge at the start"`
	Add         int      `conf:"add"         usage:"empty edges that join, in scenarios that add some"`
	Connections []string `conf:"connections" usage:"clients of each edge at the start, if they differ: 45000,27000,0; edges and clients are not looked at then"`
	Capacity    []string `conf:"capacity"    usage:"capacity of each edge in percent; the last value is that of all further ones"`
}

// Operation is how edges start and stop.
type Operation struct {
	DrainDelay  time.Duration `conf:"drain-delay"  usage:"how long an edge that drains goes on, so that balancers notice first"`
	DrainSpread time.Duration `conf:"drain-spread" usage:"most time over which an edge that drains spreads its closes; 10 ms for each client if that is less"`
	Boot        time.Duration `conf:"boot"         usage:"how long an edge takes to start"`
	Surge       int           `conf:"surge"        usage:"edges that a rolling restart starts before it stops any, and that it restarts at a time"`
	Pause       time.Duration `conf:"pause"        usage:"pause between two steps of a rolling restart"`
	Load        float64       `conf:"load"         usage:"share of its processors and memory that an average edge uses at the start; connections cost all of it"`
	Rate        float64       `conf:"rate"         usage:"connections in a second that a rollout moves"`
}

// Traffic is what clients do.
type Traffic struct {
	Coming     float64       `conf:"arrivals"    usage:"new clients in a second"`
	Leaving    float64       `conf:"departures"  usage:"clients that leave in a second"`
	Hidden     float64       `conf:"hidden"      usage:"share of the clients whose tab is hidden: they do not come back before it is shown"`
	ShownAfter time.Duration `conf:"shown-after" usage:"mean time until a hidden tab is shown again; 0 for never"`
}

// Balancers is what stands before the edges.
type Balancers struct {
	Count      int           `conf:"balancers"   usage:"balancers, between which clients choose at random"`
	AgentInter time.Duration `conf:"agent-inter" usage:"time between two questions of a balancer to the agent of an edge"`
}

// Default returns the options of four edges of 10,000 clients behind HAProxy, to
// which an empty one is added.
func Default() Options {
	return Options{
		Scenario: "add", Strategy: "skein", Policy: "roundrobin",
		Fleet:     Fleet{Edges: 4, Clients: 10_000, Add: 1},
		Operation: Operation{DrainDelay: 5 * time.Second, DrainSpread: 20 * time.Second, Boot: 3 * time.Second, Surge: 1, Pause: 10 * time.Second, Load: 0.4, Rate: 500},
		Traffic:   Traffic{ShownAfter: 5 * time.Minute},
		Balancers: Balancers{Count: 1, AgentInter: 2 * time.Second},
		Seed:      1, Limit: 2 * time.Hour,
		Settings: balance.Default(),
	}
}

// Bounds of a run, so that it ends in minutes and fits in memory.
const (
	maxEdges   = 500
	maxClients = 5_000_000
	maxLimit   = 48 * time.Hour
)

// Validate reports everything that is wrong with o.
func (o *Options) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	choose := func(what, given string, names []string) {
		check(slices.Contains(names, given), "%s: %q is none of %s", what, given, strings.Join(names, ", "))
	}
	choose("scenario", o.Scenario, namesOf(scenarios()))
	choose("strategy", o.Strategy, namesOf(strategies()))
	choose("policy", o.Policy, namesOf(policies()))
	check(o.Limit >= time.Minute && o.Limit <= maxLimit, "limit: must lie between 1m and %s, got %s", maxLimit, o.Limit)
	o.Fleet.validate(check)
	o.Operation.validate(check)
	o.Traffic.validate(check)
	check(o.Count >= 1 && o.Count <= 100, "balancers: must lie between 1 and 100, got %d", o.Count)
	check(o.AgentInter >= step && o.AgentInter <= time.Hour, "agent-inter: must lie between %s and 1h, got %s", step, o.AgentInter)
	return errors.Join(append(errs, o.Settings.Validate())...)
}

type checker func(ok bool, format string, args ...any)

func (f *Fleet) validate(check checker) {
	counts, err := f.counts()
	check(err == nil, "connections: %v", err)
	total := 0
	for _, n := range counts {
		total += min(n, maxClients+1)
	}
	check(err != nil || len(counts) >= 1 && len(counts) <= maxEdges, "edges: must be between 1 and %d, got %d", maxEdges, len(counts))
	check(f.Clients >= 0 && total <= maxClients, "clients: a run can have %d of them at most", maxClients)
	check(f.Add >= 1 && f.Add <= maxEdges, "add: must lie between 1 and %d, got %d", maxEdges, f.Add)
	_, err = numbers(f.Capacity, 1, 1000)
	check(err == nil, "capacity: %v", err)
}

// counts are the clients of each edge at the start.
func (f *Fleet) counts() ([]int, error) {
	if len(f.Connections) > 0 {
		return numbers(f.Connections, 0, maxClients)
	}
	return slices.Repeat([]int{f.Clients}, min(max(f.Edges, 0), maxEdges+1)), nil
}

// capacities are those of the first n edges, in percent.
func (f *Fleet) capacities(n int) []int {
	given, err := numbers(f.Capacity, 1, 1000)
	if err != nil || len(given) == 0 {
		given = []int{100}
	}
	for len(given) < n {
		given = append(given, given[len(given)-1])
	}
	return given
}

func numbers(texts []string, least, most int) ([]int, error) {
	var all []int
	for _, text := range texts {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < least || n > most {
			return nil, fmt.Errorf("%q is not a whole number between %d and %d", text, least, most)
		}
		all = append(all, n)
	}
	return all, nil
}

func (e *Operation) validate(check checker) {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"drain-delay", e.DrainDelay}, {"drain-spread", e.DrainSpread}, {"boot", e.Boot}, {"pause", e.Pause}} {
		check(d.value >= 0 && d.value <= time.Hour, "%s: must lie between 0s and 1h, got %s", d.name, d.value)
	}
	check(e.Surge >= 1 && e.Surge <= maxEdges, "surge: must lie between 1 and %d, got %d", maxEdges, e.Surge)
	check(e.Load >= 0 && e.Load <= 1, "load: must lie between 0 and 1, got %v", e.Load)
	check(e.Rate > 0, "rate: must be positive, got %v", e.Rate)
}

func (t *Traffic) validate(check checker) {
	check(t.Coming >= 0 && t.Coming <= 10_000, "arrivals: must lie between 0 and 10000, got %v", t.Coming)
	check(t.Leaving >= 0 && t.Leaving <= 10_000, "departures: must lie between 0 and 10000, got %v", t.Leaving)
	check(t.Hidden >= 0 && t.Hidden <= 1, "hidden: must lie between 0 and 1, got %v", t.Hidden)
	check(t.ShownAfter >= 0, "shown-after: must not be negative, got %s", t.ShownAfter)
}
