//go:build e2e

package deploy

import (
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/skein-mesh/skein/pkg/conf"
)

// TestKubernetes builds each fleet and checks it without a cluster.
func TestKubernetes(t *testing.T) {
	for name, components := range fleets() {
		t.Run(name, func(t *testing.T) {
			f := build(t, components)
			f.hasEachServiceOnce(t)
			f.selectorsFindPods(t)
			f.probesAskPorts(t)
			f.podsMayDoLittle(t)
			f.settingsAreTaken(t)
			f.filesAreMounted(t)
			f.secretsAreMade(t)
			f.rolesAllowWhatIsAsked(t)
			f.membersAreFound(t)
			f.policiesLetTheFleetTalk(t)
		})
	}
}

func (f *fleet) hasEachServiceOnce(t *testing.T) {
	t.Helper()
	want := slices.Sorted(maps.Keys(programs()))
	for kind, got := range map[string][]string{
		"deployments": slices.Sorted(maps.Keys(f.deployments)),
		"budgets":     slices.Sorted(maps.Keys(of[*policyv1.PodDisruptionBudget](f.objects))),
		"policies":    slices.Sorted(maps.Keys(f.policies)),
		"accounts":    slices.Sorted(maps.Keys(of[*corev1.ServiceAccount](f.objects))),
	} {
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", kind, got, want)
		}
	}
}

func (f *fleet) selectorsFindPods(t *testing.T) {
	t.Helper()
	selectors := map[string]*metav1.LabelSelector{}
	for name, s := range of[*corev1.Service](f.objects) {
		selectors["service "+name] = &metav1.LabelSelector{MatchLabels: s.Spec.Selector}
	}
	for name, b := range of[*policyv1.PodDisruptionBudget](f.objects) {
		selectors["budget "+name] = b.Spec.Selector
	}
	for name, p := range f.policies {
		selectors["policy "+name] = &p.Spec.PodSelector
	}
	for name, d := range f.deployments {
		selectors["deployment "+name] = d.Spec.Selector
	}
	for what, s := range selectors {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		pods := f.selected(selector)
		if _, name, _ := strings.Cut(what, " "); len(pods) != 1 || !strings.HasPrefix(name, pods[0]) {
			t.Errorf("%s selects %q", what, pods)
		}
	}
}

// selected returns the deployments whose pods selector selects, in order.
func (f *fleet) selected(selector labels.Selector) []string {
	var names []string
	for name, d := range f.deployments {
		if selector.Matches(labels.Set(d.Spec.Template.Labels)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (f *fleet) probesAskPorts(t *testing.T) {
	t.Helper()
	for name, d := range f.deployments {
		c := d.Spec.Template.Spec.Containers[0]
		for _, probe := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
			if probe == nil || probe.HTTPGet == nil || portOf(d, probe.HTTPGet.Port.StrVal) == 0 {
				t.Errorf("%s: a probe asks no port that there is: %+v", name, probe)
			}
		}
		if stop := c.Lifecycle; name == "skein-edge" && (stop == nil || stop.PreStop.HTTPGet.Path != "/drain") {
			t.Errorf("%s does not drain before it is stopped", name)
		}
	}
}

// portOf is the number of a port that pods name; 0 for none.
func portOf(d *appsv1.Deployment, name string) int32 {
	for _, p := range d.Spec.Template.Spec.Containers[0].Ports {
		if p.Name == name {
			return p.ContainerPort
		}
	}
	return 0
}

func (f *fleet) podsMayDoLittle(t *testing.T) {
	t.Helper()
	for name, d := range f.deployments {
		pod := d.Spec.Template.Spec
		c := pod.Containers[0].SecurityContext
		switch {
		case !*pod.SecurityContext.RunAsNonRoot, !*c.ReadOnlyRootFilesystem, *c.AllowPrivilegeEscalation,
			!slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}),
			pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
			t.Errorf("%s: %+v %+v", name, pod.SecurityContext, c)
		case *pod.AutomountServiceAccountToken != (len(f.asked(name)) > 0):
			t.Errorf("%s: has a token: %t, and asks the API to %q", name, *pod.AutomountServiceAccountToken, f.asked(name))
		case pod.Containers[0].Resources.Limits.Memory().IsZero():
			t.Errorf("%s: there is no limit of memory", name)
		}
	}
}

