package rpc_test

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc/codes"

	"github.com/skein-mesh/skein/pkg/bubble"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/load"
)

func TestReportsAddUp(t *testing.T) {
	inBubble(t, func(t *testing.T, i *instance) {
		i.service.SetPlanner("presence-0")
		a, b := i.edge(), i.edge()
		a.say(sample("a", 1, 10))
		b.say(sample("b", 1, 5))
		i.has(2, 15)
		a.say(sample("a", 1, 7))
		i.has(2, 12)
		f := i.fleet()
		if f.GetElected() != "presence-0" || f.GetInstance() != "presence-1" || f.GetEdges()[0].GetId() != "a" {
			t.Errorf("got %v", f)
		}
		answer, err := a.stream.Recv()
		if err != nil || answer.GetLeaseMs() != 3000 || answer.GetElected() != "presence-0" {
			t.Errorf("answer %v, %v", answer, err)
		}
	})
}

func TestRowOutlivesABrokenStreamUntilItsLeaseEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, i *instance) {
		a := i.edge()
		a.say(sample("a", 1, 10))
		_ = a.conn.Close()
		time.Sleep(load.Lease - time.Millisecond) // virtual time
		i.has(1, 10)
		time.Sleep(time.Millisecond) // virtual time
		i.has(0, 0)
	})
}

func TestReconnectCountsOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, i *instance) {
		a := i.edge()
		a.say(sample("a", 1, 10))
		_ = a.conn.Close()
		again := i.edge()
		again.say(sample("a", 1, 11))
		i.has(1, 11)
	})
}

func TestDrainedEdgeGoesAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		last  *presencev1.Edge
		end   func(*edge)
		edges int
	}{
		"it drains and closes its stream":     {draining("a", 1, 10), func(e *edge) { _ = e.stream.CloseSend() }, 0},
		"it drained and its stream is ended":  {draining("a", 1, 0), func(e *edge) { e.cancel() }, 0},
		"it still drains, the stream broke":   {draining("a", 1, 10), func(e *edge) { _ = e.conn.Close() }, 1},
		"it does not drain, the stream ended": {sample("a", 1, 10), func(e *edge) { _ = e.stream.CloseSend() }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, i *instance) {
				a := i.edge()
				a.say(sample("a", 1, 10))
				a.say(test.last)
				test.end(a)
				synctest.Wait()
				i.has(test.edges, uint64(test.edges)*10)
			})
		})
	}
}

func TestLaterLifeCounts(t *testing.T) {
	inBubble(t, func(t *testing.T, i *instance) {
		before, after := i.edge(), i.edge()
		before.say(sample("a", 1, 10))
		after.say(sample("a", 2, 3))
		i.has(1, 3)
		before.say(sample("a", 1, 10))
		before.ends(codes.FailedPrecondition)
		i.has(1, 3)
	})
}

func TestLaterStreamCounts(t *testing.T) {
	inBubble(t, func(t *testing.T, i *instance) {
		before := i.edge()
		before.say(sample("a", 1, 10))
		after := i.edge()
		after.say(sample("a", 1, 3))
		before.say(sample("a", 1, 10))
		before.ends(codes.Aborted)
		i.has(1, 3)
	})
}

