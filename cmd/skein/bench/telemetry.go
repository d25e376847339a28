package bench

import (
	"errors"
	"fmt"
	"time"
)

// TelemetryOptions publish to an edge and a router whose metrics and traces are
// turned off and on again and again.
type TelemetryOptions struct {
	Topics     int           `conf:"topics"     usage:"number of topics"`
	Sockets    int           `conf:"sockets"    usage:"subscribers of each topic"`
	Publishers int           `conf:"publishers" usage:"number of subscribers that publish; topics take turns"`
	Rate       float64       `conf:"rate"       usage:"messages each second over all publishers"`
	Payload    int           `conf:"payload"    usage:"size of a message's payload in bytes"`
	Rounds     int           `conf:"rounds"     usage:"how often each volume of telemetry has its turn; a multiple of 6 gives each the same places"`
	Turn       time.Duration `conf:"turn"       usage:"how long a turn takes"`
}

// DefaultTelemetry publishes 50 messages a second to a topic with 1,000
// subscribers for three and a half minutes.
func DefaultTelemetry() TelemetryOptions {
	f := DefaultFanout()
	return TelemetryOptions{
		Topics: f.Topics, Sockets: f.Sockets, Publishers: f.Publishers, Rate: f.Rate, Payload: f.Payload,
		Rounds: 18, Turn: 4 * time.Second, // spans are sent at its end: about as often as by default
	}
}

// fanout is the load.
func (o *TelemetryOptions) fanout(edge string, pid int) FanoutOptions {
	f := DefaultFanout()
	f.Topics, f.Sockets, f.Publishers, f.Rate, f.Payload = o.Topics, o.Sockets, o.Publishers, o.Rate, o.Payload
	f.Settle, f.Duration = o.warmUp(), o.duration()+slack // the load ends with the turns
	f.Edge, f.Pids = []string{edge}, []string{fmt.Sprintf("pair=%d", pid)}
	return f
}

const (
	maxTurns = 30 * time.Minute // the longest measurement
	slack    = 10 * time.Minute // for a machine on which turns end late
	patience = 30 * time.Second // for a delivery
)

// duration is how long all turns take.
func (o *TelemetryOptions) duration() time.Duration {
	return o.warmUp() + time.Duration(o.Rounds*int(volumes))*o.Turn
}

// Validate implements conf.Config.
func (o *TelemetryOptions) Validate() error {
	var p problems
	p.check(o.Rounds >= 6 && o.Rounds <= 1000, "rounds: %d is not between 6 and 1000", o.Rounds)
	p.check(o.Turn >= 10*time.Millisecond && o.Turn <= time.Minute, "turn: %s is not between 10ms and 1m", o.Turn)
	p.check(o.duration() <= maxTurns, "rounds: %d with turns of %s take longer than %s", o.Rounds, o.Turn, maxTurns)
	p.check(o.Rate > 0, "rate: %v is not positive", o.Rate)
	f := o.fanout("127.0.0.1:1", 1)
	return errors.Join(append(p, f.Validate())...)
}

// volume is how much telemetry there is in a turn.
type volume int

const (
	off       volume = iota
	usual            // all metrics, and as many traces as services record by default
	amplified        // many times that, which shows in the CPU what its noise hides
	volumes
)

// times is how often the usual is recorded.
func (v volume) times() int { return [volumes]int{0, 1, 20}[v] }

// orders are those in which volumes can take turns, one a round. Every volume
// comes as often after each, itself too, when they are repeated: what a turn leaves
// behind, such as garbage, is on the account of all.
func orders() [][volumes]volume {
	return [][volumes]volume{
		{off, usual, amplified}, {amplified, usual, off}, {off, amplified, usual},
		{usual, off, amplified}, {amplified, off, usual}, {usual, amplified, off},
	}
}

// scrapeEvery is how often Prometheus collects metrics by default.
const scrapeEvery = 15 * time.Second

// scrapes is how often metrics are to be collected in the nth turn.
func (v volume) scrapes(nth int, turn time.Duration) int {
	until := func(turns int) int { return int(time.Duration(v.times()*turns) * turn / scrapeEvery) }
	return until(nth+1) - until(nth)
}

// warmUp is how long the load lasts before the first turn.
func (o *TelemetryOptions) warmUp() time.Duration { return 2 * o.Turn }

// plan is which volume has each turn.
func (o *TelemetryOptions) plan() []volume {
	var plan []volume
	for round, all := 0, orders(); round < o.Rounds; round++ {
		plan = append(plan, all[round%len(all)][:]...)
	}
	return plan
}

// PairCommand are the arguments with which a program must call [pair.Serve],
// so that it can be its own child.
func PairCommand(otlp string) []string { return []string{"bench", "pair-server", "--otlp", otlp} }
