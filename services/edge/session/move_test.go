package session_test

import (
	"testing"

	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/session"
)

func TestMoveClosesOnceWith1012(t *testing.T) {
	m := newMesh(t, session.DefaultLimits())
	a, b := m.client(1), m.client(2)
	if !a.session.Move("rebalance") || a.closed != wsframe.CodeRestart {
		t.Errorf("closed with %d", a.closed)
	}
	if a.session.Move("rebalance") {
		t.Error("closed twice")
	}
	b.Close(wsframe.CodeGoingAway, "")
	if b.session.Move("rebalance") || b.closed != wsframe.CodeGoingAway {
		t.Error("one that was closing was moved")
	}
}

// A client that waits for an answer is not quiet: it would never come.
func TestQuiet(t *testing.T) {
	m := newMesh(t, session.DefaultLimits())
	a := m.client(1)
	quiet := func(want bool, when string) {
		t.Helper()
		if got := a.session.Quiet(); got != want {
			t.Errorf("%s: quiet is %t", when, got)
		}
	}
	quiet(true, "new")
	a.text(`["1","1","t","phx_join",{}]`)
	a.pump()
	quiet(false, "joining")
	topic, _ := m.nextWant()
	m.hub.Confirm(topic, nil)
	quiet(true, "joined")
	a.text(`["1","2","t","e",{}]`)
	a.pump()
	quiet(false, "pushed")
	a.text(`["1","3","t","phx_leave",{}]`)
	a.pump()
	p, _ := m.nextPublish()
	p.done(nil)
	quiet(true, "answered and left")
}

// So is one whose handler is asked, also while it leaves.
func TestQuietWithAHandler(t *testing.T) {
	m, b := handled(t, session.DefaultLimits())
	a := m.client(1)
	m.joinedRoom(t, a)
	if !a.session.Quiet() {
		t.Error("joined: not quiet")
	}
	m.world = nil
	a.text(`["1","2","room:lobby","echo",{}]`)
	a.text(`["1","3","room:lobby","phx_leave",{}]`)
	a.pump()
	if a.session.Quiet() {
		t.Error("asked: quiet")
	}
	for b.serve() {
		a.pump()
	}
	if !a.session.Quiet() {
		t.Error("answered: not quiet")
	}
}
