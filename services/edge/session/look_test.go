package session_test

import (
	"reflect"
	"testing"

	"github.com/skein-mesh/skein/services/edge/session"
)

func TestLookShowsWhatIsJoined(t *testing.T) {
	m := newMesh(t, session.Limits{Channels: 10, Unanswered: 10})
	c := m.clientOf(1, session.Client{User: "ada"})
	c.text(`["1","1","room:b","phx_join",{}]`)
	c.text(`["2","2","room:a","phx_join",{}]`)
	m.settle(c)
	c.text(`["3","3","room:c","phx_join",{}]`) // and nobody confirms it
	c.pump()
	if got, want := c.session.Look(), (session.Look{User: "ada", Topics: []string{"room:b", "room:a"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	for _, x := range []struct {
		user, topic string
		want        bool
	}{
		{"", "", true}, {"ada", "", true}, {"bob", "", false}, {"", "room:a", true}, {"", "room:c", false},
		{"ada", "room:b", true}, {"bob", "room:b", false},
	} {
		if got := c.session.Has(x.user, x.topic); got != x.want {
			t.Errorf("user %q, topic %q: %v", x.user, x.topic, got)
		}
	}
	m.settle(c)
	c.hangUp()
	if got := c.session.Look(); len(got.Topics) != 0 || c.session.Has("", "room:a") {
		t.Errorf("after its end: %+v", got)
	}
}
