//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

// How long a handler may take that never answers, another that may be slow only
// because the machine is, and how much later than that everything is answered.
const (
	handlerTimeout = time.Second
	noTimeout      = time.Minute
	moment         = 9 * time.Second
)

const anyPort = "127.0.0.1:0"

// startHandled starts 2 routers and an edge with namespaces: plain:* is relayed,
// KIND:* is decided by the handler of that kind, and KIND:in:* may be joined
// without it. The edge gets the flags.
func startHandled(t *testing.T, handlers map[string]string, edgeFlags ...string) *fleet {
	t.Helper()
	var text strings.Builder
	text.WriteString("namespaces:\n  - topics: plain:*\n")
	for kind, address := range handlers {
		timeout := noTimeout
		if kind == "slow" {
			timeout = handlerTimeout
		}
		for topics, join := range map[string]string{kind + ":*": "handler", kind + ":in:*": "open"} {
			fmt.Fprintf(&text, "  - {topics: %q, join: %s, push: handler, handler: %q, timeout: %s}\n", topics, join, address, timeout)
		}
	}
	path := filepath.Join(t.TempDir(), "skein.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	config := []string{"--config", path}
	return plan{routers: 2, edges: 1, routerFlags: config, edgeFlags: append(edgeFlags, config...)}.start(t)
}

// harass has pests bother their handlers while the streams run, until each had
// enough, and checks that all sockets stay.
func harass(t *testing.T, pests []*pest, streams []*stream) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var first, all sync.WaitGroup
	first.Add(len(pests) + len(streams))
	for _, p := range pests {
		all.Go(func() { p.bother(ctx, t, first.Done) })
	}
	for _, s := range streams {
		all.Go(func() { s.run(ctx, t, first.Done) })
	}
	within(t, 3*moment, "everybody has enough answers", first.Wait)
	stop()
	all.Wait()
	for _, p := range pests {
		t.Logf("%s: %d calls fail", p.name, p.refused)
		p.stays(t, p.name)
	}
	for _, s := range streams {
		s.stays(t, s.topic)
	}
}

func TestHandlersThatFailHarmNobodyElse(t *testing.T) {
	down := process.Addresses(t, 1)[0]
	f := startHandled(t, map[string]string{
		"slow": serveHandler(t, anyPort, stuck{}), "garbage": serveHandler(t, anyPort, &garbled{}), "down": down,
		"good": serveHandler(t, anyPort, newHealthy()),
	}, "--handler-calls", fmt.Sprint(pushedTopics/2))
	e := f.edges[0]
	var slow, garbage, refused []*pest
	for _, n := range []string{"1", "2", "3"} {
		slow = append(slow, newPest(t, e, "slow:"+n, saidTimeout, saidTimeout))
		garbage = append(garbage, newPest(t, e, "garbage:"+n, saidJoinCrashed, saidCrashed))
		refused = append(refused, newPest(t, e, "down:"+n, saidUnavailable, saidUnavailable))
	}
	// One has pushes under way all the time, more than the edge lets through.
	slow = append(slow, newPest(t, e, "slow:4", "", saidTimeout))
	good, plain := newStream(t, e, "good:1", true), newStream(t, e, "plain:1", false)

	harass(t, slices.Concat(slow, garbage, refused), []*stream{good, plain})
	if !slices.ContainsFunc(slow, func(p *pest) bool { return p.calm > 0 }) {
		t.Error("no heartbeat is answered before pushes to a slow handler are")
	}
	if t.Failed() {
		return
	}
	serveHandler(t, down, newHealthy())
	for _, p := range refused {
		p.recovers(t)
	}
	harass(t, slices.Concat(slow, garbage), nil)
}

func TestAKilledRouterCostsAnswersNotSockets(t *testing.T) {
	handler := newHealthy()
	f := startHandled(t, map[string]string{"good": serveHandler(t, anyPort, handler)})
	victim := f.routers[1]
	var askers []*asker
	var topics [][]string // of each
	for n := range 4 {
		a, own := newAsker(t, f.edges[0]), []string(nil)
		for _, r := range f.routers {
			own = append(own, f.ownedBy(t, r, fmt.Sprintf("good:%d", n), 3)...)
			own = append(own, f.ownedBy(t, r, fmt.Sprintf("plain:%d", n), 3)...)
		}
		a.must(t, "phx_join", own)
		askers, topics = append(askers, a), append(topics, own)
	}

	// The first one's calls are under way for certain, the others' come and go.
	first := slices.DeleteFunc(slices.Clone(topics[0]), func(topic string) bool { return !strings.HasPrefix(topic, "good:") })
	if err := askers[0].say("hold", first...); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var busy sync.WaitGroup
	for i, a := range askers[1:] {
		busy.Go(func() { a.keepTrying(ctx, t, topics[i+1]) })
	}
	within(t, moment, "all calls are under way", func() {
		for range first {
			<-handler.held
		}
	})
	victim.Kill(t)
	close(handler.letGo)
	heard, err := askers[0].hear(first...)
	if err != nil {
		t.Error(err)
	}
	for _, v := range heard {
		if v.said != saidOK && (!v.mayTryAgain() || !slices.Contains(first[3:], v.topic)) {
			t.Errorf("the push to %s that was under way is answered %s", v.topic, v.said)
		}
	}
	t.Logf("pushes under way: %v", heard)
	stop()
	busy.Wait()
	for i, a := range askers {
		a.settles(t, topics[i])
		a.must(t, "phx_join", []string{"good:new", "plain:new"})
	}
	victim.Start(t)
	for i, a := range askers {
		a.settles(t, topics[i])
	}
	if len(handler.held) > 0 {
		t.Errorf("%d pushes were handed to the handler twice", len(handler.held))
	}
}
