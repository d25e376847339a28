//go:build e2e

package observability

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

var (
	metricName = regexp.MustCompile(`\b(?:skein|process|go)_[a-z0-9_]+`)
	seriesName = regexp.MustCompile(`(?m)^[a-z_][a-z0-9_]*`)
	topicLabel = regexp.MustCompile(`[{,](?:topic|skein_topic|user|user_id)="`)
)

// used returns the metrics that a query reads.
func used(query string) []string { return metricName.FindAllString(query, -1) }

// queries returns those of the dashboard by the title of their panel.
func queries(t *testing.T) map[string][]string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			ID          int
			Type, Title string
			Targets     []struct{ Expr string }
			GridPos     struct{ X, W int }
			Datasource  struct{ UID string }
			Description string
		}
	}
	if err := json.Unmarshal(file(t, "deploy", "observability", "dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, p := range dashboard.Panels {
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %d, %q, is not complete", p.ID, p.Title)
		}
		for _, target := range p.Targets {
			all[p.Title] = append(all[p.Title], target.Expr)
		}
	}
	if len(all) == 0 {
		t.Fatal("the dashboard shows nothing")
	}
	return all
}

// Every metric that the dashboard and the alerts read is there once the fleet
// has done a little of everything, and none names a topic or a user.
func TestWhatIsReadIsThere(t *testing.T) {
	// A handler that nobody serves: its calls fail and are counted all the same.
	config := filepath.Join(t.TempDir(), "skein.yaml")
	err := os.WriteFile(config, []byte(`
namespaces:
  - {topics: "ask:*", join: handler, handler: "dns:///`+process.Addresses(t, 1)[0]+`"}
  - {topics: "*"}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f := startFleet(t, "http://"+process.Addresses(t, 1)[0], config)
	b := open(t, f.edges[0], "room:1", "")
	b.send(t, "2", "hello")
	b.await(t, `"hello"`)
	asking := browser{b.Conn, "ask:1"}
	asking.send(t, "1", "phx_join")
	asking.await(t, `"status":"error"`)
	var there []string
	for _, m := range f.all() {
		shown := m.get(t, "/metrics")
		there = append(there, seriesName.FindAllString(shown, -1)...)
		if label := topicLabel.FindString(shown); label != "" {
			t.Errorf("%s has a metric with the label %s", m.ID, label)
		}
	}
	check := func(where, query string) {
		for _, name := range used(query) {
			if !slices.Contains(there, name) {
				t.Errorf("%s reads %s, which no process shows", where, name)
			}
		}
	}
	for title, list := range queries(t) {
		for _, query := range list {
			check("panel "+title, query)
		}
	}
	for _, r := range rules(t) {
		check("alert "+r.Alert, r.Expr)
	}
	process.Eventually(t, 10*time.Second, "each edge agrees with its routers", func() bool {
		return agreeing.MatchString(f.edges[0].get(t, "/metrics"))
	})
}

var agreeing = regexp.MustCompile(`(?m)^skein_edge_uplink_view_agreeing\{[^}]*\} 2$|^skein_edge_uplink_view_agreeing 2$`)
