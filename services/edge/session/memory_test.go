package session_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/session"
)

// bare is a connection that costs as good as nothing.
type bare struct{ id uint64 }

func (b *bare) ID() uint64                    { return b.id }
func (*bare) Send(wsframe.Frame)              {}
func (*bare) Close(wsframe.Code, string) bool { return true }
func (*bare) Pause()                          {}
func (*bare) Resume()                         {}

// perSocket returns the heap of hub, session and channel of an idle socket that
// is joined to the topic named for it, and of nothing else.
func perSocket(tb testing.TB, topicOf func(i int) string) float64 {
	const sockets = 10_000
	m := newMesh(tb, session.DefaultLimits())
	m.wants = make([]string, 0, sockets)
	conns := make([]bare, sockets)
	sessions := make([]*session.Session, sockets)
	before := heap()
	for i := range sockets {
		conns[i].id = uint64(i) + 1
		sessions[i] = session.New(&conns[i], m.shared, session.Client{})
		sessions[i].Message(wsframe.Text, fmt.Appendf(nil, `["1","1",%q,"phx_join",{}]`, topicOf(i)))
		if topic, ok := m.nextWant(); ok {
			m.hub.Confirm(topic, nil)
		}
	}
	after := heap()
	if n := m.hub.Stats().Subscribers; n != sockets {
		tb.Fatalf("%d subscribers", n)
	}
	runtime.KeepAlive(sessions)
	return float64(after-before) / sockets
}

func heap() uint64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

func TestMemoryOfIdleSocket(t *testing.T) {
	const target = 500 // bytes
	for name, topicOf := range map[string]func(int) string{
		"one topic for all":      func(int) string { return "room:lobby" },
		"one topic for each ten": func(i int) string { return fmt.Sprintf("room:%d", i/10) },
		"one topic for each":     func(i int) string { return fmt.Sprintf("room:%d", i) },
	} {
		bytes := perSocket(t, topicOf)
		t.Logf("%s: %.0f bytes of heap per joined socket", name, bytes)
		if bytes > target {
			t.Errorf("%s: %.0f bytes, want at most %d", name, bytes, target)
		}
	}
}

// BenchmarkPush is the way of one push of 200 bytes without the mesh: decode,
// publish, deliver to the sender, answer.
func BenchmarkPush(b *testing.B) {
	limits := session.DefaultLimits()
	limits.Rate = 1e9 // counted, and never reached
	m := newMesh(b, limits)
	m.deps.Mesh = instantMesh{m}
	shared, err := session.NewShared(m.deps, limits)
	if err != nil {
		b.Fatal(err)
	}
	s := session.New(&bare{id: 1}, shared, session.Client{})
	s.Message(wsframe.Text, []byte(`["1","1","room:lobby","phx_join",{}]`))
	m.hub.Confirm("room:lobby", nil)
	push := fmt.Appendf(nil, `["1","23","room:lobby","new_msg",{"body":"%0200d"}]`, 7)
	b.ReportAllocs()
	for b.Loop() {
		s.Message(wsframe.Text, push)
	}
}
