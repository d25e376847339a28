package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc/test/bufconn"
	"k8s.io/client-go/rest"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/kube"
	"github.com/skein-mesh/skein/pkg/telemetry/logtest"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// request is one that the API got.
type request struct {
	method, path, query, contentType, body string
}

// api is as much of the API of Kubernetes as pods need, in memory.
type api struct {
	listener *bufconn.Listener

	// mu guards the fields below.
	mu       sync.Mutex
	pods     map[string]map[string]any // by name
	requests []request
	refuse   func(request) (status int, reason string, header http.Header) // 0 answers
}

// add makes a pod.
func (a *api) add(name string, with map[string]any) {
	pod := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name, "namespace": "chat"}}
	maps.Copy(pod, with)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pods[name] = pod
}

// cost returns the annotation of a pod, empty for none.
func (a *api) cost(name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	metadata, _ := a.pods[name]["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	value, _ := annotations[Annotation].(string)
	return value
}

// got returns the requests to list pods and those to patch one since it was last
// called.
func (a *api) got() (lists, patches []request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.requests {
		if r.method == http.MethodPatch {
			patches = append(patches, r)
		} else {
			lists = append(lists, r)
		}
	}
	a.requests = nil
	return lists, patches
}

func (a *api) refusing(refuse func(request) (int, string, http.Header)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuse = refuse
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	got := request{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Content-Type"), string(body)}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, got)
	w.Header().Set("Content-Type", "application/json")
	if a.refuse != nil {
		if status, reason, header := a.refuse(got); status != 0 {
			maps.Copy(w.Header(), header)
			failure(w, status, reason)
			return
		}
	}
	const folder = "/api/v1/namespaces/chat/pods"
	name, below := strings.CutPrefix(r.URL.Path, folder+"/")
	switch {
	case r.Method == http.MethodGet && r.URL.Path == folder:
		a.list(w, r.URL.Query().Get("continue"))
	case r.Method == http.MethodPatch && below && a.pods[name] != nil:
		var patch map[string]any
		if err := json.Unmarshal(body, &patch); err != nil {
			failure(w, http.StatusBadRequest, "BadRequest")
			return
		}
		merge(a.pods[name], patch)
		answer(w, a.pods[name])
	default:
		failure(w, http.StatusNotFound, "NotFound")
	}
}

// list answers with three pods a page. The caller holds mu.
func (a *api) list(w io.Writer, after string) {
	items, next := []any{}, ""
	for _, name := range slices.Sorted(maps.Keys(a.pods)) {
		if name <= after {
			continue
		}
		if len(items) == 3 {
			next = items[2].(map[string]any)["metadata"].(map[string]any)["name"].(string)
			break
		}
		items = append(items, a.pods[name])
	}
	answer(w, map[string]any{
		"apiVersion": "v1", "kind": "PodList", "metadata": map[string]any{"resourceVersion": "1", "continue": next}, "items": items,
	})
}

func answer(w io.Writer, body any) {
	if err := json.NewEncoder(w).Encode(body); err != nil {
		_, _ = fmt.Fprintf(w, "no JSON: %v", err)
	}
}

// merge is a JSON merge patch (RFC 7396) without removals.
func merge(into, patch map[string]any) {
	for key, value := range patch {
		below, ok := value.(map[string]any)
		if !ok {
			into[key] = value
			continue
		}
		if into[key] == nil {
			into[key] = map[string]any{}
		}
		merge(into[key].(map[string]any), below)
	}
}

func failure(w http.ResponseWriter, status int, reason string) {
	w.WriteHeader(status)
	answer(w, map[string]any{
		"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": fmt.Sprintf("%s by the test", reason),
	})
}

// world is costs that run beside an API, in virtual time.
type world struct {
	*api
	t      *testing.T
	logs   *logtest.Buffer
	reader *sdkmetric.ManualReader

	// mu guards the fields below.
	mu      sync.Mutex
	edges   []*presencev1.Edge
	elected func() bool
}

func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		w := &world{
			api: &api{listener: bufconn.Listen(1 << 20), pods: map[string]map[string]any{}}, t: t,
			logs: &logtest.Buffer{}, reader: sdkmetric.NewManualReader(), elected: func() bool { return true },
		}
		server := &http.Server{Handler: w.api}
		var running sync.WaitGroup
		running.Go(func() { _ = server.Serve(w.listener) })
		config := &rest.Config{Host: "http://kubernetes", Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return w.listener.DialContext(ctx)
		}}
		client, err := kube.Client(config)
		if err != nil {
			t.Fatal(err)
		}
		m, err := newMetrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader)).Meter("test"))
		if err != nil {
			t.Fatal(err)
		}
		settings := Default()
		settings.Namespace = "chat"
		ctx, cancel := context.WithCancel(t.Context())
		running.Go(func() {
			_ = newCosts(client, settings, w.fleet, slog.New(slog.NewTextHandler(w.logs, nil)), m).Run(ctx)
		})
		defer running.Wait()
		defer func() { _ = server.Close() }()
		defer cancel()
		f(t, w)
	})
}

func (w *world) fleet() ([]*presencev1.Edge, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.edges, w.elected()
}

// report makes the edges report.
func (w *world) report(edges ...*presencev1.Edge) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.edges = edges
}

// elect decides, each time it is asked, whether the instance plans.
func (w *world) elect(elected func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.elected = elected
}

// count returns a gauge or the sum of a counter, or of those of its values with a
// reason.
func (w *world) count(name, reason string) int64 {
	w.t.Helper()
	var all metricdata.ResourceMetrics
	if err := w.reader.Collect(w.t.Context(), &all); err != nil {
		w.t.Fatal(err)
	}
	var sum int64
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			for _, p := range points(m.Data) {
				if value, _ := p.Attributes.Value("reason"); reason == "" || value.AsString() == reason {
					sum += p.Value
				}
			}
		}
	}
	return sum
}

func points(data metricdata.Aggregation) []metricdata.DataPoint[int64] {
	switch data := data.(type) {
	case metricdata.Sum[int64]:
		return data.DataPoints
	case metricdata.Gauge[int64]:
		return data.DataPoints
	}
	return nil
}
