package kubernetes

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// look lets time pass until the pods have been looked at once more.
func look() { time.Sleep(Interval + 2*time.Second) } // virtual time

func edge(id string, connections uint64) *presencev1.Edge {
	return &presencev1.Edge{Id: id, Connections: connections, State: presencev1.EdgeState_EDGE_STATE_READY}
}

func TestRequests(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("edge-0", nil)
		w.report(edge("edge-0-0a1b2c", 1234))
		look()
		lists, patches := w.got()
		list := lists[0]
		query, err := url.ParseQuery(list.query)
		if err != nil {
			t.Fatal(err)
		}
		if list.path != "/api/v1/namespaces/chat/pods" || query.Get("labelSelector") != "app.kubernetes.io/name=skein-edge" || query.Get("limit") == "" {
			t.Errorf("listed %+v", list)
		}
		want := request{
			http.MethodPatch, "/api/v1/namespaces/chat/pods/edge-0", "fieldManager=skein-presence", "application/merge-patch+json",
			`{"metadata":{"annotations":{"controller.kubernetes.io/pod-deletion-cost":"1234"}}}`,
		}
		if len(patches) != 1 || patches[0] != want {
			t.Errorf("got %+v, want %+v", patches, want)
		}
	})
}

func TestCostsFollowConnections(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, name := range []string{"edge-0", "edge-1", "edge-2", "edge-3", "edge-4"} { // two pages
			w.add(name, nil)
		}
		draining := edge("edge-4", 500)
		draining.State = presencev1.EdgeState_EDGE_STATE_DRAINING
		w.report(edge("edge-0", 100), edge("edge-1", 5), edge("edge-3", 5_000_000_000), draining)
		look()
		for name, want := range map[string]string{
			"edge-0": "100", "edge-1": "5", "edge-2": "", "edge-3": "2147483647", "edge-4": "-2147483648",
		} {
			if got := w.cost(name); got != want {
				t.Errorf("%s costs %q, want %q", name, got, want)
			}
		}
		w.got()
		w.report(edge("edge-0", 105), edge("edge-1", 25), draining)
		look()
		if _, patches := w.got(); len(patches) != 1 || w.cost("edge-1") != "25" {
			t.Errorf("wrote %+v", patches)
		}
		if got := w.count("skein.presence.kubernetes.written", ""); got != 5 {
			t.Errorf("counted %d", got)
		}
	})
}

func TestPodsOnTheirWayOutAreLeftAlone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("going", map[string]any{"metadata": map[string]any{"name": "going", "deletionTimestamp": "2026-01-02T03:04:05Z"}})
		w.add("evicted", map[string]any{"status": map[string]any{"phase": "Failed", "podIP": "10.0.0.1"}})
		w.add("here", map[string]any{"status": map[string]any{"phase": "Running", "podIP": "10.0.0.1"}})
		by := edge("blue", 7)
		by.Address = "10.0.0.1:4000"
		w.report(edge("going", 5), edge("evicted", 6), by)
		look()
		if _, patches := w.got(); len(patches) != 1 || w.cost("here") != "7" {
			t.Errorf("wrote %+v", patches)
		}
	})
}

func TestOnlyTheElectedWrites(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("edge-0", nil)
		w.add("edge-1", nil)
		w.report(edge("edge-0", 1), edge("edge-1", 1))
		w.elect(func() bool { return false })
		look()
		if lists, patches := w.got(); len(lists)+len(patches) != 0 {
			t.Errorf("not elected, but asked %+v %+v", lists, patches)
		}
		asked := 0
		w.elect(func() bool { asked++; return asked <= 2 }) // until the first write
		look()
		if _, patches := w.got(); len(patches) != 1 || w.cost("edge-0") != "1" {
			t.Errorf("wrote %+v", patches)
		}
		w.elect(func() bool { return true })
		look()
		if _, patches := w.got(); len(patches) != 1 || w.cost("edge-1") != "1" {
			t.Errorf("after a takeover: wrote %+v", patches)
		}
	})
}

