package cluster_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/clustertest"
)

func TestLocal(t *testing.T) {
	clustertest.Suite(t, func(t *testing.T) clustertest.Start {
		registry := cluster.NewRegistry()
		return func(self cluster.Member) (cluster.Membership, func()) {
			m := registry.Member(self)
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() {
				if err := m.Run(ctx); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // it has joined
			return m, func() { cancel(); running.Wait() }
		}
	})
}

func TestLocalLeaveIsForGood(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		registry := cluster.NewRegistry()
		a, b := registry.Member(clustertest.Router("a")), registry.Member(clustertest.Router("b"))
		go func() { _ = a.Run(t.Context()) }()
		go func() { _ = b.Run(t.Context()) }()
		synctest.Wait()
		for range 2 {
			if err := b.Leave(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := clustertest.IDs(a.Members()); !slices.Equal(got, []string{"a"}) {
			t.Errorf("members %v", got)
		}
		if got := clustertest.IDs(b.Members()); !slices.Equal(got, []string{"b"}) {
			t.Errorf("members %v", got)
		}
	})
}

func TestLatest(t *testing.T) {
	life := func(id string, incarnation uint64) cluster.Member {
		return cluster.Member{ID: id, Incarnation: incarnation, Role: cluster.RoleRouter}
	}
	for name, test := range map[string]struct{ in, want []cluster.Member }{
		"nothing":        {nil, nil},
		"sorted":         {[]cluster.Member{life("b", 1), life("a", 1)}, []cluster.Member{life("a", 1), life("b", 1)}},
		"larger wins":    {[]cluster.Member{life("a", 3), life("a", 4), life("a", 2)}, []cluster.Member{life("a", 4)}},
		"equal is one":   {[]cluster.Member{life("a", 3), life("a", 3)}, []cluster.Member{life("a", 3)}},
		"zero counts":    {[]cluster.Member{life("a", 0)}, []cluster.Member{life("a", 0)}},
		"across two ids": {[]cluster.Member{life("a", 1), life("b", 9), life("a", 2)}, []cluster.Member{life("a", 2), life("b", 9)}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cluster.Latest(slices.Clone(test.in)); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestLatestOfOneIDInTwoRoles(t *testing.T) {
	router, presence := clustertest.Router("a"), clustertest.Router("a")
	presence.Role, presence.Incarnation = cluster.RolePresence, 2
	if got := cluster.Latest([]cluster.Member{router, presence}); !slices.Equal(got, []cluster.Member{presence}) {
		t.Errorf("got %v: an id is unique in the fleet, whatever its role", got)
	}
}

func TestNewID(t *testing.T) {
	a, b := cluster.NewID(), cluster.NewID()
	if a == b {
		t.Errorf("%q twice", a)
	}
	for _, id := range []string{a, b} {
		if err := cluster.CheckID(id); err != nil {
			t.Error(err)
		}
	}
}

func TestCheckID(t *testing.T) {
	for _, id := range []string{"a", "router-1", "host.local_2", strings.Repeat("x", cluster.MaxIDLen)} {
		if err := cluster.CheckID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", "a b", "a/b", "a@b", "é", "a\n", strings.Repeat("x", cluster.MaxIDLen+1)} {
		if cluster.CheckID(id) == nil {
			t.Errorf("%q was accepted", id)
		}
	}
}

func TestMemberValidate(t *testing.T) {
	if err := clustertest.Router("a").Validate(); err != nil {
		t.Error(err)
	}
	err := cluster.Member{ID: "a b", Role: "king", State: "confused"}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`"a b"`, `"king"`, `"confused"`, "address"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %s", err, want)
		}
	}
}
