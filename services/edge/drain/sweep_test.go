package drain

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/bubble"
)

// fixed is a connection that is as it is.
type fixed struct {
	look  Look
	ended int
}

func (f *fixed) Look() Look { return f.look }

func (f *fixed) Move(string) bool {
	f.ended++
	f.look.Closing, f.look.Quiet = true, false
	return f.ended == 1
}

// However many connections, and however they are: each is closed once, within the
// time, and busy ones not before the quiet ones.
func TestSweepClosesAllInTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spread := time.Duration(rapid.IntRange(0, 5000).Draw(t, "spread")) * time.Millisecond
		var all []*fixed
		var conns []Conn
		for range rapid.IntRange(0, 300).Draw(t, "connections") {
			f := &fixed{}
			switch rapid.IntRange(0, 2).Draw(t, "state") {
			case 0:
				f.look.Quiet = true
			case 1:
				f.look.Closing = true
			}
			all, conns = append(all, f), append(conns, f)
		}
		began := time.Unix(1000, 0)
		s := newSweep(conns, spread, began)
		busy := 0
		for now := began; !s.over() || now.Equal(began); now = now.Add(tick) {
			if now.Sub(began) > spread {
				t.Fatalf("%d are left after %s", len(s.todo)+len(s.busy), spread)
			}
			s.step(now, func(c Conn) {
				switch {
				case !c.Look().Quiet:
					busy++
				case busy > 0:
					t.Fatal("a quiet one was closed behind a busy one")
				}
				c.Move("drain")
			})
		}
		for _, f := range all {
			if !f.look.Closing || f.ended > 1 {
				t.Fatalf("closed %d times: %+v", f.ended, f.look)
			}
		}
	})
}

// One whose client becomes quiet in time is not cut off.
func TestSweepWaitsForAnAnswer(t *testing.T) {
	f := &fixed{}
	began := time.Unix(1000, 0)
	s := newSweep([]Conn{f}, 20*time.Second, began)
	for now := began; !s.over(); now = now.Add(tick) {
		if spent := now.Sub(began); spent >= 500*time.Millisecond && f.ended == 0 {
			f.look.Quiet = true
		}
		s.step(now, func(c Conn) {
			if spent := now.Sub(began); !c.Look().Quiet || spent > 510*time.Millisecond {
				t.Errorf("closed after %s", spent)
			}
			c.Move("drain")
		})
	}
}

// A client that never answers the closing does not keep the edge from stopping.
func TestStopIsBounded(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := newEdge(t, minute)
		e.add(1)[0].lingers = true
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > e.budget() || e.open() > 0 {
			t.Errorf("%d open after %s", e.open(), took)
		}
	})
}