func TestMalformedReports(t *testing.T) {
	change := func(f func(*presencev1.Edge)) *presencev1.Edge {
		e := sample("a", 1, 1)
		f(e)
		return e
	}
	for name, bad := range map[string]*presencev1.Edge{
		"no edge":          nil,
		"no id":            sample("", 1, 1),
		"bad id":           sample("a\nb", 1, 1),
		"no incarnation":   sample("a", 0, 1),
		"too many":         sample("a", 1, math.MaxUint64),
		"long version":     change(func(e *presencev1.Edge) { e.Version = strings.Repeat("x", 256) }),
		"long address":     change(func(e *presencev1.Edge) { e.Address = strings.Repeat("x", 256) }),
		"cpu of no number": change(func(e *presencev1.Edge) { e.Cpu = math.NaN() }),
		"negative cpu":     change(func(e *presencev1.Edge) { e.Cpu = -1 }),
		"endless limit":    change(func(e *presencev1.Edge) { e.CpuLimit = math.Inf(1) }),
		"bad group":        change(func(e *presencev1.Edge) { e.Group = "blue green" }),
		"long group":       change(func(e *presencev1.Edge) { e.Group = strings.Repeat("x", 65) }),
		"bad planner":      change(func(e *presencev1.Edge) { e.Planner = "\x00" }),
		"heavy":            change(func(e *presencev1.Edge) { e.Weight = 257 }),
		"too capable":      change(func(e *presencev1.Edge) { e.Capacity = 1_000_001 }),
		"too many moved":   change(func(e *presencev1.Edge) { e.Moved = math.MaxUint64 }),
		"too many opened":  change(func(e *presencev1.Edge) { e.Opened = math.MaxUint64 }),
		"too old":          change(func(e *presencev1.Edge) { e.UptimeMs = math.MaxInt64 / 1000 }),
		"too old a weight": change(func(e *presencev1.Edge) { e.WeightAgeMs = math.MaxUint64 }),
		"bad orders":       change(func(e *presencev1.Edge) { e.Orders = &presencev1.Orders{Seq: 1} }),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, i *instance) {
				other, a := i.edge(), i.edge()
				other.say(sample("other", 1, 5))
				a.say(bad)
				a.ends(codes.InvalidArgument)
				i.has(1, 5)
			})
		})
	}
}

func TestStreamIsOfOneLife(t *testing.T) {
	for name, next := range map[string]*presencev1.Edge{"another id": sample("b", 1, 1), "another life": sample("a", 2, 1)} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, i *instance) {
				a := i.edge()
				a.say(sample("a", 1, 10))
				a.say(next)
				a.ends(codes.InvalidArgument)
				i.has(1, 10)
			})
		})
	}
}

func TestSilentEdgeIsLetGo(t *testing.T) {
	inBubble(t, func(t *testing.T, i *instance) {
		a := i.edge()
		a.say(sample("a", 1, 10))
		begin := time.Now()
		a.ends(codes.DeadlineExceeded)
		if waited := time.Since(begin); waited > load.Lease+2*time.Second {
			t.Errorf("after %s", waited)
		}
		i.has(0, 0)
	})
}

func TestSteadyEdgeStays(t *testing.T) {
	inBubble(t, func(t *testing.T, i *instance) {
		a := i.edge()
		stop := a.reporting(func() *presencev1.Edge { return sample("a", 1, 10) })
		defer stop()
		for range 30 {
			time.Sleep(370 * time.Millisecond) // virtual time
			i.has(1, 10)
		}
	})
}

func TestStopEndsStreams(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		i := start(t, self{instance1}, sdkmetric.NewMeterProvider().Meter("test"))
		a := i.edge()
		a.say(sample("a", 1, 10))
		watch := i.watch(0)
		watch.next()
		begin := time.Now()
		i.stop()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("stopping took %s", took)
		}
		a.ends(codes.Unavailable)
		watch.ends(codes.Unavailable)
	})
}

func TestMetrics(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		i := start(t, self{instance1}, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test"))
		defer i.stop()
		i.edge().say(sample("a", 1, 10))
		i.edge().say(sample("b", 0, 10))
		var all metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		got := map[string]int64{}
		for _, m := range all.ScopeMetrics[0].Metrics {
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				got[m.Name] = data.DataPoints[0].Value
			case metricdata.Sum[int64]:
				got[m.Name] = data.DataPoints[0].Value
				if reason, _ := data.DataPoints[0].Attributes.Value("reason"); m.Name == "skein.presence.refused" && reason.AsString() != "malformed" {
					t.Errorf("reason %q", reason.AsString())
				}
			}
		}
		if got["skein.fleet.edges"] != 1 || got["skein.fleet.connections"] != 10 || got["skein.presence.refused"] != 1 {
			t.Errorf("got %v", got)
		}
	})
}
