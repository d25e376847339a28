package refusal_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/refusal"
)

// log returns a Log, what it wrote, and what it counted by reason.
func log(t *testing.T) (*refusal.Log, *bytes.Buffer, func() map[string]int64) {
	t.Helper()
	var out bytes.Buffer
	reader := sdkmetric.NewManualReader()
	l, err := refusal.New(slog.New(slog.NewTextHandler(&out, nil)), sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test"))
	if err != nil {
		t.Fatal(err)
	}
	return l, &out, func() map[string]int64 {
		var all metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		counts := map[string]int64{}
		for _, scope := range all.ScopeMetrics {
			for _, m := range scope.Metrics {
				sum, _ := m.Data.(metricdata.Sum[int64])
				for _, point := range sum.DataPoints {
					reason, _ := point.Attributes.Value("reason")
					counts[m.Name+" "+reason.AsString()] = point.Value
				}
			}
		}
		return counts
	}
}

func TestEachPeerAndReasonIsLoggedOnceAMinute(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		l, out, counts := log(t)
		lines := func() int { return strings.Count(out.String(), "call refused") }
		for port := range 3 {
			l.Add(t.Context(), refusal.NoKey, fmt.Sprintf("10.0.0.1:%d", port), "call refused", "method", "/x/Y")
		}
		if lines() != 1 || !strings.Contains(out.String(), "reason=no_key peer=10.0.0.1 method=/x/Y") {
			t.Fatalf("log is %q", out)
		}
		l.Add(t.Context(), refusal.NoKey, "10.0.0.2:1", "call refused")
		l.Add(t.Context(), refusal.Scope, "10.0.0.1:1", "call refused")
		if lines() != 3 {
			t.Errorf("%d lines for another peer and another reason, want 3", lines())
		}
		time.Sleep(time.Minute) // virtual time
		l.Add(t.Context(), refusal.NoKey, "10.0.0.1:1", "call refused")
		if lines() != 4 {
			t.Errorf("%d lines after a minute, want 4", lines())
		}
		if got := counts(); got["skein.refused no_key"] != 5 || got["skein.refused scope"] != 1 {
			t.Errorf("counted %v", got)
		}
	})
}

func TestPeersThatAreRememberedAreBounded(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		l, out, counts := log(t)
		flood := func() int {
			out.Reset()
			for i := range 5000 {
				l.Add(t.Context(), refusal.UnknownCA, fmt.Sprintf("10.0.%d.%d:1", i/256, i%256), "refused")
			}
			return strings.Count(out.String(), "msg=refused")
		}
		if first := flood(); first != 1024 {
			t.Errorf("%d lines, want 1024", first)
		}
		time.Sleep(time.Minute) // virtual time
		if again := flood(); again != 1024 {
			t.Errorf("%d lines a minute later, want 1024", again)
		}
		if got := counts()["skein.refused unknown_ca"]; got != 10000 {
			t.Errorf("counted %d, want every one of 10000", got)
		}
	})
}

func TestNoLog(t *testing.T) {
	var none *refusal.Log
	none.Add(t.Context(), refusal.NoKey, "x", "refused")
}
