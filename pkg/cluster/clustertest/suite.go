package clustertest

import (
	"slices"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
)

// Start puts a member into a fleet. stop takes it out as planned and returns
// once it is gone; calling it twice is the same as once.
type Start func(self cluster.Member) (m cluster.Membership, stop func())

// Within is how long a fleet may take to agree on what a member said.
const Within = 3 * time.Second

// Bubble runs f in a [testing/synctest] bubble, and gives what f stopped a
// virtual minute to end: serf does not wait for its own goroutines.
func Bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) //nolint:forbidigo // virtual time
		f(t)
	})
}

// Eventually waits, in virtual time, until ok returns true.
func Eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(10 * time.Millisecond) { //nolint:forbidigo // virtual time
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// IDs returns the ids of members, in their order.
func IDs(members []cluster.Member) []string {
	var ids []string
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return ids
}

// Router returns a ready router for tests.
func Router(id string) cluster.Member {
	return cluster.Member{
		ID: id, Incarnation: 1, Role: cluster.RoleRouter, State: cluster.StateReady, Address: id + ".test:5000", Version: "v1",
	}
}

// Suite tests an implementation of [cluster.Membership]. fleet returns how to
// start the members of a new fleet; it is called inside a bubble.
func Suite(t *testing.T, fleet func(t *testing.T) Start) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, start Start){
		"alone":                     alone,
		"members see each other":    join,
		"a state is seen":           state,
		"a leave is seen":           leave,
		"the later life counts":     laterLife,
		"roles come in order":       order,
		"changes do not pile up":    coalesce,
		"what is returned is yours": owned,
	} {
		t.Run(name, func(t *testing.T) {
			Bubble(t, func(t *testing.T) { test(t, fleet(t)) })
		})
	}
}

func alone(t *testing.T, start Start) {
	self := Router("a")
	m, stop := start(self)
	defer stop()
	if m.Self() != self || !slices.Equal(m.Members(), []cluster.Member{self}) {
		t.Errorf("self %v, members %v; want %v", m.Self(), m.Members(), self)
	}
}

func join(t *testing.T, start Start) {
	a, stopA := start(Router("a"))
	defer stopA()
	b, stopB := start(Router("b"))
	defer stopB()
	c, stopC := start(Router("c"))
	defer stopC()
	want := []cluster.Member{Router("a"), Router("b"), Router("c")}
	for _, m := range []cluster.Membership{a, b, c} {
		wait(t, m, "three members", func() bool { return slices.Equal(m.Members(), want) })
	}
}

func state(t *testing.T, start Start) {
	joining := Router("a")
	joining.State = cluster.StateJoining
	a, stopA := start(joining)
	defer stopA()
	b, stopB := start(Router("b"))
	defer stopB()
	sees := func(want cluster.State) func() bool {
		return func() bool { ms := b.Members(); return ms[0].ID == "a" && ms[0].State == want }
	}
	wait(t, b, "a is joining", sees(cluster.StateJoining))
	for _, next := range []cluster.State{cluster.StateReady, cluster.StateLeaving} {
		if err := a.SetState(next); err != nil {
			t.Fatal(err)
		}
		if a.Self().State != next || a.Members()[0].State != next {
			t.Errorf("self is %v, want %s", a.Self(), next)
		}
		wait(t, b, "a is "+string(next), sees(next))
	}
	if a.SetState("confused") == nil {
		t.Error("a state that does not exist was accepted")
	}
}

func leave(t *testing.T, start Start) {
	a, stopA := start(Router("a"))
	defer stopA()
	_, stopB := start(Router("b"))
	defer stopB()
	wait(t, a, "two members", func() bool { return len(a.Members()) == 2 })
	stopB()
	wait(t, a, "one member", func() bool { return slices.Equal(a.Members(), []cluster.Member{Router("a")}) })
}

func laterLife(t *testing.T, start Start) {
	a, stopA := start(Router("a"))
	defer stopA()
	_, stopB := start(Router("b"))
	defer stopB()
	wait(t, a, "two members", func() bool { return len(a.Members()) == 2 })
	again := Router("b")
	again.Incarnation, again.Address = 2, "elsewhere.test:5000"
	want := []cluster.Member{Router("a"), again}
	_, stopAgain := start(again)
	defer stopAgain()
	wait(t, a, "the later life", func() bool { return slices.Equal(a.Members(), want) })
	stopB()
	time.Sleep(Within) //nolint:forbidigo // virtual time
	if got := a.Members(); !slices.Equal(got, want) {
		t.Errorf("the end of the earlier life took the later one with it: %v", got)
	}
}

func order(t *testing.T, start Start) {
	a, stopA := start(Router("z"))
	defer stopA()
	presence := Router("a")
	presence.Role = cluster.RolePresence
	_, stopB := start(presence)
	defer stopB()
	_, stopC := start(Router("b"))
	defer stopC()
	wait(t, a, "presence, then routers by id", func() bool {
		return slices.Equal(IDs(a.Members()), []string{"a", "b", "z"})
	})
}

func coalesce(t *testing.T, start Start) {
	a, stopA := start(Router("a"))
	defer stopA()
	_, stopB := start(Router("b"))
	wait(t, a, "two members", func() bool { return len(a.Members()) == 2 })
	stopB()
	time.Sleep(Within) //nolint:forbidigo // virtual time; nobody receives meanwhile
	<-a.Changed()
	if got := IDs(a.Members()); !slices.Equal(got, []string{"a"}) {
		t.Errorf("members %v after the signal", got)
	}
	select {
	case <-a.Changed():
		t.Error("a second signal was kept")
	default:
	}
}

func owned(t *testing.T, start Start) {
	a, stop := start(Router("a"))
	defer stop()
	a.Members()[0].ID = "changed"
	if got := IDs(a.Members()); !slices.Equal(got, []string{"a"}) {
		t.Errorf("members %v", got)
	}
}

// wait is Eventually, but looks only when m says so: an unsignalled change fails.
func wait(t *testing.T, m cluster.Membership, what string, ok func() bool) {
	t.Helper()
	for deadline := time.After(Within); !ok(); {
		select {
		case <-m.Changed():
		case <-deadline:
			t.Fatalf("not within %s: %s; members %v", Within, what, m.Members())
		}
	}
}
