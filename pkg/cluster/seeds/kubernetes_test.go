package seeds

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/skein-mesh/skein/pkg/kube"
)

func TestKubernetesTexts(t *testing.T) {
	for text, want := range map[string]kubernetes{
		"app=router":                      {selector: "app=router", port: 7946},
		"app=router:80":                   {selector: "app=router", port: 80},
		"skein/app=router":                {namespace: "skein", selector: "app=router", port: 7946},
		"app.kubernetes.io/name=router:1": {selector: "app.kubernetes.io/name=router", port: 1},
		"skein/example.com/a in (b,c)":    {namespace: "skein", selector: "example.com/a in (b,c)", port: 7946},
		"a=b,example/c=d":                 {selector: "a=b,example/c=d", port: 7946},
	} {
		got, err := parseKubernetes(text, 7946)
		if err != nil || got.namespace != want.namespace || got.selector != want.selector || got.port != want.port {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// apiServer is a Kubernetes API that knows the addresses of pods in one
// namespace, or answers with a code.
type apiServer struct {
	ips  atomic.Pointer[[]string]
	code atomic.Int64
}

// ServeHTTP implements [http.Handler].
func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if code := a.code.Load(); code != 0 {
		http.Error(w, "no", int(code))
		return
	}
	var items []string
	if r.URL.Path == "/api/v1/namespaces/skein/pods" && r.URL.Query().Get("labelSelector") == "app=router" {
		for _, ip := range *a.ips.Load() {
			items = append(items, fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"},"status":{"phase":"Running","podIP":%q}}`, ip))
		}
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[%s]}`, strings.Join(items, ","))
}

func TestKubernetesIsAskedAgain(t *testing.T) {
	api := &apiServer{}
	api.ips.Store(&[]string{"10.0.0.1"})
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	k, err := parseKubernetes("skein/app=router:7000", 7946)
	if err != nil {
		t.Fatal(err)
	}
	k.connect = func(namespace string) (lister, error) {
		client, err := kube.Client(&rest.Config{Host: server.URL})
		return kube.NewPods(client, namespace), err
	}
	w, log := watch(t, Options{Interval: MinInterval}, k)
	eventually(t, w, "10.0.0.1:7000")
	api.ips.Store(&[]string{"10.0.0.2", "fd00::1"})
	eventually(t, w, "10.0.0.2:7000", "[fd00::1]:7000")
	api.code.Store(http.StatusForbidden)
	logged(t, log, "a Role and a RoleBinding")
	logged(t, log, "reason=forbidden")
	eventually(t, w, "10.0.0.2:7000", "[fd00::1]:7000")
	api.code.Store(0)
	api.ips.Store(&[]string{})
	logged(t, log, "reason=empty")
	api.ips.Store(&[]string{"10.0.0.3"})
	eventually(t, w, "10.0.0.3:7000")
}

// pods have fixed addresses.
type pods []string

// Addresses implements [lister].
func (p pods) Addresses(context.Context, string) ([]string, error) { return p, nil }

// What a pod does not have yet, such as its account, is looked for again.
func TestKubernetesConnectsAgain(t *testing.T) {
	k, err := parseKubernetes("app=router", 1)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("no account")
	k.connect = func(string) (lister, error) { return nil, broken }
	if _, err := k.Addresses(t.Context()); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	k.connect = func(string) (lister, error) { return pods{"10.0.0.1"}, nil }
	if got, err := k.Addresses(t.Context()); err != nil || !slices.Equal(got, []string{"10.0.0.1:1"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestKubernetesOutsideOfACluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	k, err := parseKubernetes("app=router", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Addresses(t.Context()); err == nil || !strings.Contains(err.Error(), "no pod") {
		t.Errorf("got %v", err)
	}
}
