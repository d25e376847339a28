package serf_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/clustertest"
	"github.com/skein-mesh/skein/pkg/cluster/serf"
)

func TestSettings(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*serf.Settings)
		want   []string // parts of the error; none means that it is valid
	}{
		"default":              {func(*serf.Settings) {}, nil},
		"localhost":            {func(s *serf.Settings) { s.Gossip = "localhost:1" }, nil},
		"IPv6 loopback":        {func(s *serf.Settings) { s.Gossip = "[::1]:1" }, nil},
		"everywhere with key":  {func(s *serf.Settings) { s.Gossip = ":1"; s.Keys = []string{key1} }, nil},
		"everywhere, insecure": {func(s *serf.Settings) { s.Gossip = "0.0.0.0:1"; s.Insecure = true }, nil},
		"everywhere": {func(s *serf.Settings) { s.Gossip = "0.0.0.0:1" },
			[]string{"0.0.0.0:1 is not a loopback", "gossip-keys", "insecure"}},
		"no host":   {func(s *serf.Settings) { s.Gossip = ":1" }, []string{"not a loopback"}},
		"host name": {func(s *serf.Settings) { s.Gossip = "node1:1" }, []string{"not a loopback"}},
		"everything": {func(s *serf.Settings) {
			*s = serf.Settings{Gossip: "x", Advertise: "y", Join: []string{"z", "dns:_a.b"}}
		},
			[]string{`"x"`, `"y"`, `join: "z"`, `join: dns: "_a.b"`, "discovery-interval", "cluster"}},
		"no base64":    {func(s *serf.Settings) { s.Keys = []string{key1, "secret!"} }, []string{"key 2"}},
		"short key":    {func(s *serf.Settings) { s.Keys = []string{"c2tlaW4="} }, []string{"key 1"}},
		"label":        {func(s *serf.Settings) { s.Cluster = strings.Repeat("x", 256) }, []string{"cluster"}},
		"no advertise": {func(s *serf.Settings) { s.Advertise = "10.0.0.1" }, []string{`gossip-advertise: "10.0.0.1"`}},
	} {
		t.Run(name, func(t *testing.T) {
			settings := serf.DefaultSettings(7946)
			test.change(&settings)
			err := settings.Validate()
			if (err != nil) != (test.want != nil) {
				t.Fatalf("got %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not mention %s", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("%q shows a key", err)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*serf.Config){
		"a bad id":          func(c *serf.Config) { c.Self.ID = "a b" },
		"no address":        func(c *serf.Config) { c.Self.Address = "" },
		"a long address":    func(c *serf.Config) { c.Self.Address = strings.Repeat("x", 300) },
		"gossip in the air": func(c *serf.Config) { c.Gossip = "0.0.0.0:7946" },
	} {
		t.Run(name, func(t *testing.T) {
			config := serf.Config{Settings: serf.DefaultSettings(0), Self: clustertest.Router("a"), Log: slog.New(slog.DiscardHandler)}
			change(&config)
			if _, err := serf.New(config); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// The longest description that is accepted must fit what gossip carries.
func TestLongestMemberFits(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, clustertest.Options{})
		self := cluster.Member{
			ID: strings.Repeat("i", cluster.MaxIDLen), Incarnation: 1<<64 - 1, Role: cluster.RolePresence,
			State: cluster.StateJoining, Address: strings.Repeat("a", 255), Version: strings.Repeat("v", 200),
		}
		n := f.start(self)
		f.seeds(n)
		other := f.start(clustertest.Router("other"))
		want := self
		want.Version = self.Version[:64]
		clustertest.Eventually(t, 3*time.Second, "the long one", func() bool { return slices.Contains(other.Members(), want) })
		stopAll([]*node{n, other})
	})
}

// On sockets, without a bubble: the one test of what the network in memory
// replaces.
func TestSockets(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	start := func(id string, join ...string) (*serf.Serf, func() error) {
		config := serf.Config{Settings: serf.DefaultSettings(0), Self: clustertest.Router(id)}
		config.Join, config.Keys = join, []string{key1}
		config.Log = slog.New(slog.DiscardHandler)
		s, err := serf.New(config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		select {
		case <-s.Created():
		case err := <-done:
			t.Fatal(err)
		}
		return s, func() error { cancel(); return <-done }
	}
	a, stopA := start("a")
	b, stopB := start("b", a.GossipAddress())
	for len(a.Members()) != 2 || len(b.Members()) != 2 {
		select {
		case <-a.Changed():
		case <-b.Changed():
		case <-t.Context().Done():
		}
	}
	if err := stopB(); err != nil {
		t.Error(err)
	}
	for len(a.Members()) != 1 {
		<-a.Changed()
	}
	if err := stopA(); err != nil {
		t.Error(err)
	}
}

func TestAddressInUse(t *testing.T) {
	config := serf.Config{Settings: serf.DefaultSettings(0), Self: clustertest.Router("a"), Log: slog.New(slog.DiscardHandler)}
	first, err := serf.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- first.Run(ctx) }()
	<-first.Created()
	config.Gossip = first.GossipAddress()
	second, err := serf.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(ctx); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestGossipSaysHowItIsProtected(t *testing.T) {
	for want, s := range map[cluster.Gossip]serf.Settings{
		{Loopback: true}:                  {Gossip: "127.0.0.1:7946", Cluster: "skein"},
		{}:                                {Gossip: "10.0.0.1:7946", Cluster: "skein", Insecure: true},
		{Encrypted: true}:                 {Gossip: "10.0.0.1:7946", Cluster: "skein", Keys: []string{"AAAAAAAAAAAAAAAAAAAAAA=="}},
		{Encrypted: true, Loopback: true}: {Gossip: "[::1]:7946", Cluster: "skein", Keys: []string{"AAAAAAAAAAAAAAAAAAAAAA=="}},
	} {
		s.DiscoveryInterval = time.Second
		m, err := serf.New(serf.Config{Settings: s, Log: slog.New(slog.DiscardHandler), Meter: noop.Meter{}, Self: clustertest.Router("a")})
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Gossip(); got != want {
			t.Errorf("%+v: got %+v", s, got)
		}
	}
}
