package serf_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/skein-mesh/skein/pkg/cluster/clustertest"
	"github.com/skein-mesh/skein/pkg/cluster/serf"
	"github.com/skein-mesh/skein/pkg/refusal"
	"github.com/skein-mesh/skein/pkg/telemetry/logtest"
)

// ring is a fleet each of whose members has its keys in a file.
type ring struct {
	*fleet
	files map[string]string // by id
	nodes []*node
}

func newRing(f *fleet, ids ...string) *ring {
	f.t.Helper()
	r := &ring{fleet: f, files: map[string]string{}}
	for _, id := range ids {
		r.files[id] = filepath.Join(f.t.TempDir(), "gossip.key")
		if err := os.WriteFile(r.files[id], []byte(serf.FormatKeys(key1)), 0o600); err != nil {
			f.t.Fatal(err)
		}
		r.nodes = append(r.nodes, f.start(clustertest.Router(id), r.keyed(id)))
		f.seeds(r.nodes[0])
	}
	for _, n := range r.nodes {
		f.sees(n, f.within, ids...)
	}
	return r
}

func (r *ring) keyed(id string) func(*serf.Config) {
	return func(c *serf.Config) { c.KeyFile = r.files[id] }
}

// keys are the ids of the keys in a member's file, by the member itself.
func (r *ring) keys(n *node) map[string][]string {
	r.t.Helper()
	members, err := n.Keys(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	keys := map[string][]string{}
	for _, m := range members {
		keys[m.Member] = m.Keys
	}
	return keys
}

func (r *ring) rotate(n *node) serf.Rotation {
	r.t.Helper()
	rotation, err := n.RotateKeys(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return rotation
}

// Nobody notices a rotation: the members stay, and no change is told of.
func TestKeysRotateWithoutASplit(t *testing.T) {
	for name, o := range map[string]clustertest.Options{
		"good network":   {Delay: time.Millisecond},
		"a fifth lost":   {Delay: 2 * time.Millisecond, Loss: 0.2, Seed: 3},
		"a slow network": {Delay: 30 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			clustertest.Bubble(t, func(t *testing.T) {
				r := newRing(newFleet(t, o), "a", "b", "c", "d", "e")
				time.Sleep(10 * time.Second) // virtual time: the news has settled
				stop := r.watch()
				for _, n := range r.nodes {
					rotation := r.rotate(n)
					if rotation.Stopped != "" || len(rotation.Members) != 5 {
						t.Fatalf("stopped at %q: %v", rotation.Stopped, rotation.Members)
					}
					for id, keys := range r.keys(r.nodes[0]) {
						if !slices.Equal(keys, []string{rotation.Key}) {
							t.Errorf("%s has %v, want %s alone", id, keys, rotation.Key)
						}
					}
					time.Sleep(10 * time.Second) // virtual time: full states are exchanged with the new key
				}
				stop()
				stopAll(r.nodes)
			})
		})
	}
}

// watch fails the test if a member is missing anywhere until stop is called.
func (r *ring) watch() (stop func()) {
	done, ids := make(chan struct{}), clustertest.IDs(r.nodes[0].Members())
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			for _, n := range r.nodes {
				if got := clustertest.IDs(n.Members()); !slices.Equal(got, ids) {
					r.t.Errorf("%s sees %v, want %v", n.Self().ID, got, ids)
					return
				}
			}
		}
	})
	return func() { close(done); watching.Wait() }
}

// The file has the key that is in use: a member that restarts finds its fleet.
func TestRestartAfterARotation(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		r := newRing(newFleet(t, clustertest.Options{}), "a", "b", "c")
		r.rotate(r.nodes[0])
		for id, file := range r.files {
			text, err := os.ReadFile(file)
			if err != nil || bytes.Contains(text, []byte(key1)) {
				t.Errorf("%s: the old key is in the file, or %v", id, err)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: others may read the file: %v", id, info.Mode())
			}
		}
		r.nodes[2].stop()
		r.sees(r.nodes[0], 3*time.Second, "a", "b")
		again := clustertest.Router("c")
		again.Incarnation++
		r.nodes[2] = r.start(again, r.keyed("c"))
		r.sees(r.nodes[0], 3*time.Second, "a", "b", "c")
		stopAll(r.nodes)
	})
}