// settingsAreTaken reads each pod's environment as its program does.
func (f *fleet) settingsAreTaken(t *testing.T) {
	t.Helper()
	known := map[string]bool{"POD_IP": true}
	for name, cfg := range programs() {
		env := f.environment(name)
		for variable := range env {
			option := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "SKEIN_"), "_", "-"))
			if !known[variable] && conf.Flags(cfg).Lookup(option) == nil {
				t.Errorf("%s: there is no setting %s", name, variable)
			}
		}
		if err := conf.Load(cfg, conf.Source{Name: name, Getenv: func(key string) string { return env[key] }}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if insecure := env["SKEIN_INSECURE"] == "true"; insecure != f.has["insecure"] {
			t.Errorf("%s: insecure is %t", name, insecure)
		}
		host, _, _ := strings.Cut(env["SKEIN_GRPC_ADVERTISE"], ":")
		if name != "skein-edge" && host != podIP {
			t.Errorf("%s: others reach it at %q", name, env["SKEIN_GRPC_ADVERTISE"])
		}
	}
}

// filesAreMounted compares the files that settings name with those that pods have.
func (f *fleet) filesAreMounted(t *testing.T) {
	t.Helper()
	for name, d := range f.deployments {
		pod := d.Spec.Template.Spec
		folders := map[string]string{}
		for _, m := range pod.Containers[0].VolumeMounts {
			if m.SubPath != "" || !m.ReadOnly {
				t.Errorf("%s: %s must be read-only, and the whole of it, or it is never renewed", name, m.MountPath)
			}
			folders[m.Name] = m.MountPath
		}
		var mounted, named []string
		for _, v := range pod.Volumes {
			if v.Secret == nil || folders[v.Name] == "" {
				t.Fatalf("%s: volume %s is not a Secret that is mounted", name, v.Name)
			}
			if *v.Secret.DefaultMode != 0o440 || *pod.SecurityContext.FSGroup != *pod.SecurityContext.RunAsGroup {
				t.Errorf("%s: cannot read %s, or others can", name, v.Name)
			}
			for _, item := range v.Secret.Items {
				mounted = append(mounted, path.Join(folders[v.Name], item.Path))
			}
		}
		for _, value := range f.environment(name) {
			if strings.HasPrefix(value, "/") {
				named = append(named, value)
			}
		}
		slices.Sort(mounted)
		slices.Sort(named)
		if !slices.Equal(mounted, named) || (len(mounted) == 0) != f.has["insecure"] {
			t.Errorf("%s: settings name %q, and there are %q", name, named, mounted)
		}
	}
}

// secretsAreMade finds out whether somebody makes the Secrets that pods need.
func (f *fleet) secretsAreMade(t *testing.T) {
	t.Helper()
	made := map[string]bool{"skein-gossip": true}
	for _, c := range f.certificates {
		made[c.Spec.SecretName] = true
	}
	for name := range f.secrets() {
		if f.has["cert-manager"] && !made[name] {
			t.Errorf("no certificate makes Secret %s", name)
		}
	}
}

// secrets are the keys of each Secret that pods need, in order.
func (f *fleet) secrets() map[string][]string {
	keys := map[string][]string{}
	for _, d := range f.deployments {
		for _, v := range d.Spec.Template.Spec.Volumes {
			for _, item := range v.Secret.Items {
				keys[v.Secret.SecretName] = append(keys[v.Secret.SecretName], item.Key)
			}
		}
		for _, e := range d.Spec.Template.Spec.Containers[0].Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				r := e.ValueFrom.SecretKeyRef
				keys[r.Name] = append(keys[r.Name], r.Key)
			}
		}
	}
	for name := range keys {
		slices.Sort(keys[name])
		keys[name] = slices.Compact(keys[name])
	}
	return keys
}
