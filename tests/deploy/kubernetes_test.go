//go:build e2e

package deploy

import (
	"bytes"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/skein-mesh/skein/pkg/conf"
	"github.com/skein-mesh/skein/services/edge"
	"github.com/skein-mesh/skein/services/presence"
	"github.com/skein-mesh/skein/services/router"
)

const root = "../.."

// objects builds the base and decodes it with the API's own types; a field that
// they do not have is an error.
func objects(t *testing.T) []runtime.Object {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=.ci/tools/kube.mod", "kustomize", "build", "deploy/kubernetes")
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var all []runtime.Object
	for text := range strings.SplitSeq(stdout.String(), "\n---\n") {
		o, _, err := decoder.Decode([]byte(text), nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		all = append(all, o)
	}
	return all
}

// of picks the objects of a kind, by name.
func of[T metav1.Object](all []runtime.Object) map[string]T {
	found := map[string]T{}
	for _, o := range all {
		if typed, ok := o.(T); ok {
			found[typed.GetName()] = typed
		}
	}
	return found
}

func TestKubernetesHasEachServiceOnce(t *testing.T) {
	all := objects(t)
	want := []string{"skein-edge", "skein-presence", "skein-router"}
	for kind, got := range map[string][]string{
		"deployments": slices.Sorted(maps.Keys(of[*appsv1.Deployment](all))),
		"budgets":     slices.Sorted(maps.Keys(of[*policyv1.PodDisruptionBudget](all))),
		"policies":    slices.Sorted(maps.Keys(of[*networkingv1.NetworkPolicy](all))),
	} {
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", kind, got, want)
		}
	}
	for name, b := range of[*rbacv1.RoleBinding](all) {
		if of[*rbacv1.Role](all)[b.RoleRef.Name] == nil {
			t.Errorf("%s binds no role that there is", name)
		}
	}
}

func TestKubernetesSelectorsFindPods(t *testing.T) {
	all := objects(t)
	selectors := map[string]*metav1.LabelSelector{}
	for name, s := range of[*corev1.Service](all) {
		selectors["service "+name] = &metav1.LabelSelector{MatchLabels: s.Spec.Selector}
	}
	for name, b := range of[*policyv1.PodDisruptionBudget](all) {
		selectors["budget "+name] = b.Spec.Selector
	}
	for name, p := range of[*networkingv1.NetworkPolicy](all) {
		selectors["policy "+name] = &p.Spec.PodSelector
	}
	for name, d := range of[*appsv1.Deployment](all) {
		selectors["deployment "+name] = d.Spec.Selector
	}
	for of1, s := range selectors {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		var pods []string
		for name, d := range of[*appsv1.Deployment](all) {
			if selector.Matches(labels.Set(d.Spec.Template.Labels)) {
				pods = append(pods, name)
			}
		}
		if _, name, _ := strings.Cut(of1, " "); len(pods) != 1 || !strings.HasPrefix(name, pods[0]) {
			t.Errorf("%s selects %q", of1, pods)
		}
	}
}

func TestKubernetesPortsAreOpen(t *testing.T) {
	all := objects(t)
	for name, d := range of[*appsv1.Deployment](all) {
		c := d.Spec.Template.Spec.Containers[0]
		var ports []string
		for _, p := range c.Ports {
			ports = append(ports, p.Name)
		}
		for _, probe := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
			if probe == nil || probe.HTTPGet == nil || !slices.Contains(ports, probe.HTTPGet.Port.StrVal) {
				t.Errorf("%s: a probe asks no port that there is: %+v", name, probe)
			}
		}
		if stop := c.Lifecycle; name == "skein-edge" && (stop == nil || stop.PreStop.HTTPGet.Path != "/drain") {
			t.Errorf("%s does not drain before it is stopped", name)
		}
		for _, rule := range of[*networkingv1.NetworkPolicy](all)[name].Spec.Ingress {
			for _, p := range rule.Ports {
				if !slices.Contains(ports, p.Port.StrVal) {
					t.Errorf("%s: the policy opens port %s, which there is not", name, p.Port)
				}
			}
		}
	}
}

func TestKubernetesPodsMayDoLittle(t *testing.T) {
	for name, d := range of[*appsv1.Deployment](objects(t)) {
		pod := d.Spec.Template.Spec
		c := pod.Containers[0].SecurityContext
		switch {
		case !*pod.SecurityContext.RunAsNonRoot, !*c.ReadOnlyRootFilesystem, *c.AllowPrivilegeEscalation,
			!slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}),
			pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
			t.Errorf("%s: %+v %+v", name, pod.SecurityContext, c)
		case *pod.AutomountServiceAccountToken != (name == "skein-presence"):
			t.Errorf("%s: only presence talks to the API", name)
		case pod.Containers[0].Resources.Limits.Memory().IsZero():
			t.Errorf("%s: there is no limit of memory", name)
		}
	}
}

// TestKubernetesSettingsAreTaken reads each pod's environment as its program does.
func TestKubernetesSettingsAreTaken(t *testing.T) {
	all := objects(t)
	edges, routers, presences := edge.Default(), router.Default(), presence.Default()
	for name, cfg := range map[string]conf.Config{"skein-edge": &edges, "skein-router": &routers, "skein-presence": &presences} {
		env := map[string]string{"POD_IP": "10.0.0.9"}
		for _, m := range of[*corev1.ConfigMap](all) {
			maps.Copy(env, m.Data)
		}
		for _, e := range of[*appsv1.Deployment](all)[name].Spec.Template.Spec.Containers[0].Env {
			switch {
			case e.Name == "SKEIN_GOSSIP_KEYS":
				env[e.Name] = "c2tlaW4tZXhhbXBsZS1rZXktbm90LXNlY3JldC0wMDE="
			case e.Name == "SKEIN_ID":
				env[e.Name] = name + "-7d9f-abcde"
			case e.ValueFrom == nil:
				env[e.Name] = strings.ReplaceAll(e.Value, "$(POD_IP)", env["POD_IP"])
			}
		}
		if err := conf.Load(cfg, conf.Source{Name: name, Getenv: func(key string) string { return env[key] }}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if edges.Listen != ":4000" || routers.GRPCAdvertise != "10.0.0.9:5000" || len(presences.Join) != 2 {
		t.Errorf("%s %s %q", edges.Listen, routers.GRPCAdvertise, presences.Join)
	}
}
