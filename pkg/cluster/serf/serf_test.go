package serf_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/clustertest"
	"github.com/skein-mesh/skein/pkg/cluster/serf"
)

// The keys are examples: 32 bytes each.
const (
	key1 = "c2tlaW4tdGVzdC1rZXktMS1wYWRkZWQtdG8tMzItYiE="
	key2 = "c2tlaW4tdGVzdC1rZXktMi1wYWRkZWQtdG8tMzItYiE="
)

// fleet starts serf members on one network in memory.
type fleet struct {
	t       *testing.T
	network *clustertest.Network
	within  time.Duration // all hear of a change

	mu    sync.Mutex
	hosts []string // what the name of the seeds resolves to
}

func newFleet(t *testing.T, o clustertest.Options) *fleet {
	within := 3 * time.Second
	if o.Loss > 0 {
		within = 15 * time.Second // what gossip loses, an exchange of full state brings, each five to ten seconds
	}
	return &fleet{t: t, network: clustertest.NewNetwork(o), within: within}
}

type node struct {
	*serf.Serf
	host *clustertest.Transport
	stop func()
}

// start starts a member that joins by the name of the seeds.
func (f *fleet) start(self cluster.Member, change ...func(*serf.Config)) *node {
	f.t.Helper()
	host := f.network.Listen()
	config := serf.Config{
		Settings:  serf.DefaultSettings(7946),
		Self:      self,
		Log:       slog.New(slog.DiscardHandler),
		Transport: host,
		Resolve:   f.resolve,
	}
	config.Join = []string{"seeds.test:7946"}
	for _, c := range change {
		c(&config)
	}
	s, err := serf.New(config)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			f.t.Errorf("run %s: %v", self.ID, err)
		}
	})
	<-s.Created()
	return &node{s, host, func() { cancel(); running.Wait() }}
}

// seeds says which members the name of the seeds leads to.
func (f *fleet) seeds(nodes ...*node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hosts = nil
	for _, n := range nodes {
		f.hosts = append(f.hosts, n.host.Host())
	}
}

func (f *fleet) resolve(context.Context, string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.hosts), nil
}

// three starts three routers that know each other.
func (f *fleet) three() []*node {
	f.t.Helper()
	nodes := []*node{f.start(clustertest.Router("a"))}
	f.seeds(nodes[0])
	nodes = append(nodes, f.start(clustertest.Router("b")), f.start(clustertest.Router("c")))
	for _, n := range nodes {
		f.sees(n, f.within, "a", "b", "c")
	}
	return nodes
}

func (f *fleet) sees(n *node, within time.Duration, ids ...string) {
	f.t.Helper()
	clustertest.Eventually(f.t, within, n.Self().ID+" sees them", func() bool {
		return slices.Equal(clustertest.IDs(n.Members()), ids)
	})
}

func stopAll(nodes []*node) {
	for _, n := range nodes {
		n.stop()
	}
}

func TestSuite(t *testing.T) {
	clustertest.Suite(t, func(t *testing.T) clustertest.Start {
		f := newFleet(t, clustertest.Options{Delay: time.Millisecond})
		return func(self cluster.Member) (cluster.Membership, func()) {
			n := f.start(self)
			if len(f.hosts) == 0 {
				f.seeds(n)
			}
			return n, n.stop
		}
	})
}

func TestCrashIsNoticed(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, clustertest.Options{Delay: time.Millisecond})
		nodes := f.three()
		f.network.Isolate(nodes[2].host) // no word from it any more, as if it were killed
		start := time.Now()
		f.sees(nodes[0], 2500*time.Millisecond, "a", "b")
		f.sees(nodes[1], time.Second, "a", "b")
		t.Logf("noticed by both after %s", time.Since(start))
		stopAll(nodes)
	})
}

func TestPartitionHeals(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, clustertest.Options{Delay: time.Millisecond})
		nodes := f.three()
		d := f.start(clustertest.Router("d"))
		f.sees(d, 3*time.Second, "a", "b", "c", "d")
		left := []*clustertest.Transport{nodes[0].host, nodes[1].host}
		right := []*clustertest.Transport{nodes[2].host, d.host}
		f.network.Cut(left, right)
		f.sees(nodes[0], 4*time.Second, "a", "b")
		f.sees(d, 4*time.Second, "c", "d")
		if err := d.SetState(cluster.StateLeaving); err != nil { // said while nobody on the left hears it
			t.Fatal(err)
		}
		f.network.Heal(left, right)
		for _, n := range append(nodes, d) {
			f.sees(n, 10*time.Second, "a", "b", "c", "d")
		}
		clustertest.Eventually(t, 2*time.Second, "the state of d arrives", func() bool {
			return nodes[0].Members()[3].State == cluster.StateLeaving
		})
		stopAll(append(nodes, d))
	})
}

// A fleet is rolled: every member that the last one knew, its seeds included,
// comes back under another name at another address.
func TestSeedsComeBackElsewhere(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, clustertest.Options{Delay: time.Millisecond})
		nodes := f.three()
		last := nodes[2]
		for _, n := range nodes[:2] {
			f.network.Isolate(n.host)
			n.stop()
		}
		f.sees(last, 4*time.Second, "c")
		time.Sleep(6 * time.Minute) // virtual time: long enough for it to forget them, seeds that lead nowhere
		d := f.start(clustertest.Router("d"))
		f.seeds(d)
		e := f.start(clustertest.Router("e"))
		for _, n := range []*node{last, d, e} {
			f.sees(n, 10*time.Second, "c", "d", "e")
		}
		stopAll([]*node{last, d, e})
	})
}

