package observability

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/skein-mesh/skein/tests/process"
)

// file reads one of the repository.
func file(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{process.Root()}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// rule is an alert.
type rule struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	var all struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(file(t, "deploy", "observability", "rules.yaml"), &all); err != nil {
		t.Fatal(err)
	}
	var list []rule
	for _, g := range all.Groups {
		list = append(list, g.Rules...)
	}
	if len(list) == 0 {
		t.Fatal("there are no alerts")
	}
	return list
}

var heading = regexp.MustCompile(`(?m)^## (Skein\w+)$`)

func TestEveryAlertHasASectionInTheRunbook(t *testing.T) {
	runbook := string(file(t, "docs", "runbook.md"))
	sections := map[string]string{}
	for _, at := range heading.FindAllStringSubmatchIndex(runbook, -1) {
		body, _, _ := strings.Cut(runbook[at[1]:], "\n## ")
		sections[runbook[at[2]:at[3]]] = body
	}
	for _, r := range rules(t) {
		body, ok := sections[r.Alert]
		delete(sections, r.Alert)
		for _, part := range []string{"**Means.**", "**Check.**", "**Fix.**"} {
			if !ok || !strings.Contains(body, part) {
				t.Errorf("docs/runbook.md does not say %s of %s", part, r.Alert)
			}
		}
		if r.Annotations["runbook_url"] != "docs/runbook.md#"+strings.ToLower(r.Alert) || r.Annotations["summary"] == "" {
			t.Errorf("annotations of %s: %v", r.Alert, r.Annotations)
		}
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("severity of %s: %q", r.Alert, s)
		}
	}
	for name := range sections {
		t.Errorf("docs/runbook.md explains %s, which is no alert", name)
	}
}

func TestEveryAlertIsRaisedByItsFaultOnly(t *testing.T) {
	tests := string(file(t, "deploy", "observability", "rules_test.yaml"))
	for _, r := range rules(t) {
		if strings.Count(tests, "alertname: "+r.Alert) < 2 {
			t.Errorf("rules_test.yaml has no fault or no calm for %s", r.Alert)
		}
	}
	for _, args := range [][]string{
		{"check", "rules", "rules.yaml"}, {"check", "config", "--syntax-only", "prometheus.yaml"}, {"test", "rules", "rules_test.yaml"},
	} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = filepath.Join(process.Root(), "deploy", "observability")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v (.ci/deps installs it)\n%s", strings.Join(args, " "), err, out)
		}
	}
}
