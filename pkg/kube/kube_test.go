package kube

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/rest"
)

// pod returns a pod with a label app and a status.
func pod(name, app string, status map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"namespace": "skein", "name": name, "labels": map[string]any{"app": app}},
		"status":   status,
	}}
}

func running(ip string) map[string]any { return map[string]any{"phase": "Running", "podIP": ip} }

func TestAddressesOfPods(t *testing.T) {
	leaving := pod("leaving", "router", running("10.0.0.4"))
	leaving.Object["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-01T00:00:00Z"
	elsewhere := pod("elsewhere", "router", running("10.0.0.9"))
	elsewhere.SetNamespace("other")
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{{Version: "v1", Resource: "pods"}: "PodList"},
		pod("ready", "router", running("10.0.0.1")),
		pod("starting", "router", map[string]any{"phase": "Pending", "podIP": "10.0.0.2"}),
		pod("six", "router", running("fd00::3")),
		pod("without address", "router", map[string]any{"phase": "Pending"}),
		pod("without status", "router", nil),
		pod("ended", "router", map[string]any{"phase": "Succeeded", "podIP": "10.0.0.5"}),
		pod("crashed", "router", map[string]any{"phase": "Failed", "podIP": "10.0.0.6"}),
		pod("an edge", "edge", running("10.0.0.7")),
		leaving, elsewhere,
	)
	got, err := NewPods(client, "skein").Addresses(t.Context(), "app=router")
	slices.Sort(got)
	if want := []string{"10.0.0.1", "10.0.0.2", "fd00::3"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// serve answers requests until the test ends, and returns a client for it.
func serve(t *testing.T, answer http.HandlerFunc) *Pods {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	client, err := Client(&rest.Config{Host: server.URL, BearerToken: "token"})
	if err != nil {
		t.Fatal(err)
	}
	return NewPods(client, "skein")
}

func TestPages(t *testing.T) {
	pods := serve(t, func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if r.URL.Path != "/api/v1/namespaces/skein/pods" || query.Get("labelSelector") != "app=router" ||
			r.Header.Get("Authorization") != "Bearer token" || !strings.HasPrefix(r.UserAgent(), "skein/") {
			t.Errorf("asked %s %v", r.URL, r.Header)
		}
		list := `{"kind":"PodList","apiVersion":"v1","metadata":{"continue":"more"},"items":[{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"status":{"podIP":"10.0.0.1"}}]}`
		switch [2]string{query.Get("continue"), query.Get("resourceVersion")} {
		case [2]string{"", "0"}: // the server may answer from memory
		case [2]string{"more", ""}:
			list = strings.NewReplacer(`"more"`, `""`, "10.0.0.1", "10.0.0.2").Replace(list)
		default:
			t.Errorf("asked %s", r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(list)) // the client notices
	})
	got, err := pods.Addresses(t.Context(), "app=router")
	if want := []string{"10.0.0.1", "10.0.0.2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestForbidden(t *testing.T) {
	for code, want := range map[int]bool{403: true, 401: true, 404: false, 500: false} {
		pods := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) })
		if _, err := pods.Addresses(t.Context(), "a=b"); err == nil || Forbidden(err) != want {
			t.Errorf("%d: %v", code, err)
		}
	}
}

func TestInCluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := InCluster(); err == nil || !strings.Contains(err.Error(), "KUBERNETES_SERVICE_HOST") {
		t.Errorf("outside of a cluster: %v", err)
	}
}

func TestNamespace(t *testing.T) {
	folder := t.TempDir()
	if _, err := namespaceIn(folder); err == nil || !strings.Contains(err.Error(), "name one") {
		t.Errorf("without a file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "namespace"), []byte("skein\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := namespaceIn(folder); got != "skein" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestChecks(t *testing.T) {
	for text, valid := range map[string]bool{"skein": true, "a-1": true, "": false, "A": false, "a.b": false, "-": false} {
		if err := CheckNamespace(text); (err == nil) != valid {
			t.Errorf("namespace %q: %v", text, err)
		}
	}
	for text, valid := range map[string]bool{
		"a=b": true, "a in (b,c),!d": true, "app.kubernetes.io/name=x": true, "": false, " ": false, "=": false, "a=b c": false,
	} {
		if err := CheckSelector(text); (err == nil) != valid {
			t.Errorf("selector %q: %v", text, err)
		}
	}
}
