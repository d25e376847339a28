//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

// What is said to a client, beside {"n":...} of a [stream].
const (
	saidOK          = "ok {}"
	saidTimeout     = `error {"reason":"timeout"}`
	saidUnavailable = `error {"reason":"unavailable"}`
	saidOverloaded  = `error {"reason":"overloaded"}`
	saidUnmatched   = `error {"reason":"unmatched topic"}` // the channel has ended
	saidJoinCrashed = `error {"reason":"join crashed"}`
	saidCrashed     = `phx_error {"reason":"channel_crash"}`
	saidLost        = `phx_error {"reason":"unavailable"}`
)

// heartbeats is the topic of heartbeats.
const heartbeats = "phoenix"

// verdict is what is said to something that a client asked.
type verdict struct {
	topic, said string
	round       int // in which it was asked; 0 for a phx_error
}

// asker is a client that asks on many topics at once, and hears what is said to
// each before it asks again. Its methods belong to one goroutine.
type asker struct {
	*client
	said  chan verdict
	round int
	ended []string // topics that were lost while nothing was asked there
}

func newAsker(t *testing.T, e *edge) *asker {
	t.Helper()
	a := &asker{said: make(chan verdict, 1000)} // more than is ever said in one round
	a.client = connect(t, e, func(m message) {
		if m.Event == "phx_error" {
			a.said <- verdict{m.Topic, m.Event + " " + string(m.Payload), 0}
		}
	})
	return a
}

