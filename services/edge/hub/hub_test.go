package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/hub"
)

// interest notes what the hub asks of the mesh.
type interest struct {
	mu  sync.Mutex
	log []string
}

func (i *interest) Want(topic string) { i.note("want " + topic) }
func (i *interest) Drop(topic string) { i.note("drop " + topic) }

func (i *interest) note(s string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.log = append(i.log, s)
}

func (i *interest) take() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	log := i.log
	i.log = nil
	return log
}

// listener notes what it gets.
type listener struct {
	hub.Seat
	log    []string
	leaves bool // when it has joined
}

func listen(connection uint64) *listener {
	return &listener{Seat: hub.Seat{Connection: connection}}
}

func (l *listener) Joined(err error) bool {
	if err != nil {
		l.log = append(l.log, "refused: "+err.Error())
		return false
	}
	l.log = append(l.log, "joined")
	return !l.leaves
}

func (l *listener) Deliver(m *hub.Message) {
	f, _ := m.Frame(hub.Format{})
	l.log = append(l.log, string(f.Payload()))
}
func (l *listener) Failed() { l.log = append(l.log, "failed") }

func (l *listener) got(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(l.log, want) {
		t.Errorf("got %q, want %q", l.log, want)
	}
	l.log = nil
}

func newHub(tb testing.TB) (*hub.Hub, *interest) {
	tb.Helper()
	i := &interest{}
	h, err := hub.New(i, "edge-1", noop.Meter{})
	if err != nil {
		tb.Fatal(err)
	}
	return h, i
}

func broadcast() channel.Broadcast {
	return channel.Broadcast{Topic: "t", Event: "e", Payload: []byte(`{}`)}
}

const frame = `[null,null,"t","e",{}]`

func TestJoinWaitsForTheMesh(t *testing.T) {
	h, mesh := newHub(t)
	a, b, c := listen(1), listen(2), listen(3)
	h.Join("t", a, nil)
	h.Join("t", b, nil)
	h.Deliver(broadcast())
	a.got(t)
	h.Confirm("t", nil)
	h.Confirm("t", errors.New("late"))
	h.Deliver(broadcast())
	h.Join("t", c, nil)
	a.got(t, "joined", frame)
	b.got(t, "joined", frame)
	c.got(t, "joined")
	if log := mesh.take(); !slices.Equal(log, []string{"want t"}) {
		t.Errorf("the mesh was told %q", log)
	}
	if s := h.Stats(); s != (hub.Stats{Topics: 1, Subscribers: 3, Delivered: 2, NoSubscriber: 1}) {
		t.Errorf("%+v", s)
	}
}

func TestJoinRefused(t *testing.T) {
	h, mesh := newHub(t)
	a, b := listen(1), listen(2)
	h.Join("t", a, nil)
	h.Join("t", b, nil)
	h.Leave("t", b, nil)
	h.Confirm("t", channel.ErrUnavailable)
	a.got(t, "refused: unavailable")
	b.got(t)
	if h.Leave("t", a, nil) {
		t.Error("a is seated")
	}
	h.Join("t", a, nil)
	h.Confirm("t", nil)
	a.got(t, "joined")
	if log := mesh.take(); !slices.Equal(log, []string{"want t", "drop t", "want t"}) {
		t.Errorf("the mesh was told %q", log)
	}
}

func TestReplace(t *testing.T) {
	h, _ := newHub(t)
	old, other, later := listen(1), listen(2), listen(1)
	h.Join("t", old, nil)
	h.Join("t", other, nil)
	h.Confirm("t", nil)
	h.Join("t", later, old)
	h.Deliver(broadcast())
	old.got(t, "joined")
	later.got(t, "joined", frame)
	other.got(t, "joined", frame)
	if h.Leave("t", old, nil) {
		t.Error("the replaced one is still seated")
	}
	h.Join("t", old, later)
	h.Fail(func(string) bool { return true })
	again := listen(1)
	h.Join("t", again, old) // not there any more
	again.got(t)
	h.Confirm("t", nil)
	again.got(t, "joined")
}

func TestFail(t *testing.T) {
	h, mesh := newHub(t)
	a, b, waits := listen(1), listen(2), listen(3)
	h.Join("t", a, nil)
	h.Join("u", b, nil)
	h.Confirm("t", nil)
	h.Confirm("u", nil)
	h.Join("w", waits, nil)
	h.Fail(func(topic string) bool { return topic != "u" })
	h.Deliver(broadcast())
	a.got(t, "joined", "failed")
	b.got(t, "joined")
	waits.got(t)
	if n := h.Stats().Topics; n != 2 {
		t.Errorf("%d topics", n)
	}
	if log := mesh.take(); log[len(log)-1] != "drop t" {
		t.Errorf("the mesh was told %q", log)
	}
}

func TestExcept(t *testing.T) {
	for _, c := range []struct {
		name   string
		except channel.Connection
		heard  []bool
	}{
		{"nobody", channel.Connection{}, []bool{true, true}},
		{"one of ours", channel.Connection{Edge: "edge-1", ID: 2}, []bool{true, false}},
		{"one of another edge", channel.Connection{Edge: "edge-2", ID: 2}, []bool{true, true}},
		{"one that is not here", channel.Connection{Edge: "edge-1", ID: 9}, []bool{true, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, _ := newHub(t)
			listeners := []*listener{listen(1), listen(2)}
			for _, l := range listeners {
				h.Join("t", l, nil)
			}
			h.Confirm("t", nil)
			b := broadcast()
			b.Except = c.except
			h.Deliver(b)
			n := uint64(0)
			for i, l := range listeners {
				if want := []string{"joined", frame}; c.heard[i] {
					l.got(t, want...)
					n++
				} else {
					l.got(t, want[:1]...)
				}
			}
			if got := h.Stats().Delivered; got != n {
				t.Errorf("%d deliveries counted, want %d", got, n)
			}
		})
	}
}