// The first router of a fleet often has no seeds: restarted, it is alone, and
// whoever publishes there is not heard, until those who know it look again.
func TestSeedWithoutSeedsIsFoundAgain(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, clustertest.Options{Delay: time.Millisecond})
		nodes := f.three()
		time.Sleep(time.Minute) // virtual time: nobody looks for seeds often any more
		nodes[0].stop()
		f.sees(nodes[1], f.within, "b", "c")
		time.Sleep(10 * time.Second) // virtual time: they look at least once
		d := f.start(clustertest.Router("d"), func(c *serf.Config) { c.Join = nil })
		f.seeds(d)
		for _, n := range []*node{nodes[1], nodes[2], d} {
			f.sees(n, 2*time.Second, "b", "c", "d")
		}
		stopAll([]*node{nodes[1], nodes[2], d})
	})
}

// A container is killed and restarted with the id its operator gave it, but
// another address, before anyone noticed.
func TestRestartWithNewAddressIsNotRefused(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, clustertest.Options{Delay: time.Millisecond})
		nodes := f.three()
		f.network.Isolate(nodes[2].host)
		again := clustertest.Router("c")
		again.Incarnation, again.Address = 2, "elsewhere.test:5000"
		c := f.start(again)
		for _, n := range []*node{nodes[0], nodes[1], c} {
			clustertest.Eventually(t, time.Second, "the later life of c", func() bool {
				members := n.Members()
				return len(members) == 3 && members[2] == again
			})
		}
		stopAll(append(nodes, c))
	})
}

func TestOtherClusterIsNotHeard(t *testing.T) {
	other := map[string]func(*serf.Config){
		"another label": func(c *serf.Config) { c.Cluster = "other" },
		"another key":   func(c *serf.Config) { c.Keys = []string{key2} },
		"no key":        func(c *serf.Config) { c.Keys = nil },
	}
	for name, change := range other {
		t.Run(name, func(t *testing.T) {
			clustertest.Bubble(t, func(t *testing.T) {
				f := newFleet(t, clustertest.Options{})
				keyed := func(c *serf.Config) { c.Keys = []string{key1} }
				a := f.start(clustertest.Router("a"), keyed)
				f.seeds(a)
				stranger := f.start(clustertest.Router("b"), keyed, change)
				friend := f.start(clustertest.Router("c"), keyed)
				f.sees(a, 3*time.Second, "a", "c")
				time.Sleep(10 * time.Second) // virtual time
				f.sees(a, 0, "a", "c")
				f.sees(stranger, 0, "b")
				if stranger.Joined() {
					t.Error("the stranger thinks that it joined")
				}
				stopAll([]*node{a, stranger, friend})
			})
		})
	}
}

// During a change of keys one side already encrypts with the new key and both
// still decrypt either.
func TestKeysRotate(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, clustertest.Options{})
		a := f.start(clustertest.Router("a"), func(c *serf.Config) { c.Keys = []string{key1, key2} })
		f.seeds(a)
		b := f.start(clustertest.Router("b"), func(c *serf.Config) { c.Keys = []string{key2, key1} })
		f.sees(a, 3*time.Second, "a", "b")
		f.sees(b, 3*time.Second, "a", "b")
		stopAll([]*node{a, b})
	})
}

func TestFifthOfPacketsLost(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, clustertest.Options{Loss: 0.2, Seed: 1, Delay: 2 * time.Millisecond})
		nodes := f.three()
		for range 100 { // nobody is wrongly declared dead
			time.Sleep(100 * time.Millisecond) // virtual time
			for _, n := range nodes {
				f.sees(n, 0, "a", "b", "c")
			}
		}
		if err := nodes[1].SetState(cluster.StateLeaving); err != nil {
			t.Fatal(err)
		}
		clustertest.Eventually(t, f.within, "a state is seen", func() bool {
			return nodes[0].Members()[1].State == cluster.StateLeaving && nodes[2].Members()[1].State == cluster.StateLeaving
		})
		nodes[1].stop()
		f.sees(nodes[0], f.within, "a", "c")
		stopAll(nodes)
	})
}

func TestLeaveIsBoundedByContext(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, clustertest.Options{})
		nodes := f.three()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := nodes[2].Leave(ctx); err == nil {
			t.Error("left within 10ms, before anyone can have heard of it")
		}
		if err := nodes[2].Leave(t.Context()); err != nil {
			t.Error(err)
		}
		f.sees(nodes[0], time.Second, "a", "b")
		if err := nodes[2].SetState(cluster.StateLeaving); err != nil {
			t.Error(err)
		}
		stopAll(nodes)
	})
}

func TestJoined(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, clustertest.Options{})
		unseeded := f.start(clustertest.Router("a"), func(c *serf.Config) { c.Join = nil })
		if !unseeded.Joined() {
			t.Error("there was nobody to join")
		}
		b := f.start(clustertest.Router("b"))
		time.Sleep(5 * time.Second) // virtual time
		if b.Joined() {
			t.Error("joined, but the seeds have no address")
		}
		f.seeds(b)
		clustertest.Eventually(t, 2*time.Second, "a seed is joined from the start", b.Joined)
		stopAll([]*node{unseeded, b})
	})
}
