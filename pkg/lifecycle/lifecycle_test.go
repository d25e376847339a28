package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/bubble"
)

// trace records what components do, in order.
type trace struct {
	mu    sync.Mutex
	lines []string
}

func (t *trace) add(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

// component runs until it is stopped and takes a second to stop.
func (t *trace) component(name string, result error) Component {
	return Func(func(ctx context.Context) error {
		<-ctx.Done()
		t.add("%s stops", name)
		time.Sleep(time.Second) // virtual time
		t.add("%s stopped", name)
		return result
	})
}

func TestStopsLastToFirstOneByOne(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var tr trace
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := Run(ctx, tr.component("a", nil), tr.component("b", context.Canceled), tr.component("c", nil))
		if err != nil {
			t.Errorf("being cancelled was an error: %v", err)
		}
		want := []string{"c stops", "c stopped", "b stops", "b stopped", "a stops", "a stopped"}
		if !slices.Equal(tr.lines, want) {
			t.Errorf("got %q, want %q", tr.lines, want)
		}
	})
}

func TestOneComponentThatReturnsStopsAll(t *testing.T) {
	for name, result := range map[string]error{"with an error": errors.New("port is gone"), "without": nil} {
		bubble.Test(t, func(t *testing.T) {
			var tr trace
			began := time.Now()
			err := Run(t.Context(), tr.component("a", nil), Func(func(context.Context) error {
				time.Sleep(time.Minute) // virtual time
				return result
			}), tr.component("c", nil))
			if !errors.Is(err, result) {
				t.Errorf("%s: got %v, want %v", name, err, result)
			}
			if took := time.Since(began); took != time.Minute+2*time.Second {
				t.Errorf("%s: took %s", name, took)
			}
			if want := []string{"c stops", "c stopped", "a stops", "a stopped"}; !slices.Equal(tr.lines, want) {
				t.Errorf("%s: got %q, want %q", name, tr.lines, want)
			}
		})
	}
}

func TestAllErrorsAreReturned(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var tr trace
		first, last := errors.New("first"), errors.New("last")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := Run(ctx, tr.component("a", first), tr.component("b", nil), tr.component("c", last))
		if !errors.Is(err, first) || !errors.Is(err, last) {
			t.Errorf("got %v", err)
		}
	})
}

// A component may use the ones before it until the moment it returns.
func TestNobodyLosesWhatItStandsOn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(rt, "components")
		fails := rapid.IntRange(-1, n-1).Draw(rt, "fails first, or none")
		bubble.Test(t, func(*testing.T) {
			stopped := make([]bool, n)
			components := make([]Component, n)
			for i := range components {
				components[i] = Func(func(ctx context.Context) error {
					if i != fails {
						<-ctx.Done()
						for below := range i {
							if stopped[below] && below != fails {
								rt.Errorf("%d stopped before %d", below, i)
							}
						}
					}
					stopped[i] = true
					return nil
				})
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := Run(ctx, components...); err != nil {
				rt.Errorf("got %v", err)
			}
			if slices.Contains(stopped, false) {
				rt.Errorf("somebody was left running: %v", stopped)
			}
		})
	})
}

func TestNoComponents(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx); err != nil {
		t.Error(err)
	}
}
