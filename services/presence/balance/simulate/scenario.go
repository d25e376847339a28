package simulate

import (
	"fmt"
	"slices"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// scenario is a list of things that happen one after the other.
type scenario func(w *world, s strategy) []event

// event is one thing that happens.
type event struct {
	what string // empty if nobody needs to know
	when func(w *world) bool
	do   func(w *world)
}

func scenarios() []named[scenario] {
	return []named[scenario]{
		{"level", "nothing happens: use it with --connections", asIs},
		{"add", "empty edges join", add},
		{"drain", "an edge drains and is gone for good", drainOne},
		{"roll", "rolling restart with a new version: --surge more edges start, then as many at a time restart, and the last of them stop", roll},
		{"roll-in-place", "rolling restart with a new version, --surge edges at a time, without any more", rollInPlace},
		{"kill", "an edge dies and is there again, empty, after 30 s", killOne},
		{"blue-green", "as many edges start in the group green, and a rollout moves everyone there", blueGreen},
		{"pressure", "processors and memory of an edge shrink to a half; it matters with a --load above 0.4", pressure},
		{"outage", "empty edges join; in the midst of the moves all presence instances are away for 10 s", outage},
		{"partition", "empty edges join; in the midst of the moves two presence instances plan for 20 s, one of which sees every second edge", partition},
		{"reload", "empty edges join; in the midst of the moves the balancers are reloaded", reload},
		{"kill-midway", "empty edges join; in the midst of the moves another edge dies, and is there again after 30 s", killMidway},
	}
}

// lull is how long a fleet runs before anything happens to it.
const lull = 10 * time.Second

// midway is how long after empty edges joined another thing goes wrong: the
// default settings are at moving then.
const midway = 25 * time.Second

func at(t time.Duration) func(*world) bool { return func(w *world) bool { return w.now >= t } }

func asIs(*world, strategy) []event {
	return []event{{"", at(0), func(w *world) { w.tally.minimum += surplus(w.serving()) }}}
}

func add(w *world, _ strategy) []event {
	return []event{{fmt.Sprintf("%d joined", w.options.Add), at(lull), join}}
}

// join adds the empty edges, which start at once.
func join(w *world) {
	w.strength += w.options.Add
	for range w.options.Add {
		w.join(fmt.Sprintf("edge-%d", len(w.edges)+1), "blue", "1").start()
	}
	w.tally.minimum += surplus(w.serving())
}

func drainOne(w *world, _ strategy) []event {
	first := w.edges[0]
	return []event{
		{first.id + " drains", at(lull), func(w *world) {
			w.tally.minimum += first.count
			w.strength--
			first.drain(w.now, &w.options.Operation)
		}},
		{"it is empty", func(*world) bool { return first.state == gone }, nothing},
	}
}

func nothing(*world) {}

func roll(w *world, _ strategy) []event {
	edges := w.edges
	return append([]event{{fmt.Sprintf("%d more", w.options.Surge), at(lull), func(w *world) {
		w.tally.minimum += connected(edges)
		for range min(w.options.Surge, len(edges)) {
			w.join(fmt.Sprintf("edge-%d", len(w.edges)+1), "blue", "2")
		}
	}}}, restarts(w, false)...)
}

func rollInPlace(w *world, _ strategy) []event {
	edges := w.edges
	need := event{"", at(lull), func(w *world) { w.tally.minimum += connected(edges) }}
	return append([]event{need}, restarts(w, true)...)
}

// restarts drains the edges of the start, some at a time, which then start with
// the new version; the last of them only if asked.
func restarts(w *world, last bool) []event {
	var events []event
	short := len(w.edges) % w.options.Surge // the first, so that the last frees as many as were added
	batches := slices.Collect(slices.Chunk(w.edges[short:], w.options.Surge))
	if short > 0 {
		batches = slices.Insert(batches, 0, w.edges[:short])
	}
	for _, batch := range batches {
		what := batch[0].id + " drains"
		if len(batch) > 1 {
			what = batch[0].id + " to " + batch[len(batch)-1].id + " drain"
		}
		events = append(events,
			event{what, rested(w.options.Pause), func(w *world) {
				for _, e := range batch {
					e.drain(w.now, &w.options.Operation)
				}
			}},
			event{"", func(*world) bool { return !slices.ContainsFunc(batch, func(e *edge) bool { return e.state != gone }) }, func(w *world) {
				for _, e := range batch {
					e.boot("2", w.now)
				}
			}})
	}
	if !last {
		events[len(events)-1].do = nothing
	}
	return events
}

// rested says whether every edge has been ready for so long.
func rested(pause time.Duration) func(w *world) bool {
	since := time.Duration(-1)
	return func(w *world) bool {
		if len(readyEdges(w)) < len(w.serving()) {
			since = -1
			return false
		}
		if since < 0 {
			since = w.now
		}
		return w.now >= since+pause
	}
}

func killOne(w *world, _ strategy) []event { return kill(w.edges[0], lull) }

func kill(e *edge, when time.Duration) []event {
	return []event{
		{e.id + " dies", at(when), func(w *world) {
			w.tally.minimum += e.count - surplus(w.serving()) // what was still to be moved is another number now
			w.strength--
			w.kill(e)
		}},
		{e.id + " is back", at(when + 30*time.Second), func(w *world) {
			e.boot("1", w.now)
			e.state = ready
			w.strength++
			w.tally.minimum += surplus(w.serving())
		}},
	}
}

func blueGreen(w *world, s strategy) []event {
	blue := w.edges
	return []event{
		{"green starts", at(lull), func(w *world) {
			w.tally.minimum += connected(blue)
			for i := range blue {
				w.join(fmt.Sprintf("green-%d", i+1), "green", "2")
			}
		}},
		{"rollout from blue to green", at(lull + w.options.Boot + time.Second), func(w *world) {
			if planned(s) != nil {
				w.orders = &presencev1.Orders{
					Seq: 1, Instance: "presence-1",
					Rollout: &presencev1.Rollout{From: "blue", To: "green", Rate: w.options.Rate},
				}
				return
			}
			for _, e := range blue {
				e.drain(w.now, &w.options.Operation)
			}
		}},
		{"blue is empty", func(*world) bool { return connected(blue) == 0 }, func(w *world) {
			for _, e := range blue {
				e.drain(w.now, &w.options.Operation)
			}
		}},
	}
}

func pressure(w *world, _ strategy) []event {
	first := w.edges[0]
	return []event{{first.id + " has half its processors and memory", at(lull), func(*world) { first.cost *= 2 }}}
}

func outage(w *world, s strategy) []event {
	return append(add(w, s), ifPlanned(s, 10*time.Second,
		event{what: "presence is away", do: func(*world) { planned(s).fail(0) }},
		event{what: "presence is back", do: func(*world) { planned(s).elect() }})...)
}

func partition(w *world, s strategy) []event {
	return append(add(w, s), ifPlanned(s, 20*time.Second,
		event{what: "presence is cut in two", do: func(*world) {
			planned(s).instances[0].blind = true
			planned(s).elect()
		}},
		event{what: "presence is one again", do: func(*world) {
			planned(s).fail(1)
			planned(s).instances[0].blind = false
		}})...)
}

// ifPlanned has two events midway, with a pause between them, if there is a
// planner that they could hit.
func ifPlanned(s strategy, pause time.Duration, first, second event) []event {
	if planned(s) == nil {
		return nil
	}
	first.when, second.when = at(lull+midway), at(lull+midway+pause)
	return []event{first, second}
}

// planned are the planners, if the strategy has any.
func planned(s strategy) *planners {
	p, _ := s.(*planners)
	return p
}

func reload(w *world, s strategy) []event {
	return append(add(w, s), event{"balancers are reloaded", at(lull + midway), func(w *world) {
		for _, b := range w.balancers {
			b.reload()
		}
	}})
}

func killMidway(w *world, s strategy) []event {
	return append(add(w, s), kill(w.edges[0], lull+midway)...)
}
