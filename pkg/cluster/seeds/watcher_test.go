package seeds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/telemetry/logtest"
)

// answer is what a strategy says next.
type answer struct {
	mu        sync.Mutex
	addresses []string
	err       error
	asked     int
}

func (a *answer) set(err error, addresses ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.addresses, a.err = addresses, err
}

// Addresses implements [Strategy].
func (a *answer) Addresses(context.Context) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	return a.addresses, a.err
}

func (a *answer) times() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

// watch runs a watcher until the test ends.
func watch(t *testing.T, o Options, strategies ...Strategy) (*Watcher, *logtest.Buffer) {
	t.Helper()
	log := &logtest.Buffer{}
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	var sources []Source
	for i, s := range strategies {
		sources = append(sources, Source{fmt.Sprint("source", i), s})
	}
	w, err := Watch(sources, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return w, log
}

func says(t *testing.T, w *Watcher, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := w.Addresses(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStaticIsKnownAtOnce(t *testing.T) {
	w, err := Watch([]Source{{"static", Static{"b:1", "a:1", "b:1"}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Addresses(); !slices.Equal(got, []string{"a:1", "b:1"}) {
		t.Errorf("got %q", got)
	}
	<-w.Changed()
}

func TestAsksAgainAndAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a := &answer{}
		a.set(nil, "b:1", "a:1")
		w, log := watch(t, Options{Interval: time.Second}, a, Static{"c:1", "a:1"})
		says(t, w, "a:1", "b:1", "c:1")
		<-w.Changed()
		a.set(nil, "a:1", "b:1")     // the same in another order
		time.Sleep(10 * time.Second) // virtual time
		if n := a.times(); n < 8 || n > 14 {
			t.Errorf("asked %d times in 10 s", n)
		}
		select {
		case <-w.Changed():
			t.Error("nothing changed")
		default:
		}
		a.set(nil, "d:1")
		time.Sleep(2 * time.Second) // virtual time
		says(t, w, "a:1", "c:1", "d:1")
		<-w.Changed()
		if n := log.Count("other addresses"); n != 2 {
			t.Errorf("logged %d times", n)
		}
	})
}

// Each failure keeps the last good answer, of its own source, and is logged once
// until it is another one or over.
func TestFailureKeepsTheLastAnswer(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a, b := &answer{}, &answer{}
		a.set(nil, "a:1")
		b.set(nil, "b:1")
		w, log := watch(t, Options{}, a, b)
		says(t, w, "a:1", "b:1")
		for i, failure := range []error{errors.New("the cable is cut"), context.DeadlineExceeded, nil} {
			a.set(failure)
			b.set(nil, fmt.Sprintf("b:%d", i+2))
			time.Sleep(time.Minute) // virtual time
			says(t, w, "a:1", fmt.Sprintf("b:%d", i+2))
		}
		for part, want := range map[string]int{"level=WARN": 3, "reason=other": 1, "the cable is cut": 1, "reason=timeout": 1, "reason=empty": 1} {
			if n := log.Count(part); n != want {
				t.Errorf("%s was logged %d times, want %d", part, n, want)
			}
		}
		a.set(nil, "a:1")
		time.Sleep(10 * time.Second) // virtual time
		if n := log.Count("answered again"); n != 1 {
			t.Errorf("its end was logged %d times", n)
		}
	})
}

// One that starts before its seeds are known asks more often at first.
func TestFirstAnswerIsNotWaitedForLong(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a := &answer{}
		w, _ := watch(t, Options{Interval: time.Hour}, a)
		time.Sleep(8 * time.Second) // virtual time: 0, 1, 3 and 7 s, a quarter more or less
		if n := a.times(); n < 3 || n > 5 {
			t.Errorf("asked %d times in 8 s", n)
		}
		a.set(nil, "a:1")
		time.Sleep(12 * time.Second) // virtual time
		says(t, w, "a:1")
	})
}

// Who finds nobody at the addresses does not wait for the interval, but does not
// ask all the time either.
func TestRefresh(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a := &answer{}
		a.set(nil, "a:1")
		w, _ := watch(t, Options{Interval: time.Hour}, a)
		says(t, w, "a:1")
		a.set(nil, "b:1")
		w.Refresh()
		time.Sleep(2 * time.Second) // virtual time
		says(t, w, "b:1")
		for range 100 {
			w.Refresh()
			time.Sleep(100 * time.Millisecond) // virtual time
		}
		if n := a.times(); n < 9 || n > 15 {
			t.Errorf("asked %d times in 12 s", n)
		}
		time.Sleep(2 * time.Second) // virtual time
		before := a.times()
		time.Sleep(20 * time.Minute) // virtual time
		if n := a.times(); n != before {
			t.Errorf("asked %d times more although nobody is in need", n-before)
		}
	})
}

func TestAnswerIsWaitedForNoLongerThanItsTime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		slow := Func(func(ctx context.Context) ([]string, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		a := &answer{}
		a.set(nil, "a:1")
		w, log := watch(t, Options{}, slow, a)
		says(t, w, "a:1")
		time.Sleep(AskTimeout + time.Second) // virtual time
		if log.Count("reason=timeout") != 1 {
			t.Error("nobody complained")
		}
	})
}

func TestFailuresAreCounted(t *testing.T) {
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	bubble.Test(t, func(t *testing.T) {
		a := &answer{}
		a.set(context.DeadlineExceeded)
		watch(t, Options{Interval: time.Second, Meter: provider.Meter("test")}, a)
		time.Sleep(5 * time.Second) // virtual time
		synctest.Wait()
		var data metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &data); err != nil {
			t.Fatal(err)
		}
		sum := data.ScopeMetrics[0].Metrics[0].Data.(metricdata.Sum[int64])
		got := sum.DataPoints[0]
		if why, _ := got.Attributes.Value("reason"); got.Value != int64(a.times()) || why.AsString() != string(timeout) {
			t.Errorf("counted %d for %v, asked %d times", got.Value, why, a.times())
		}
	})
}
