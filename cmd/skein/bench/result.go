package bench

import (
	"cmp"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is the outcome of one command: the target, and the floor if it was
// asked for.
type Report struct {
	Scenario string  `json:"scenario"`
	Floor    *Result `json:"floor,omitempty"`
	Target   *Result `json:"target"`
	Ratios   *Ratios `json:"ratios,omitempty"`
}

// Ratios compare the target with the floor: 1.15 is 15 % more.
type Ratios struct {
	CPU    float64 `json:"cpu_per_operation,omitempty"`
	Memory float64 `json:"bytes_per_socket,omitempty"`
	Rate   float64 `json:"deliveries_per_second,omitempty"`
}

// Result is what was measured against one target.
type Result struct {
	Sockets   int       `json:"sockets"` // open at the end
	Connect   *Phase    `json:"connect,omitempty"`
	Join      *Phase    `json:"join,omitempty"`
	Fanout    *Fanout   `json:"fanout,omitempty"`
	People    *Crowd    `json:"people,omitempty"`
	Telemetry *Overhead `json:"telemetry,omitempty"`
	Closed    int       `json:"closed"` // sockets that the server ended
	Problem   string    `json:"problem,omitempty"`
	Operation string    `json:"operation"` // what CPU is divided by
	Processes []Process `json:"processes"`
	Client    Process   `json:"client"` // this load generator
}

// Phase is a number of like steps.
type Phase struct {
	Count     int     `json:"count"`
	Failed    int     `json:"failed"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
	Latency   Latency `json:"latency_ms"`
}

// Fanout is what became of published messages.
type Fanout struct {
	Published           int     `json:"published"` // accepted by the fleet
	Refused             int     `json:"refused"`
	Unanswered          int     `json:"unanswered"`
	Seconds             float64 `json:"seconds"` // from the first message to the last delivery
	PublishedPerSecond  float64 `json:"published_per_second"`
	Expected            int     `json:"expected"` // deliveries
	Delivered           int     `json:"delivered"`
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	Lost                int     `json:"lost"`
	Duplicated          int     `json:"duplicated"`
	OutOfOrder          int     `json:"out_of_order"`
	Foreign             int     `json:"foreign"` // of topics or publishers that were not asked for
	Latency             Latency `json:"latency_ms"`
	Acknowledged        Latency `json:"acknowledged_ms"`
}

// Crowd is what the lists of who is online said.
type Crowd struct {
	People             int     `json:"people"`
	Topics             int     `json:"topics"`
	Lists              int     `json:"lists"`            // that were followed
	Incomplete         int     `json:"incomplete"`       // lists that somebody was missing from when patience ended
	CompleteSeconds    float64 `json:"complete_seconds"` // from the first join until every list had everybody
	HeldSeconds        float64 `json:"held_seconds"`
	HeldCalls          int     `json:"held_calls"`      // of onJoin and onLeave in this time
	SpuriousJoins      int     `json:"spurious_joins"`  // calls of onJoin, at any time, for those who were there before
	SpuriousLeaves     int     `json:"spurious_leaves"` // calls of onLeave, at any time, for those who stayed
	EmptySeconds       float64 `json:"empty_seconds"`   // from the first leave until no list had those who left
	Ghosts             int     `json:"ghosts"`          // lists that still had some when patience ended
	Frames             int     `json:"frames"`          // received by all before they left
	Bytes              int     `json:"bytes"`           // of these, with their headers
	BytesPerClient     float64 `json:"bytes_per_client"`
	HeldBytesPerClient float64 `json:"bytes_per_client_held"` // of these, after the lists were complete
}

// Process is what a process used during the measured part.
type Process struct {
	Name                  string  `json:"name"`
	PID                   int     `json:"pid"`
	Ended                 bool    `json:"ended,omitempty"` // before it could be measured again
	CPUSeconds            float64 `json:"cpu_seconds"`
	CPUMicrosPerOperation float64 `json:"cpu_us_per_operation"`
	RSSBytes              uint64  `json:"rss_bytes"`
	BytesPerSocket        float64 `json:"bytes_per_socket,omitempty"`
}

// Latency are quantiles in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func quantiles(h *hdrhistogram.Histogram) Latency {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	return Latency{ms(h.ValueAtQuantile(50)), ms(h.ValueAtQuantile(90)), ms(h.ValueAtQuantile(99)), ms(h.Max())}
}

// phase counts like steps while they happen.
type phase struct {
	began   time.Time
	done    int
	failed  int
	latency *hdrhistogram.Histogram
}

func startPhase() *phase { return &phase{began: time.Now(), latency: newHistogram()} }

func (p *phase) result(ended time.Time) *Phase {
	took := ended.Sub(p.began).Seconds()
	return &Phase{p.done, p.failed, took, perSecond(p.done, took), quantiles(p.latency)}
}

func perSecond(n int, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(n) / seconds
}

// sum adds the CPU and memory of all processes.
func (r *Result) sum() (cpu, memory float64) {
	for _, p := range r.Processes {
		cpu += p.CPUMicrosPerOperation
		memory += p.BytesPerSocket
	}
	return cpu, memory
}

// compare is nil when there is nothing to compare.
func compare(target, floor *Result) *Ratios {
	if floor == nil {
		return nil
	}
	over := func(a, b float64) float64 {
		if b <= 0 {
			return 0
		}
		return a / b
	}
	var r Ratios
	cpu, memory := target.sum()
	floorCPU, floorMemory := floor.sum()
	r.CPU = over(cpu, floorCPU)
	if target.Fanout != nil && floor.Fanout != nil {
		r.Rate = over(target.Fanout.DeliveriesPerSecond, floor.Fanout.DeliveriesPerSecond)
	} else {
		r.Memory = over(memory, floorMemory) // messages on their way would blur it
	}
	return &r
}

// Failed says in a few words what went wrong in a run, or nothing.
func (r *Report) Failed() string {
	t := r.Target
	return cmp.Or(t.Problem, t.Fanout.problem(), t.People.problem())
}

func (f *Fanout) problem() string {
	switch {
	case f == nil:
		return ""
	case f.Published == 0:
		return "no message was accepted"
	case f.Lost > 0 || f.Duplicated > 0 || f.OutOfOrder > 0 || f.Foreign > 0:
		return "messages were lost, duplicated, out of order or foreign"
	}
	return ""
}

func (p *Crowd) problem() string {
	switch {
	case p == nil:
		return ""
	case p.Incomplete > 0:
		return fmt.Sprintf("%d of %d lists were not complete in time; a topic may list fewer people than it has (presence_max_listed)", p.Incomplete, p.Lists)
	case p.SpuriousJoins > 0 || p.SpuriousLeaves > 0:
		return "people who stayed were said to join or leave"
	case p.Ghosts > 0:
		return fmt.Sprintf("%d of %d lists still have people who left", p.Ghosts, p.Lists)
	}
	return ""
}
