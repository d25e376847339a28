package top

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/cmd/skein/golden"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// noon is when all tests begin.
func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// fleet is what presence would say after so many seconds: edge i delivers 1,000
// times i messages a second and takes ten times i.
func fleet(second, edges int) *presencev1.Fleet {
	f := &presencev1.Fleet{Elected: "p1", Instance: "p1"}
	for i := 1; i <= edges; i++ {
		f.Edges = append(f.Edges, &presencev1.Edge{
			Id: fmt.Sprintf("edge-%d", i), Incarnation: 1, Version: "1.2.3", State: presencev1.EdgeState_EDGE_STATE_READY,
			Group: []string{"blue", "green", ""}[i%3], Weight: uint32(50 * (i % 4)),
			Connections: uint64(10_500 * i), Channels: uint64(12_000 * i), Cpu: 0.25 * float64(i), Memory: uint64(i) << 25,
			Deliveries: uint64(1000 * i * second * (second + 1) / 2), Publishes: uint64(10 * i * second),
			Taken: timestamppb.New(noon().Add(time.Duration(second) * time.Second)),
		})
		f.Connections += uint64(10_500 * i)
	}
	return f
}

// watched is the history of a fleet after some seconds.
func watched(seconds, edges int) *history {
	h := newHistory()
	h.add(Sample{Members: []Member{
		{"routers", "r1", "ready"}, {"routers", "r2", "leaving"}, {"presence", "p1", "ready"},
	}, Agreement: "View 00000000000000aa: 2 routers agree.", Phase: "moving"}, noon())
	for s := range seconds {
		h.add(Sample{Fleet: fleet(s, edges)}, noon().Add(time.Duration(s)*time.Second))
	}
	return h
}

func TestRender(t *testing.T) {
	disagreeing := watched(8, 3)
	disagreeing.add(Sample{Members: []Member{{"routers", "r1", "ready"}}, Agreement: "DISAGREEMENT: 1 by r1; 2 by r2;"}, noon())
	disagreeing.add(Sample{Problem: "presence does not answer: connection refused"}, noon())
	for name, c := range map[string]struct {
		h *history
		s screen
	}{
		"wide.txt":   {watched(70, 3), screen{width: 160, height: 24}},
		"usual.txt":  {watched(8, 3), screen{width: 80, height: 24}},
		"small.txt":  {watched(8, 12), screen{width: 40, height: 12}},
		"tiny.txt":   {watched(8, 3), screen{width: 24, height: 7}},
		"scroll.txt": {watched(3, 12), screen{width: 80, height: 12, skip: 4}},
		"busy.txt":   {watched(3, 3), screen{width: 80, busiest: true}},
		"empty.txt":  {newHistory(), screen{width: 80, height: 24}},
		"bad.txt":    {disagreeing, screen{width: 80, height: 24}},
	} {
		golden.Compare(t, name, c.h.render(c.s)+"\n")
	}
}

func TestRenderFitsEveryScreen(t *testing.T) {
	h := watched(70, 20)
	rapid.Check(t, func(t *rapid.T) {
		s := screen{
			width: rapid.IntRange(1, 300).Draw(t, "width"), height: rapid.IntRange(1, 60).Draw(t, "height"),
			skip: rapid.IntRange(0, 50).Draw(t, "skip"), busiest: rapid.Bool().Draw(t, "busiest"),
		}
		lines := strings.Split(h.render(s), "\n")
		if len(lines) > s.height {
			t.Fatalf("%d lines", len(lines))
		}
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > s.width {
				t.Fatalf("%d columns: %q", n, line)
			}
		}
	})
}

func TestRates(t *testing.T) {
	h := watched(4, 1)
	e := h.edges["edge-1"]
	if e.in.now() != 10 || e.out.now() != 3000 || len(e.out) != 3 {
		t.Errorf("in %v, out %v", e.in, e.out)
	}
	h.add(Sample{Fleet: fleet(3, 1)}, noon()) // the same report again
	if len(e.out) != 3 {
		t.Error("the same report is no news")
	}
	again := fleet(4, 1)
	again.Edges[0].Incarnation = 2
	h.add(Sample{Fleet: again}, noon())
	if len(h.edges["edge-1"].out) != 0 {
		t.Error("another life of an edge has the rates of the one before")
	}
	h.add(Sample{Fleet: &presencev1.Fleet{}}, noon())
	if len(h.edges) != 0 {
		t.Error("an edge that is gone is still shown")
	}
}