func TestDeliverRefusesWhatNoClientCanGet(t *testing.T) {
	h, _ := newHub(t)
	long := strings.Repeat("t", channel.MaxBinaryTopicLen+1)
	l := listen(1)
	h.Join(long, l, nil)
	h.Confirm(long, nil)
	h.Deliver(channel.Broadcast{Topic: long, Event: "e", Payload: []byte("x"), Binary: true})
	h.Deliver(channel.Broadcast{Topic: long, Event: channel.EventClose, Payload: []byte(`{}`)})
	l.got(t, "joined")
	if s := h.Stats(); s.Invalid != 2 || s.Delivered != 0 {
		t.Errorf("%+v", s)
	}
}

func TestIfSeated(t *testing.T) {
	h, _ := newHub(t)
	l := listen(1)
	calls := 0
	try := func() bool { return h.IfSeated("t", l, func() { calls++ }) }
	if try() {
		t.Error("seated before the join")
	}
	h.Join("t", l, nil)
	h.Confirm("t", nil)
	if !try() {
		t.Error("not seated")
	}
	h.Leave("t", l, nil)
	if try() || calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

func TestLinger(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h, mesh := newHub(t)
		var wait sync.WaitGroup
		defer wait.Wait()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		wait.Go(func() { _ = h.Run(ctx) })
		told := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if log := mesh.take(); !slices.Equal(log, want) {
				t.Errorf("after %v the mesh was told %q, want %q", time.Now(), log, want)
			}
		}
		a := listen(1)
		h.Join("t", a, nil)
		h.Confirm("t", nil)
		told("want t")
		h.Leave("t", a, nil)
		time.Sleep(900 * time.Millisecond) // virtual time
		h.Join("t", a, nil)                // soon enough: no word to the mesh
		time.Sleep(5 * time.Second)        // virtual time
		told()
		h.Leave("t", a, nil)
		h.Join("t", a, nil)
		time.Sleep(500 * time.Millisecond) // virtual time
		h.Leave("t", a, nil)               // the second starts anew
		time.Sleep(900 * time.Millisecond) // virtual time
		told()
		time.Sleep(300 * time.Millisecond) // virtual time
		told("drop t")
		a.got(t, "joined", "joined", "joined")

		h.Join("t", a, nil) // leaves while it waits: kept until the mesh answered
		h.Leave("t", a, nil)
		time.Sleep(10 * time.Second) // virtual time
		told("want t")
		h.Confirm("t", nil)
		time.Sleep(1100 * time.Millisecond) // virtual time
		told("drop t")
		a.got(t)
		if s := h.Stats(); s.Topics != 0 || s.Subscribers != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Against a set per topic: whoever is in the set hears a broadcast once, and
// nobody else does. Large enough for seats to move and lists to shrink.
func TestMembership(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h, _ := newHub(t)
		all := make([]*listener, 200)
		for i := range all {
			all[i] = listen(uint64(i) + 1)
		}
		member := make(map[*listener]bool)
		h.Join("t", listen(999), nil)
		h.Confirm("t", nil)
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			join := rapid.Bool().Draw(rt, "join")
			from := rapid.IntRange(0, len(all)-1).Draw(rt, "from")
			for _, l := range all[from:min(from+rapid.IntRange(1, 120).Draw(rt, "n"), len(all))] {
				if join && !member[l] {
					h.Join("t", l, nil)
				} else if !join && h.Leave("t", l, nil) != member[l] {
					rt.Fatalf("leave of %d: it was a member: %v", l.Connection, member[l])
				}
				member[l] = join
				l.log = nil
			}
			h.Deliver(broadcast())
			for _, l := range all {
				if heard := len(l.log); heard > 1 || member[l] != (heard == 1) {
					rt.Fatalf("%d heard it %d times, and is a member: %v", l.Connection, heard, member[l])
				}
				l.log = nil
			}
		}
	})
}

// outbox is a subscriber that does what a socket does: it keeps the frame.
type outbox struct {
	hub.Seat
	last wsframe.Frame
}

func (*outbox) Joined(error) bool        { return true }
func (o *outbox) Deliver(m *hub.Message) { o.last, _ = m.Frame(hub.Format{}) }
func (*outbox) Failed()                  {}

func TestEncodedOnce(t *testing.T) {
	h, _ := newHub(t)
	var boxes [100]outbox
	for i := range boxes {
		h.Join("t", &boxes[i], nil)
	}
	h.Confirm("t", nil)
	b := broadcast()
	h.Deliver(b)
	for i := range boxes {
		if &boxes[i].last.Wire()[0] != &boxes[0].last.Wire()[0] {
			t.Fatal("encoded for each")
		}
	}
	if want, err := phx.V2.Broadcast(b); err != nil || string(boxes[0].last.Wire()) != string(want.Wire()) {
		t.Errorf("got %q", boxes[0].last.Wire())
	}
	if n := testing.AllocsPerRun(100, func() { h.Deliver(b) }); n > 2 {
		t.Errorf("%v allocations for a broadcast to %d", n, len(boxes))
	}
}

func BenchmarkDeliver(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			h, _ := newHub(b)
			for i := range n {
				h.Join("room:lobby", &outbox{Seat: hub.Seat{Connection: uint64(i) + 1}}, nil)
			}
			h.Confirm("room:lobby", nil)
			m := channel.Broadcast{Topic: "room:lobby", Event: "new_msg", Payload: fmt.Appendf(nil, `{"body":"%0200d"}`, 7)}
			b.ReportAllocs()
			for b.Loop() {
				h.Deliver(m)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/delivery")
		})
	}
}