func TestRotationStopsWhenSomebodyMissesIt(t *testing.T) {
	for name, test := range map[string]struct {
		harm    func(t *testing.T, r *ring)
		stopped serf.Step
		problem string
	}{
		"one is down": {func(_ *testing.T, r *ring) {
			r.network.Isolate(r.nodes[2].host)
			r.sees(r.nodes[0], 10*time.Second, "a", "b")
		}, serf.StepCheck, "it is down"},
		"one does not hear": {func(_ *testing.T, r *ring) { r.network.Isolate(r.nodes[2].host) }, serf.StepCheck, "it "},
		"a folder is gone": {func(t *testing.T, r *ring) {
			if err := os.RemoveAll(filepath.Dir(r.files["c"])); err != nil {
				t.Fatal(err)
			}
		}, serf.StepCheck, "cannot be written"},
		"keys from settings": {func(_ *testing.T, r *ring) {
			r.nodes = append(r.nodes, r.start(clustertest.Router("d"), func(c *serf.Config) { c.Keys = []string{key1} }))
			r.sees(r.nodes[0], 3*time.Second, "a", "b", "c", "d")
		}, serf.StepCheck, "use gossip-key-file"},
	} {
		t.Run(name, func(t *testing.T) {
			clustertest.Bubble(t, func(t *testing.T) {
				r := newRing(newFleet(t, clustertest.Options{}), "a", "b", "c")
				before := r.keys(r.nodes[0])["a"]
				test.harm(t, r)
				rotation := r.rotate(r.nodes[0])
				problems := slices.DeleteFunc(slices.Clone(rotation.Members), func(m serf.MemberKeys) bool { return m.Problem == "" })
				if rotation.Stopped != test.stopped || len(problems) != 1 || !strings.Contains(problems[0].Problem, test.problem) {
					t.Errorf("stopped at %q: %v", rotation.Stopped, problems)
				}
				if after := r.keys(r.nodes[0])["a"]; !slices.Equal(after, before) {
					t.Errorf("keys were %v and are %v", before, after)
				}
				stopAll(r.nodes)
			})
		})
	}
}

// Two operators who do not know of each other: whoever comes first, or nobody,
// wins, and the fleet stays whole.
func TestTwoRotationsAtOnce(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		r := newRing(newFleet(t, clustertest.Options{Delay: 5 * time.Millisecond}), "a", "b", "c")
		stop := r.watch()
		for range 5 {
			var both sync.WaitGroup
			for _, n := range r.nodes[:2] {
				both.Go(func() { r.rotate(n) })
			}
			both.Wait()
			time.Sleep(15 * time.Second) // virtual time: whatever could break did
		}
		final := r.rotate(r.nodes[2])
		for id, keys := range r.keys(r.nodes[0]) {
			if final.Stopped != "" || !slices.Equal(keys, []string{final.Key}) {
				t.Errorf("stopped at %q; %s has %v", final.Stopped, id, keys)
			}
		}
		stop()
		stopAll(r.nodes)
	})
}

func TestNoKeysNoRotation(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, clustertest.Options{})
		n := f.start(clustertest.Router("a"))
		rotation, err := n.RotateKeys(t.Context())
		if err != nil || rotation.Stopped != serf.StepCheck || !strings.Contains(rotation.Members[0].Problem, "not encrypted") {
			t.Errorf("%v, %v", rotation, err)
		}
		n.stop()
	})
	config := serf.Config{Settings: serf.DefaultSettings(0), Self: clustertest.Router("a"), Log: slog.New(slog.DiscardHandler)}
	idle, err := serf.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := idle.RotateKeys(t.Context()); err == nil {
		t.Error("rotated before it ran")
	}
	config.KeyFile = filepath.Join(t.TempDir(), "none")
	lost, err := serf.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := lost.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "gossip-key-file") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// Gossip of strangers is counted packet by packet and logged once a minute. The
// library says it in words only: this notices if they change.
func TestStrangersAreCountedAndLogged(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*serf.Config)
		reason string
	}{
		"another cluster": {func(c *serf.Config) { c.Cluster = "other" }, "gossip_cluster"},
		"another key":     {func(c *serf.Config) { c.Keys = []string{key2} }, "gossip_key"},
		"no key":          {func(c *serf.Config) { c.Keys = nil }, "gossip_key"},
	} {
		t.Run(name, func(t *testing.T) {
			clustertest.Bubble(t, func(t *testing.T) {
				var out logtest.Buffer
				reader := sdkmetric.NewManualReader()
				refusals, err := refusal.New(slog.New(slog.NewTextHandler(&out, nil)), sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test"))
				if err != nil {
					t.Fatal(err)
				}
				f := newFleet(t, clustertest.Options{})
				keyed := func(c *serf.Config) { c.Keys = []string{key1} }
				a := f.start(clustertest.Router("a"), keyed, func(c *serf.Config) { c.Refusals = refusals })
				f.seeds(a)
				stranger := f.start(clustertest.Router("b"), keyed, test.change)
				time.Sleep(30 * time.Second) // virtual time
				var all metricdata.ResourceMetrics
				if err := reader.Collect(t.Context(), &all); err != nil {
					t.Fatal(err)
				}
				if n := strings.Count(out.String(), "reason="+test.reason); n != 1 {
					t.Errorf("%d lines in %q", n, out.String())
				}
				if count := counted(all); count[test.reason] < 2 || len(count) != 1 {
					t.Errorf("counted %v", count)
				}
				f.sees(a, 0, "a")
				stopAll([]*node{a, stranger})
			})
		})
	}
}

func counted(all metricdata.ResourceMetrics) map[string]int64 {
	counts := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, _ := m.Data.(metricdata.Sum[int64])
			for _, point := range sum.DataPoints {
				reason, _ := point.Attributes.Value("reason")
				counts[reason.AsString()] += point.Value
			}
		}
	}
	return counts
}
