//go:build e2e

package deploy

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// viaAPI is how a list of members begins that the Kubernetes API is asked for.
const viaAPI = "kubernetes:"

// asked are the verbs that the pods of a deployment use on pods.
func (f *fleet) asked(name string) []string {
	env := f.environment(name)
	var verbs []string
	if strings.HasPrefix(env["SKEIN_JOIN"]+env["SKEIN_ROUTERS"], viaAPI) {
		verbs = append(verbs, "list") // package kube
	}
	if env["SKEIN_KUBERNETES_DELETION_COST"] == "true" {
		verbs = append(verbs, "list", "patch") // services/presence/kubernetes
	}
	slices.Sort(verbs)
	return slices.Compact(verbs)
}

// rolesAllowWhatIsAsked compares what pods ask the API with what they may.
func (f *fleet) rolesAllowWhatIsAsked(t *testing.T) {
	t.Helper()
	allowed := map[string][]string{}
	roles := of[*rbacv1.Role](f.objects)
	for name, b := range of[*rbacv1.RoleBinding](f.objects) {
		role := roles[b.RoleRef.Name]
		if role == nil {
			t.Fatalf("%s binds no role that there is", name)
		}
		for _, rule := range role.Rules {
			if !slices.Equal(rule.Resources, []string{"pods"}) || !slices.Equal(rule.APIGroups, []string{""}) {
				t.Errorf("%s allows more than pods: %+v", role.Name, rule)
			}
			for _, s := range b.Subjects {
				allowed[s.Name] = append(allowed[s.Name], rule.Verbs...)
			}
		}
	}
	for name, d := range f.deployments {
		account := d.Spec.Template.Spec.ServiceAccountName
		slices.Sort(allowed[account])
		if may := slices.Compact(allowed[account]); account != name || !slices.Equal(may, f.asked(name)) {
			t.Errorf("%s as %s may %q and asks to %q", name, account, may, f.asked(name))
		}
	}
}

// membersAreFound follows the settings that say where others are.
func (f *fleet) membersAreFound(t *testing.T) {
	t.Helper()
	members := []string{"skein-presence", "skein-router"}
	for _, want := range []struct {
		from, setting, port string
		found               []string
	}{
		{"skein-edge", "SKEIN_ROUTERS", "grpc", []string{"skein-router"}},
		{"skein-router", "SKEIN_JOIN", "gossip-tcp", members},
		{"skein-presence", "SKEIN_JOIN", "gossip-tcp", members},
	} {
		value := f.environment(want.from)[want.setting]
		found, port := f.find(t, value)
		if !slices.Equal(found, want.found) {
			t.Errorf("%s: %s=%s finds %q", want.from, want.setting, value, found)
		}
		for _, name := range found {
			if portOf(f.deployments[name], want.port) != port {
				t.Errorf("%s: %s=%s: %s has its %s elsewhere", want.from, want.setting, value, name, want.port)
			}
		}
		if strings.HasPrefix(value, viaAPI) != f.has["discovery"] {
			t.Errorf("%s: %s=%s", want.from, want.setting, value)
		}
	}
}

// find returns the deployments whose pods a setting leads to, in order, and the
// port that they are dialled at.
func (f *fleet) find(t *testing.T, setting string) (names []string, port int32) {
	t.Helper()
	if text, ok := strings.CutPrefix(setting, viaAPI); ok {
		text, number, _ := strings.Cut(text, ":")
		selector, err := labels.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return f.selected(selector), number32(t, number)
	}
	all := of[*corev1.Service](f.objects)
	for address := range strings.SplitSeq(setting, ",") {
		host, number, err := net.SplitHostPort(address)
		if err != nil || all[host] == nil {
			t.Fatalf("%s is no service: %v", address, err)
		}
		port = number32(t, number)
		if !slices.ContainsFunc(all[host].Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port }) {
			t.Errorf("%s: the service has no such port", address)
		}
		names = append(names, f.selected(labels.SelectorFromSet(all[host].Spec.Selector))...)
	}
	slices.Sort(names)
	return names, port
}

func number32(t *testing.T, text string) int32 {
	t.Helper()
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return int32(number)
}

// policiesLetTheFleetTalk says who must get through, and that nobody else in
// the namespace does.
func (f *fleet) policiesLetTheFleetTalk(t *testing.T) {
	t.Helper()
	members := []string{"skein-presence", "skein-router"}
	callers := []string{"skein", "skein-edge", "skein-presence", "skein-router"}
	for _, rule := range []struct {
		to, port string
		from     []string
	}{
		{"skein-router", "grpc", callers},
		{"skein-presence", "grpc", callers},
		{"skein-router", "gossip-tcp", members},
		{"skein-router", "gossip-udp", members},
		{"skein-presence", "gossip-tcp", members},
		{"skein-presence", "gossip-udp", members},
		{"skein-edge", "clients", append(callers, "stranger")},
		{"skein-edge", "admin", nil},
		{"skein-edge", "agent", nil},
		{"skein-router", "admin", nil},
		{"skein-presence", "admin", nil},
	} {
		if portOf(f.deployments[rule.to], rule.port) == 0 {
			t.Errorf("%s has no port %s", rule.to, rule.port)
		}
		for _, from := range append(callers, "stranger") {
			pod := labels.Set{"app.kubernetes.io/name": from}
			if got, want := admits(f.policies[rule.to], pod, rule.port), slices.Contains(rule.from, from); got != want {
				t.Errorf("%s reaches %s of %s: %t, want %t", from, rule.port, rule.to, got, want)
			}
		}
	}
	for name, p := range f.policies {
		// Pods must reach DNS, handlers and the API server, wherever these are.
		if !slices.Equal(p.Spec.PolicyTypes, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}) {
			t.Errorf("%s limits what pods call", name)
		}
	}
}

// admits says whether a policy lets a pod of its own namespace, which carries no
// labels, reach a port by its name.
func admits(p *networkingv1.NetworkPolicy, pod labels.Set, port string) bool {
	return slices.ContainsFunc(p.Spec.Ingress, func(rule networkingv1.NetworkPolicyIngressRule) bool {
		if !slices.ContainsFunc(rule.Ports, func(to networkingv1.NetworkPolicyPort) bool { return to.Port.StrVal == port }) {
			return false
		}
		return len(rule.From) == 0 || slices.ContainsFunc(rule.From, func(from networkingv1.NetworkPolicyPeer) bool {
			selector, err := metav1.LabelSelectorAsSelector(from.PodSelector)
			return err == nil && from.NamespaceSelector == nil && selector.Matches(pod)
		})
	})
}
