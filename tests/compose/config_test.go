//go:build e2e

package compose

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const folder = root + "/deploy/compose"

// TestComposeFileIsValid reads the compose file as users do, with the services
// whose images only a registry has.
func TestComposeFileIsValid(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "docker-compose", "--file", folder+"/compose.yaml",
		"--profile", "observability", "--profile", "tools", "config", "--services")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := strings.Fields(string(out))
	slices.Sort(got)
	want := []string{"balancer", "chat", "collector", "edge", "grafana", "jaeger", "keys", "presence", "prometheus", "router", "skein"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// mount finds what is mounted from the repository, and where to.
var mount = regexp.MustCompile(`(?m)^ +- (\.[^:]+):(/[^:]+):ro$`)

// TestObservabilityIsValid looks at the files that Prometheus and Grafana get, at
// the paths where they find them.
func TestObservabilityIsValid(t *testing.T) {
	dir, mounted := t.TempDir(), map[string]bool{}
	compose, err := os.ReadFile(folder + "/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range mount.FindAllStringSubmatch(string(compose), -1) {
		text, err := os.ReadFile(filepath.Join(folder, found[1]))
		if err != nil {
			t.Error(err) // the engine would make a folder of that name
			continue
		}
		mounted[found[2]] = true
		to := filepath.Join(dir, found[2])
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "promtool", "check", "config", dir+"/etc/prometheus/prometheus.yml").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "rules found") {
		t.Errorf("%v: %s", err, out)
	}
	dashboards, err := os.ReadFile(dir + "/etc/grafana/provisioning/dashboards/skein.yaml")
	if err != nil || !strings.Contains(string(dashboards), "path: /etc/grafana/dashboards}") || !mounted["/etc/grafana/dashboards/skein.json"] {
		t.Errorf("Grafana does not find the dashboard: %v, %s, %v", err, dashboards, mounted)
	}
}
