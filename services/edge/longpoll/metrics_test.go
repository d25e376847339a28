package longpoll

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

func TestMetrics(t *testing.T) {
	reader := sdk.NewManualReader()
	meter := sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")
	inBubble(t, func(o *Options) { o.Meter = meter }, func(t *testing.T, e *edge) {
		token, c := e.open()
		e.open()
		e.post(token, "[]")
		e.get(token)
		e.post("rubbish", "[]")
		c.conn.Close(wsframe.CodeGoingAway, "")
		e.do(t.Context(), http.MethodGet, "vsn=7", "")
		synctest.Wait()
		got := collect(t, reader)
		for name, want := range map[string]int64{
			"skein.longpoll.sessions":           1,
			"skein.longpoll.requests opened":    2,
			"skein.longpoll.requests published": 1,
			"skein.longpoll.requests messages":  1,
			"skein.longpoll.requests gone":      1,
			"skein.longpoll.requests refused":   1,
			"skein.longpoll.ends kicked":        1,
			"skein.longpoll.drops slow":         0,
			"skein.longpoll.forwards":           0,
		} {
			if n, ok := got[name]; !ok || n != want {
				t.Errorf("%s is %d, want %d", name, n, want)
			}
		}
	})
}

func collect(t *testing.T, reader sdk.Reader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	add := func(name string, set attribute.Set, n int64) {
		for _, kv := range set.ToSlice() {
			name = fmt.Sprintf("%s %s", name, kv.Value.AsString())
		}
		got[name] = n
	}
	for _, m := range all.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Gauge[int64]:
			for _, p := range data.DataPoints {
				add(m.Name, p.Attributes, p.Value)
			}
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				add(m.Name, p.Attributes, p.Value)
			}
		}
	}
	return got
}