func TestMissingRoleSaysWhatToGrant(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("edge-0", nil)
		w.add("edge-1", nil)
		w.report(edge("edge-0", 1), edge("edge-1", 1))
		w.refusing(func(request) (int, string, http.Header) { return http.StatusForbidden, "Forbidden", nil })
		look()
		look()
		if got := w.logs.Count("grant the service account of presence the verbs list and patch on pods in namespace chat"); got != 1 {
			t.Errorf("said %d times", got)
		}
		if got := w.count("skein.presence.kubernetes.failures", "forbidden"); got != 2 {
			t.Errorf("counted %d", got)
		}
		w.refusing(func(r request) (int, string, http.Header) {
			if r.method == http.MethodPatch {
				return http.StatusForbidden, "Forbidden", nil
			}
			return 0, "", nil
		})
		w.got()
		look()
		if _, patches := w.got(); len(patches) != 1 {
			t.Errorf("tried all the same: %+v", patches)
		}
		w.refusing(nil)
		look()
		if w.cost("edge-0") != "1" || w.cost("edge-1") != "1" || w.logs.Count("written again") != 1 {
			t.Error("did not go on")
		}
	})
}

// TestTriesAgain has the first write refused in a way that passes.
func TestTriesAgain(t *testing.T) {
	for _, c := range []struct {
		status int
		reason string
		header http.Header
		looks  int // until both are written
		failed string
	}{
		{http.StatusTooManyRequests, "TooManyRequests", http.Header{"Retry-After": {"1"}}, 1, ""},
		{http.StatusTooManyRequests, "TooManyRequests", nil, 2, "busy"},
		{http.StatusConflict, "Conflict", nil, 2, "conflict"},
		{http.StatusInternalServerError, "InternalError", nil, 2, "refused"},
	} {
		t.Run(c.reason+strings.Join(c.header["Retry-After"], ""), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.add("edge-0", nil)
				w.add("edge-1", nil)
				w.report(edge("edge-0", 1), edge("edge-1", 2))
				refused := 0
				w.refusing(func(r request) (int, string, http.Header) {
					if r.method != http.MethodPatch || refused > 0 {
						return 0, "", nil
					}
					refused++
					return c.status, c.reason, c.header
				})
				look()
				if written := w.cost("edge-0") == "1"; written != (c.looks == 1) {
					t.Errorf("at the first look: %t", written)
				}
				if c.reason == "Conflict" && w.cost("edge-1") != "2" {
					t.Error("a conflict about one pod kept another")
				}
				look()
				if w.cost("edge-0") != "1" || w.cost("edge-1") != "2" {
					t.Error("not tried again")
				}
				if got := w.count("skein.presence.kubernetes.failures", c.failed); got != int64(c.looks-1) {
					t.Errorf("counted %d", got)
				}
			})
		})
	}
}

func TestPodThatIsGoneIsNoFailure(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("edge-0", nil)
		w.add("edge-1", nil)
		w.report(edge("edge-0", 1), edge("edge-1", 2))
		w.refusing(func(r request) (int, string, http.Header) {
			if strings.HasSuffix(r.path, "/edge-0") {
				return http.StatusNotFound, "NotFound", nil
			}
			return 0, "", nil
		})
		look()
		if w.cost("edge-1") != "2" || w.count("skein.presence.kubernetes.failures", "") != 0 || w.logs.Count("not written") != 0 {
			t.Error("made something of it")
		}
	})
}

func TestUnreachable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.report(edge("edge-0", 1))
		_ = w.listener.Close()
		look()
		look()
		if got := w.count("skein.presence.kubernetes.failures", "unreachable"); got != 2 {
			t.Errorf("counted %d", got)
		}
		if got := w.logs.Count("not written"); got != 1 {
			t.Errorf("said %d times", got)
		}
	})
}

func TestStrangersAreNamedOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("edge-0", nil)
		w.report(edge("edge-0", 1), edge("elsewhere", 1))
		look()
		look()
		if got := w.logs.Count("elsewhere"); got != 1 {
			t.Errorf("said %d times", got)
		}
		if w.cost("edge-0") != "1" {
			t.Error("kept the others")
		}
		if got := w.count("skein.presence.kubernetes.strangers", ""); got != 1 {
			t.Errorf("counted %d", got)
		}
		w.elect(func() bool { return false })
		look()
		if got := w.count("skein.presence.kubernetes.strangers", ""); got != 0 {
			t.Errorf("not elected any more: counted %d", got)
		}
	})
}
