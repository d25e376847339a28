//go:build e2e

package compose

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestObservabilityIsValid reads the compose file as users do, with the services
// whose images only a registry has.
func TestObservabilityIsValid(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "docker-compose", "--file", root+"/deploy/compose/compose.yaml",
		"--profile", "observability", "--profile", "tools", "config", "--services")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := strings.Fields(string(out))
	slices.Sort(got)
	want := []string{"balancer", "chat", "collector", "edge", "grafana", "jaeger", "presence", "prometheus", "router", "skein"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
