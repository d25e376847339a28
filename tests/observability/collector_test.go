//go:build e2e

package observability

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

// collector is a running OpenTelemetry Collector.
type collector struct {
	endpoint string // of OTLP over gRPC
	file     string // that it writes what it got into
}

// startCollector builds the collector, which is quick when it was built before,
// and starts it.
func startCollector(t *testing.T) collector {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "collector"), ".")
	build.Dir = filepath.Join(process.Root(), ".ci", "tools", "collector")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the collector: %v\n%s", err, out)
	}
	address := process.Addresses(t, 1)[0]
	c := collector{"http://" + address, filepath.Join(dir, "traces.json")}
	config := filepath.Join(dir, "config.yaml")
	err := os.WriteFile(config, fmt.Appendf(nil, `
receivers: {otlp: {protocols: {grpc: {endpoint: %q}}}}
exporters: {file: {path: %q, flush_interval: 100ms}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {traces: {receivers: [otlp], exporters: [file]}}
`, address, c.file), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p := process.New(t, "collector", filepath.Join(dir, "collector"), "", "--config", config)
	p.Launch(t)
	process.Eventually(t, 30*time.Second, "the collector is ready", func() bool {
		p.Alive(t)
		return strings.Contains(p.Output.String(), "Everything is ready")
	})
	return c
}

// span is one as the collector got it.
type span struct {
	TraceID, SpanID, ParentSpanID, Name string
	Kind                                int
	Attributes                          []attribute

	process string // that sent it, and calling if it calls another
}

// calling tells the span of a caller from that of who is called: both have the
// name of the call.
const calling = ", calling"

// kindClient is that of a caller's span in OTLP.
const kindClient = 3

type attribute struct {
	Key   string
	Value struct{ StringValue, IntValue string }
}

func find(list []attribute, key string) string {
	for _, a := range list {
		if a.Key == key {
			return a.Value.StringValue + a.Value.IntValue
		}
	}
	return ""
}

// spans returns all that came so far and is complete.
func (c collector) spans(t *testing.T) []span {
	t.Helper()
	data, err := os.ReadFile(c.file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var all []span
	for line := range strings.SplitSeq(string(data), "\n") {
		var batch struct {
			ResourceSpans []struct {
				Resource   struct{ Attributes []attribute }
				ScopeSpans []struct{ Spans []span }
			}
		}
		if json.Unmarshal([]byte(line), &batch) != nil {
			continue // the last line is being written
		}
		for _, r := range batch.ResourceSpans {
			for _, scope := range r.ScopeSpans {
				for _, s := range scope.Spans {
					s.process = find(r.Resource.Attributes, "service.instance.id")
					if s.Kind == kindClient {
						s.process += calling
					}
					all = append(all, s)
				}
			}
		}
	}
	return all
}

// await returns the spans of one trace as soon as there are n, from however many
// processes. trace may be empty for the one that a span about topic belongs to.
func (c collector) await(t *testing.T, trace, topic string, n int) []span {
	t.Helper()
	var found []span
	process.Eventually(t, 30*time.Second, fmt.Sprintf("%d spans of %s", n, topic), func() bool {
		found = nil
		all := c.spans(t)
		for _, s := range all {
			if trace == "" && find(s.Attributes, "skein.topic") == topic {
				trace = s.TraceID
			}
		}
		for _, s := range all {
			if trace != "" && s.TraceID == trace {
				found = append(found, s)
			}
		}
		return len(found) >= n
	})
	return found
}
