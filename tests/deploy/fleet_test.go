//go:build e2e

package deploy

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/skein-mesh/skein/pkg/conf"
	"github.com/skein-mesh/skein/services/edge"
	"github.com/skein-mesh/skein/services/presence"
	"github.com/skein-mesh/skein/services/router"
)

const root = "../.."

// fleets are the ways to put the base and its components together.
func fleets() map[string][]string {
	return map[string][]string{
		"base":                   nil,
		"cert-manager":           {"cert-manager"},
		"discovery":              {"discovery"},
		"insecure":               {"insecure"},
		"cert-manager,discovery": {"cert-manager", "discovery"},
		"insecure,discovery":     {"insecure", "discovery"},
	}
}

// fleet is what an overlay makes.
type fleet struct {
	has          map[string]bool // components
	objects      []runtime.Object
	deployments  map[string]*appsv1.Deployment
	policies     map[string]*networkingv1.NetworkPolicy
	certificates map[string]certificate
	issuers      map[string]issuer
}

// build makes an overlay of components and decodes what comes of it with the
// API's own types; a field that they do not have is an error.
func build(t *testing.T, components []string) fleet {
	t.Helper()
	f := fleet{has: map[string]bool{}, certificates: map[string]certificate{}, issuers: map[string]issuer{}}
	dir := t.TempDir()
	base := relative(t, dir, "deploy/kubernetes")
	lines := []string{"namespace: skein", fmt.Sprintf("resources: [%s]", base), "components:"}
	for _, c := range components {
		f.has[c] = true
		lines = append(lines, fmt.Sprintf("  - %s/%s", base, c))
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	f.decode(t, kustomize(t, dir))
	return f
}

// relative is where a folder of the repository is, as seen from dir: Kustomize
// takes no absolute paths.
func relative(t *testing.T, dir, folder string) string {
	t.Helper()
	target, err := filepath.Abs(filepath.Join(root, folder))
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Rel(dir, target)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func kustomize(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=.ci/tools/kube.mod", "kustomize", "build", dir)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	return stdout.String()
}

func (f *fleet) decode(t *testing.T, documents string) {
	t.Helper()
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for text := range strings.SplitSeq(documents, "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(text), &kind); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		var err error
		switch kind.APIVersion + "/" + kind.Kind {
		case certManager + "/Certificate":
			err = add(f.certificates, text)
		case certManager + "/Issuer":
			err = add(f.issuers, text)
		default:
			var o runtime.Object
			o, _, err = decoder.Decode([]byte(text), nil, nil)
			f.objects = append(f.objects, o)
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
	f.deployments, f.policies = of[*appsv1.Deployment](f.objects), of[*networkingv1.NetworkPolicy](f.objects)
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

// programs are those of a fleet by the names of their deployments, with
// the configurations that they start from.
func programs() map[string]conf.Config {
	edges, routers, presences := edge.Default(), router.Default(), presence.Default()
	return map[string]conf.Config{"skein-edge": &edges, "skein-router": &routers, "skein-presence": &presences}
}

// podIP is the address of every pod here.
const podIP = "10.0.0.9"

// environment is that of the pods of a deployment. Secrets are made up.
func (f *fleet) environment(name string) map[string]string {
	env := map[string]string{}
	for _, m := range of[*corev1.ConfigMap](f.objects) {
		maps.Copy(env, m.Data)
	}
	for _, e := range f.deployments[name].Spec.Template.Spec.Containers[0].Env {
		switch source := e.ValueFrom; {
		case source == nil:
			env[e.Name] = strings.ReplaceAll(e.Value, "$(POD_IP)", env["POD_IP"])
		case source.SecretKeyRef != nil:
			env[e.Name] = "c2tlaW4tZXhhbXBsZS1rZXktbm90LXNlY3JldC0wMDE="
		case source.FieldRef.FieldPath == "status.podIP":
			env[e.Name] = podIP
		case source.FieldRef.FieldPath == "metadata.name":
			env[e.Name] = name + "-7d9f-abcde"
		}
	}
	return env
}
