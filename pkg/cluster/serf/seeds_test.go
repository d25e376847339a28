package serf_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/clustertest"
	"github.com/skein-mesh/skein/pkg/cluster/serf"
)

// directory is a strategy that says where the members are that were told to it,
// or fails while there are none.
func (f *fleet) directory(c *serf.Config) { c.Seeds, c.Join = addresses{f}, nil }

type addresses struct{ fleet *fleet }

// Addresses implements seeds.Strategy.
func (a addresses) Addresses(context.Context) ([]string, error) {
	a.fleet.mu.Lock()
	defer a.fleet.mu.Unlock()
	if len(a.fleet.hosts) == 0 {
		return nil, errors.New("nobody answers")
	}
	list := slices.Clone(a.fleet.hosts)
	for i := range list {
		list[i] += ":7946"
	}
	return list, nil
}

// All routers are killed at once and come back elsewhere. The presence instance,
// which knew them only, and they themselves find each other where the strategy
// says that they are now.
func TestAllComeBackElsewhere(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, clustertest.Options{Delay: time.Millisecond})
		routers := []*node{f.start(clustertest.Router("a"), f.directory)}
		f.seeds(routers[0])
		routers = append(routers, f.start(clustertest.Router("b"), f.directory), f.start(clustertest.Router("c"), f.directory))
		f.seeds(routers...)
		instance := clustertest.Router("p")
		instance.Role = cluster.RolePresence
		p := f.start(instance, f.directory)
		f.sees(p, 10*time.Second, "p", "a", "b", "c")
		for _, r := range routers {
			f.network.Isolate(r.host)
			r.stop()
		}
		f.seeds() // nobody answers for a while
		f.sees(p, 5*time.Second, "p")
		time.Sleep(time.Minute) // virtual time
		again := []*node{f.start(clustertest.Router("d"), f.directory), f.start(clustertest.Router("e"), f.directory), f.start(clustertest.Router("f"), f.directory)}
		time.Sleep(10 * time.Second) // virtual time
		f.sees(again[0], 0, "d")
		f.seeds(again...)
		for _, n := range append(again, p) {
			f.sees(n, 15*time.Second, "p", "d", "e", "f")
			clustertest.Eventually(t, 7*time.Second, n.Self().ID+" found a seed itself", n.Joined)
		}
		stopAll(append(again, p))
	})
}

// A member is ready only once it found the others, however late these are known.
func TestJoinedWaitsForTheStrategy(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, clustertest.Options{})
		a := f.start(clustertest.Router("a"), f.directory)
		time.Sleep(time.Minute) // virtual time
		if a.Joined() {
			t.Error("joined, but nobody was named")
		}
		f.seeds(a)
		clustertest.Eventually(t, 7*time.Second, "it is a seed itself", a.Joined)
		a.stop()
	})
}
