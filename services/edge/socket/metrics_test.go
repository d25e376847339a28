package socket_test

import (
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/socket"
)

// collect reads the metrics as name or name/reason.
func collect(t *testing.T, r metric.Reader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			for _, p := range points(t, m) {
				name := m.Name
				if reason, ok := p.Attributes.Value("reason"); ok {
					name += "/" + reason.AsString()
				}
				got[name] = p.Value
			}
		}
	}
	return got
}

func points(t *testing.T, m metricdata.Metrics) []metricdata.DataPoint[int64] {
	t.Helper()
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		return data.DataPoints
	case metricdata.Gauge[int64]:
		return data.DataPoints
	default:
		t.Fatalf("%s is a %T", m.Name, m.Data)
		return nil
	}
}

func TestMetrics(t *testing.T) {
	onEngines(t, func(t *testing.T, e mode) {
		reader := metric.NewManualReader()
		meter := metric.NewMeterProvider(metric.WithReader(reader)).Meter("test")
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Meter: meter})
		closes := dial(t, s)
		closes.text("hello")
		closes.expect("hello")
		closes.write(frame(wsframe.Close, true, "\x03\xe8"))
		closes.expect("close 1000", "end")
		rude := dial(t, s)
		rude.write([]byte{0xff, 0xff})
		rude.expect("close 1002", "end")
		_ = rude.Close()
		stays := dial(t, s)
		stays.text("hello")
		stays.expect("hello")
		ask(t, s, request("GET /socket/websocket?vsn=3.0.0"))
		eventually(t, "two are gone", func() bool { return s.Count() == 1 })
		got := collect(t, reader)
		for name, want := range map[string]int64{
			"skein.socket.connections":      1,
			"skein.socket.opens":            3,
			"skein.socket.refusals/version": 1,
			"skein.socket.refusals/address": 0,
			"skein.socket.closes/client":    1,
			"skein.socket.closes/protocol":  1,
			"skein.socket.closes/slow":      0,
			"skein.socket.queue":            0,
		} {
			if v, ok := got[name]; !ok || v != want {
				t.Errorf("%s is %d (%t), want %d", name, v, ok, want)
			}
		}
		for _, name := range []string{"frames.in", "bytes.in", "frames.out", "bytes.out", "writes"} {
			if got["skein.socket."+name] < 2 {
				t.Errorf("%s is %d", name, got["skein.socket."+name])
			}
		}
	})
}