func TestSparkline(t *testing.T) {
	for _, c := range []struct {
		r     rates
		width int
		want  string
	}{
		{nil, 3, "   "}, {rates{0, 0}, 3, " ▁▁"}, {rates{1, 2, 4, 8}, 4, "▂▃▅█"}, {rates{9, 1, 2}, 2, "▅█"}, {rates{1}, 0, ""},
	} {
		if got := sparkline(c.r, c.width); got != c.want {
			t.Errorf("%v: got %q, want %q", c.r, got, c.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 9999: "9999", 10_000: "10.0k", 123_456: "123k", 1_250_000: "1.2M", 12e6: "12M"} {
		if got := thousands(v); got != want {
			t.Errorf("%v: got %q, want %q", v, got, want)
		}
	}
	for v, want := range map[uint64]string{512: "0 KiB", 4 << 20: "4 MiB", 3 << 29: "1.5 GiB"} {
		if got := bytes(v); got != want {
			t.Errorf("%v: got %q, want %q", v, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	var m tea.Model = model{history: watched(2, 3), screen: screen{width: 80, height: 24}}
	press := func(code rune) tea.Cmd {
		var cmd tea.Cmd
		m, cmd = m.Update(tea.KeyPressMsg(tea.Key{Code: code, Text: string(code)}))
		return cmd
	}
	for range 9 {
		press('j')
	}
	press('k')
	press('s')
	m, _ = m.Update(tea.WindowSizeMsg{Width: 50, Height: 9})
	m, _ = m.Update(Sample{Fleet: fleet(2, 4)})
	got, ok := m.(model)
	if !ok || got.screen.skip != 2 || !got.screen.busiest || got.screen.width != 50 || len(got.history.edges) != 4 || m.Init() != nil {
		t.Errorf("got %+v", m)
	}
	if !strings.Contains(m.View().Content, "4 edges") {
		t.Error("the view shows something else")
	}
	if press('q') == nil {
		t.Error("q does not quit")
	}
}

// feedOf shows samples one after the other, then ends with err.
func feedOf(err error, samples ...Sample) Feed {
	return func(_ context.Context, show func(Sample)) error {
		for _, s := range samples {
			show(s)
		}
		return err
	}
}

func TestPlain(t *testing.T) {
	members := Sample{Members: []Member{}}
	var out strings.Builder
	broken := errors.New("broken")
	if err := Plain(t.Context(), feedOf(broken, members, Sample{Fleet: fleet(0, 1)}, Sample{Fleet: fleet(1, 1)}), &out, false); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if n := strings.Count(out.String(), "EDGE"); n != 2 {
		t.Errorf("%d tables, want 2:\n%s", n, out.String())
	}
	out.Reset()
	if err := Plain(t.Context(), feedOf(broken, members, Sample{Fleet: fleet(0, 1)}, Sample{Fleet: fleet(1, 1)}, Sample{Fleet: fleet(2, 1)}), &out, true); err != nil {
		t.Error(err)
	}
	if n := strings.Count(out.String(), "EDGE"); n != 1 || !strings.Contains(out.String(), "out 1000/s") {
		t.Errorf("%d tables, want 1 with rates:\n%s", n, out.String())
	}
	out.Reset()
	if err := Plain(t.Context(), feedOf(nil, Sample{Fleet: fleet(0, 1)}), &out, true); err != nil || !strings.Contains(out.String(), "edge-1") {
		t.Errorf("a single sample: %v\n%s", err, out.String())
	}
}

func TestLive(t *testing.T) {
	in, press := newPipe(t)
	var out strings.Builder
	err := Live(t.Context(), func(ctx context.Context, show func(Sample)) error {
		show(Sample{Fleet: fleet(1, 2)})
		press("q")
		<-ctx.Done()
		return ctx.Err()
	}, in, &out)
	if err != nil {
		t.Errorf("quitting was an error: %v", err)
	}
	broken := errors.New("cannot reach presence")
	if err := Live(t.Context(), feedOf(broken), in, &out); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// newPipe is an input on which the test types.
func newPipe(t *testing.T) (*os.File, func(string)) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, func(keys string) { w.WriteString(keys) }
}
