package rpc_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/ring"
	"github.com/skein-mesh/skein/pkg/telemetry"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/load"
)

// watch is one stream of Watch.
type watch struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[presencev1.WatchResponse]
}

func (i *instance) watch(intervalMs uint32) *watch {
	i.t.Helper()
	stream, err := presencev1.NewFleetServiceClient(i.dial()).Watch(i.t.Context(), &presencev1.WatchRequest{IntervalMs: intervalMs})
	if err != nil {
		i.t.Fatal(err)
	}
	return &watch{i.t, stream}
}

// next returns the next answer and how long it took to come.
func (w *watch) next() (*presencev1.Fleet, time.Duration) {
	w.t.Helper()
	begin := time.Now()
	resp, err := w.stream.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.GetFleet(), time.Since(begin)
}

func (w *watch) ends(want codes.Code) {
	w.t.Helper()
	for {
		if _, err := w.stream.Recv(); err != nil {
			if status.Code(err) != want {
				w.t.Errorf("the stream ended with %v, want %s", err, want)
			}
			return
		}
	}
}

func TestWatchTellsChangesOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, i *instance) {
		w := i.watch(500)
		if f, took := w.next(); len(f.GetEdges()) != 0 || took != 0 {
			t.Errorf("at first %v after %s", f, took)
		}
		time.Sleep(10 * time.Second) // virtual time: nothing changes
		a := i.edge()
		a.say(sample("a", 1, 10))
		if f, took := w.next(); f.GetConnections() != 10 || took != 0 {
			t.Errorf("an edge reports: %v after %s", f, took)
		}
		a.say(sample("a", 1, 11))
		a.say(sample("a", 1, 12))
		if f, took := w.next(); f.GetConnections() != 12 || took != 500*time.Millisecond {
			t.Errorf("two changes within an interval: %v after %s", f, took)
		}
		a.say(sample("a", 1, 12)) // the same as before, but it renews the lease
		if f, took := w.next(); len(f.GetEdges()) != 0 || took != load.Lease {
			t.Errorf("the lease ends: %v after %s", f, took)
		}
		time.Sleep(time.Second) // virtual time
		i.service.SetPlanner("presence-1")
		i.service.SetPlanner("presence-1")
		if f, took := w.next(); f.GetElected() != "presence-1" || took != 0 {
			t.Errorf("another planner: %v after %s", f, took)
		}
	})
}

func TestWatchInterval(t *testing.T) {
	for given, want := range map[uint32]time.Duration{0: time.Second, 1: 100 * time.Millisecond, 250: 250 * time.Millisecond} {
		t.Run(fmt.Sprint(given), func(t *testing.T) {
			inBubble(t, func(t *testing.T, i *instance) {
				w := i.watch(given)
				w.next()
				a := i.edge()
				a.say(sample("a", 1, 1))
				if _, took := w.next(); took != want {
					t.Errorf("after %s, want %s", took, want)
				}
			})
		})
	}
}

// A watcher that never reads holds up neither reports nor other watchers.
func TestSlowWatcherWaitsAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, i *instance) {
		const edges = 150
		i.watch(100) // and never read
		quick := i.watch(100)
		var first *edge
		conn := i.dial()
		say := func(e *edge, n int, connections uint64) {
			s := sample(fmt.Sprint("edge-", n), 1, connections)
			s.Address, s.Version = strings.Repeat("x", 255), strings.Repeat("y", 255)
			e.say(s)
		}
		for n := range edges {
			e := i.edgeOn(conn)
			say(e, n, 1)
			if first == nil {
				first = e
			}
		}
		for round := range uint64(40) { // answers of 80 KB add up to more than any window holds
			say(first, 0, round+2)
			time.Sleep(50 * time.Millisecond) // virtual time
			if _, took := quick.next(); took > 100*time.Millisecond {
				t.Fatalf("round %d: the other watcher waited %s", round, took)
			}
		}
	})
}

func TestMembers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		router := func(id string, state cluster.State) cluster.Member {
			return cluster.Member{ID: id, Incarnation: 7, Role: cluster.RoleRouter, State: state, Address: id + ":5000"}
		}
		members := self{instance1, router("router-1", cluster.StateReady), router("router-2", cluster.StateJoining)}
		i := start(t, members, telemetry.Nop().Meter)
		defer i.stop()
		resp, err := adminv1.NewAdminServiceClient(i.dial()).Members(t.Context(), &adminv1.MembersRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, m := range resp.GetView().GetMembers() {
			ids = append(ids, m.GetId())
		}
		want := ring.New(ring.Member{ID: "router-1", Incarnation: 7}).Hash()
		if resp.GetSelf() != "presence-1" || resp.GetView().GetHash() != want || !slices.Equal(ids, []string{"presence-1", "router-1", "router-2"}) {
			t.Errorf("got %v", resp)
		}
	})
}