// say sends an event to topics; to that of heartbeats it is one.
func (a *asker) say(event string, topics ...string) error {
	a.round++
	round := a.round
	for _, topic := range topics {
		event := event
		if topic == heartbeats {
			event = "heartbeat"
		}
		err := a.ask(topic, event, struct{}{}, func(status string, response json.RawMessage) {
			a.said <- verdict{topic, status + " " + string(response), round}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// hear waits until something is said to each topic, and returns it as it came.
func (a *asker) hear(topics ...string) ([]verdict, error) {
	limit := time.NewTimer(handlerTimeout + moment)
	defer limit.Stop()
	var heard []verdict
	for waiting := slices.Clone(topics); len(waiting) > 0; {
		select {
		case v := <-a.said:
			i := slices.Index(waiting, v.topic)
			switch {
			case v.said == saidUnmatched && (i < 0 || v.round < a.round): // it was asked when the channel was lost
			case v.said == saidLost && i < 0:
				a.ended = append(a.ended, v.topic)
			case i < 0 || v.round != 0 && v.round != a.round:
				return heard, fmt.Errorf("%s was not asked, and is answered %s", v.topic, v.said)
			default:
				waiting, heard = slices.Delete(waiting, i, i+1), append(heard, v)
			}
		case <-a.gone:
			return heard, a.err()
		case <-limit.C:
			return heard, fmt.Errorf("after %s no answer on %v", handlerTimeout+moment, waiting)
		}
	}
	return heard, nil
}

// expect fails unless an event is answered as want says on each topic, but a
// heartbeat always ok. It returns the answers as they came.
func (a *asker) expect(want, event string, topics ...string) ([]verdict, error) {
	if err := a.say(event, topics...); err != nil {
		return nil, err
	}
	heard, err := a.hear(topics...)
	if err == nil && len(a.ended) > 0 {
		err = fmt.Errorf("the channels of %v are lost", a.ended)
	}
	for _, v := range heard {
		if v.said != want && (v.topic != heartbeats || v.said != saidOK) {
			err = errors.Join(err, fmt.Errorf("%s is answered %s, not %s", v.topic, v.said, want))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", event, err)
	}
	return heard, nil
}

// attempt does what a client does that tries again: it joins what was lost, and
// sends an event to topics. It fails if something is said that is neither ok nor
// to be tried again, and returns how much was not ok.
func (a *asker) attempt(event string, topics ...string) (failed int, err error) {
	lost := a.ended
	a.ended = nil
	for _, step := range []struct {
		event  string
		topics []string
	}{{"phx_join", lost}, {event, topics}} {
		asked := slices.DeleteFunc(slices.Clone(step.topics), func(topic string) bool { return slices.Contains(a.ended, topic) })
		if err := a.say(step.event, asked...); err != nil {
			return failed, err
		}
		heard, err := a.hear(asked...)
		if err != nil {
			return failed, fmt.Errorf("%s: %w", step.event, err)
		}
		for _, v := range heard {
			if v.said == saidOK {
				continue
			}
			failed++
			if !v.mayTryAgain() && v.said != saidLost {
				return failed, fmt.Errorf("%s on %s is answered %s", step.event, v.topic, v.said)
			}
			if step.event == "phx_join" || v.said == saidLost {
				a.ended = append(a.ended, v.topic)
			}
		}
	}
	return failed + len(a.ended), nil
}

func (v verdict) mayTryAgain() bool {
	return slices.Contains([]string{saidTimeout, saidUnavailable, saidOverloaded}, v.said)
}

// must fails the test unless an event is answered ok on each topic.
func (a *asker) must(t *testing.T, event string, topics []string) {
	t.Helper()
	if _, err := a.expect(saidOK, event, topics...); err != nil {
		t.Fatal(err)
	}
}

// keepTrying attempts to push until ctx ends. Something has to become of every
// push.
func (a *asker) keepTrying(ctx context.Context, t *testing.T, topics []string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	rounds, all := 0, 0
	for ; ctx.Err() == nil; rounds++ {
		failed, err := a.attempt("n", topics...)
		if err != nil {
			t.Error(err)
			return
		}
		all += failed
		<-tick.C
	}
	t.Logf("%d of %d pushes have to be tried again", all, rounds*len(topics))
}

// settles waits until everything is answered ok, and wants it to remain so.
func (a *asker) settles(t *testing.T, topics []string) {
	t.Helper()
	process.Eventually(t, 2*moment, "everything is answered ok", func() bool {
		failed, err := a.attempt("n", topics...)
		if err != nil {
			t.Fatal(err)
		}
		return failed == 0
	})
	for range 20 {
		a.must(t, "n", topics)
	}
	a.stays(t, topics[0])
}

// pest is a client that bothers a handler that fails.
type pest struct {
	*asker
	name    string
	asked   []string // topics whose joins the handler decides
	topics  []string // whose pushes it decides
	joined  bool     // to topics
	join    string   // what is said to a join
	push    string   // what is said to a push
	calm    int      // heartbeats that were answered before the pushes in front of them
	refused int      // joins and pushes that failed as they should
}

// pushedTopics is to how many topics a pest pushes at once.
const pushedTopics = 8

// newPest returns one with a name such as slow:1. join and push are what is said
// to it; without a join it only pushes.
func newPest(t *testing.T, e *edge, name, join, push string) *pest {
	t.Helper()
	p := &pest{asker: newAsker(t, e), name: name, join: join, push: push}
	if join != "" {
		p.asked = []string{p.name}
	}
	for i := range pushedTopics {
		p.topics = append(p.topics, strings.Replace(name, ":", ":in:", 1)+fmt.Sprintf("-%d", i))
	}
	return p
}

// bother has joins and pushes fail until ctx ends. After a few rounds, or the
// first problem, it calls enough.
func (p *pest) bother(ctx context.Context, t *testing.T, enough func()) {
	t.Helper()
	once := sync.OnceFunc(enough)
	defer once()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ctx.Err() == nil; n++ {
		if err := p.fail(); err != nil {
			t.Errorf("%s: %v", p.name, err)
			return
		}
		if n == 2 {
			once()
		}
		<-tick.C
	}
}

// fail has a join and pushes fail, each with a heartbeat behind.
func (p *pest) fail() error {
	if _, err := p.expect(p.join, "phx_join", append(slices.Clone(p.asked), heartbeats)...); err != nil {
		return err
	}
	if !p.joined {
		if _, err := p.expect(saidOK, "phx_join", p.topics...); err != nil {
			return err
		}
	}
	p.joined = p.push != saidCrashed
	heard, err := p.expect(p.push, "any", append(slices.Clone(p.topics), heartbeats)...)
	if err != nil {
		return err
	}
	if heard[0].topic == heartbeats {
		p.calm++
	}
	p.refused += len(p.asked) + len(p.topics)
	return nil
}

// recovers waits until the handler answers everything, over the same socket.
func (p *pest) recovers(t *testing.T) {
	t.Helper()
	var err error
	defer func() {
		if t.Failed() {
			t.Logf("%s: %v", p.name, err)
		}
	}()
	process.Eventually(t, handlerTimeout+moment, p.name+" can be joined", func() bool {
		_, err = p.expect(saidOK, "phx_join", p.asked...)
		return err == nil
	})
	all := slices.Concat(p.topics, p.asked, []string{heartbeats})
	process.Eventually(t, handlerTimeout+moment, "all pushes of "+p.name+" are answered", func() bool {
		_, err = p.expect(saidOK, "any", all...)
		return err == nil
	})
	p.stays(t, p.name)
}

// stream pushes numbers to a topic that broadcasts them, many at a time, and
// wants every reply and every broadcast in order.
type stream struct {
	*client
	topic    string
	echoed   bool          // replies are what was pushed
	window   chan struct{} // has room for pushes that are not answered
	problems chan error    // the first few

	// Owned by the socket's reader.
	replies, events int
}

// newStream joins a topic.
func newStream(t *testing.T, e *edge, topic string, echoed bool) *stream {
	t.Helper()
	s := &stream{topic: topic, echoed: echoed, window: make(chan struct{}, 32), problems: make(chan error, 10)}
	s.client = connect(t, e, func(m message) {
		if want := counted(s.events); m.Event != "n" || string(m.Payload) != want {
			s.problemf("%s: %s %s came, not %s", s.topic, m.Event, m.Payload, want)
		}
		s.events++
	})
	s.join(t, topic)
	return s
}

func counted(n int) string { return fmt.Sprintf(`{"n":%d}`, n) }

func (s *stream) problemf(format string, args ...any) {
	select {
	case s.problems <- fmt.Errorf(format, args...):
	default: // the first ones say enough
	}
}

// plenty is how many pushes a stream has answered while others fail: far more
// than there would be if one of them waited for a handler that is slow.
const plenty = 150

// run pushes until ctx ends, and waits for every reply. When plenty have come,
// or there is a problem, it calls enough.
func (s *stream) run(ctx context.Context, t *testing.T, enough func()) {
	t.Helper()
	once := sync.OnceFunc(enough)
	defer once()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	sent := 0
	for ; ctx.Err() == nil && len(s.problems) == 0; sent++ {
		select {
		case s.window <- struct{}{}:
			s.count(sent)
		case <-s.gone:
			s.problemf("%s: %w", s.topic, s.err())
		case <-time.After(handlerTimeout + 2*moment):
			s.problemf("%s: push %d is not answered", s.topic, sent-cap(s.window))
		}
		if sent == plenty+cap(s.window) {
			once()
		}
		<-tick.C
	}
	within(t, handlerTimeout+2*moment, s.topic+" has every reply", func() {
		for range cap(s.window) {
			s.window <- struct{}{}
		}
	})
	for len(s.problems) > 0 {
		t.Error(<-s.problems)
	}
	t.Logf("%s: %d pushes are answered", s.topic, sent)
}

// count pushes n.
func (s *stream) count(n int) {
	want := saidOK
	if s.echoed {
		want = "ok " + counted(n)
	}
	err := s.ask(s.topic, "n", json.RawMessage(counted(n)), func(status string, response json.RawMessage) {
		if said := status + " " + string(response); said != want || s.replies != n {
			s.problemf("%s: push %d is answered %s behind %d others, not %s", s.topic, n, said, s.replies, want)
		}
		if s.replies++; s.events < s.replies {
			s.problemf("%s: the reply to push %d came before its broadcast", s.topic, n)
		}
		<-s.window
	})
	if err != nil {
		s.problemf("%s: push %d: %w", s.topic, n, err)
	}
}
