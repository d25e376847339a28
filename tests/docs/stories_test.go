//go:build e2e

package docs

import "testing"

// story is what somebody does who reads one or more pages: blocks that are
// pasted one after the other.
type story struct {
	name   string
	blocks []ref // in the order in which they are pasted
	tell   func(*reader)
}

const readme = "README.md"

// stories run blocks as they are.
var stories = []story{
	{"getting started", gettingStarted(
		`make dev ARGS="--grpc 127.0.0.1:5000 --http`, "mkdir -p ../my-page", "curl http://127.0.0.1:5002/v1/publish",
		"bin/skein publish presence:garden", "bin/skein people list", "export SKEIN_LOG_LEVEL=error", "bin/skein members",
		"bin/skein drain e1\n", "bin/skein drain e1 --undo", "kill -9 %3", "kill %1",
	), startedFleet},
	{"a fleet by hand", []ref{
		{readme, "make build\nexport SKEIN_LOG_LEVEL"},
		{"docs/backends.md", "bin/skein publish room:1"},
		{"docs/runbook.md", ""}, // there is but one
		{readme, "bin/skein members"},
	}, fleetByHand},
	{"one process and the command line", []ref{{readme, `make dev ARGS="--grpc 127.0.0.1:5000"`}}, processAndCommands},
	{"one process and HTTP", []ref{{readme, `make dev ARGS="--http 127.0.0.1:5002"`}}, processAndHTTP},
	{"tokens", []ref{{"docs/backends.md", "bin/skein token key"}}, tokens},
	{"limits of a machine", []ref{{"docs/sizing.md", "ulimit -Hn"}}, pasteAll},
	{"simulated fleets", []ref{
		{"docs/rebalancing.md", "skein rebalance simulate --scenario add --plot"},
		{"docs/rebalancing.md", "skein rebalance simulate --scenario add --strategy half"},
		{"docs/rebalancing.md", "skein rebalance simulate --scenario roll --edges 6"},
		{"docs/rebalancing.md", "skein rebalance simulate --scenario roll-in-place"},
		{"docs/rebalancing.md", "skein rebalance simulate --scenario kill"},
		{"docs/rebalancing.md", "skein rebalance simulate --scenario blue-green"},
		{"docs/rebalancing.md", "skein rebalance simulate --clients 50000"},
	}, pasteAll},
}

func TestStories(t *testing.T) {
	blocks := read(t)
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			var own []block
			for _, r := range s.blocks {
				own = append(own, find(t, blocks, r))
			}
			reader := newReader(t, own)
			s.tell(reader)
			for _, b := range reader.blocks {
				t.Errorf("%s was not pasted", b)
			}
		})
	}
}

// pasteAll needs nothing around the commands.
func pasteAll(r *reader) {
	shell := r.open("shell")
	for len(r.blocks) > 0 {
		r.next(shell)
	}
}

func tokens(r *reader) {
	shell := r.open("shell")
	if written := r.next(shell); !contains(written, "room:*", "ada") {
		r.t.Errorf("the token is explained as\n%s", written)
	}
}

func processAndCommands(r *reader) {
	shell := r.open("shell")
	r.next(shell)
	shell.paste(r.t, `bin/skein publish room:1 message '{"text": "once more"}'`)
	r.hears("bin/skein tail", "once more")
	r.interrupt("bin/skein tail")
	r.interrupt("make dev")
}

func processAndHTTP(r *reader) {
	shell := r.open("shell")
	r.next(shell)
	shell.paste(r.t, `curl -sS --fail-with-body http://127.0.0.1:5002/v1/publish -d '{"topic": "room:1", "event": "message", "payload": {"text": "once more"}}'`)
	r.hears("curl -N", "once more")
	r.interrupt("curl -N")
	r.interrupt("make dev")
}

// fleetByHand starts the fleet of the README, on which other pages build, and
// breaks it.
func fleetByHand(r *reader) {
	fleet := r.open("fleet")
	r.next(fleet)
	r.until(fleet, "bin/skein doctor", "Nothing is wrong", "3 routers, 1 presence instance and 2 edges")
	r.until(fleet, "bin/skein people list room:1", "Nobody is online") // presence has heard of all edges
	r.next(fleet)
	if written := r.next(fleet); !contains(written, "room:lobby") {
		r.t.Errorf("topics that are traced: %s", written)
	}
	r.next(fleet)
	fleet.paste(r.t, "wait\n") // for all that was told to drain
}
