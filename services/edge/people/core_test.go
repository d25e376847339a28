package people

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/ring"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// notes is a port that remembers what is said, in short.
type notes struct{ said []string }

func (n *notes) say(s *presencev1.PeopleStep) {
	switch s := s.GetStep().(type) {
	case *presencev1.PeopleStep_Announcing:
		n.said = append(n.said, "announcing")
	case *presencev1.PeopleStep_Announced:
		n.said = append(n.said, "announced")
	case *presencev1.PeopleStep_Change:
		c := s.Change
		n.said = append(n.said, fmt.Sprintf("%s watch=%d put=%d gone=%d moving=%d unwatch=%t release=%t", c.GetTopic(), c.GetWatch(),
			len(c.GetPut()), len(c.GetGone()), len(c.GetMoving()), c.GetUnwatch(), c.GetRelease()))
	}
}

func (n *notes) are(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(n.said, want) {
		t.Errorf("said %q, want %q", n.said, want)
	}
	n.said = nil
}

// nowhere is a channel that gets nothing.
type nowhere struct{ _ byte }

// Push implements [session.Watcher].
func (*nowhere) Push(string, []byte) {}

func TestWhatTheOwnerIsTold(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	c := newCore(Default("a", 1))
	p, q := &notes{}, &notes{}
	c.attach("p", p)
	c.adopt(ring.New(ring.Member{ID: "p", Incarnation: 1}))
	p.are(t, "announced", "announcing", "announced")
	first, second := &nowhere{}, &nowhere{}
	c.enter("room", first, 10, who("ann"), now)
	c.enter("room", second, 10, nil, now)
	c.track("room", second, who("bob"))
	c.track("room", second, who("bob"))
	c.untrack("room", second)
	c.untrack("room", second)
	p.are(t,
		"room watch=1 put=1 gone=0 moving=0 unwatch=false release=false",
		"room watch=0 put=1 gone=0 moving=0 unwatch=false release=false",
		"room watch=0 put=1 gone=1 moving=0 unwatch=false release=false",
		"room watch=0 put=0 gone=1 moving=0 unwatch=false release=false")
	c.attach("q", q)
	c.adopt(ring.New(ring.Member{ID: "q", Incarnation: 1}))
	p.are(t, "announcing", "room watch=0 put=0 gone=0 moving=0 unwatch=false release=true", "announced")
	q.are(t, "announced", "announcing", "room watch=2 put=1 gone=0 moving=0 unwatch=false release=false", "announced")
	c.leave("room", first, true)
	c.leave("room", first, true)
	c.leave("room", second, true)
	c.leave("room", second, true)
	q.are(t,
		"room watch=0 put=0 gone=0 moving=1 unwatch=false release=false",
		"room watch=0 put=0 gone=0 moving=0 unwatch=true release=false")
	p.are(t)
	if len(c.topics)+len(c.agenda)+c.rows > 0 {
		t.Errorf("remembers %d topics, %d rows", len(c.topics), c.rows)
	}
}

// TestLateUpdateIsIgnored has a former owner say something when another has the
// topic.
func TestLateUpdateIsIgnored(t *testing.T) {
	c := newCore(Default("a", 1))
	c.attach("p", &notes{})
	c.adopt(ring.New(ring.Member{ID: "p", Incarnation: 1}))
	c.enter("room", &nowhere{}, 10, nil, time.Unix(1_700_000_000, 0))
	bob := []*presencev1.Person{{Key: "bob", Ref: "b1", Meta: "{}"}}
	c.take(&presencev1.PeopleUpdate{Topic: "room", Watch: 1, Reset_: true, Complete: true, Put: bob})
	c.attach("q", &notes{})
	c.adopt(ring.New(ring.Member{ID: "q", Incarnation: 1}))
	c.take(&presencev1.PeopleUpdate{Topic: "room", Watch: 1, Gone: []string{"b1"}})
	c.take(&presencev1.PeopleUpdate{Topic: "gone", Watch: 1, Put: bob})
	if c.topics["room"].rows["b1"] == nil || c.rows != 1 {
		t.Error("a late update counted")
	}
	// A state in two parts counts when it is complete.
	c.take(&presencev1.PeopleUpdate{Topic: "room", Watch: 2, Reset_: true})
	if c.rows != 1 {
		t.Error("half a state counted")
	}
	c.take(&presencev1.PeopleUpdate{Topic: "room", Watch: 2, Complete: true})
	if c.rows != 0 {
		t.Error("a state did not count")
	}
}

func TestManyAreAnnouncedInParts(t *testing.T) {
	c := newCore(Default("a", 1))
	c.adopt(ring.New(ring.Member{ID: "p", Incarnation: 1}))
	for i := range 2*stepRows + 1 {
		c.enter("room", &nowhere{}, 1000, who(fmt.Sprint(i)), time.Unix(1_700_000_000, 0))
	}
	var p notes
	c.attach("p", &p)
	part := fmt.Sprintf("put=%d gone=0 moving=0 unwatch=false release=false", stepRows)
	p.are(t, "room watch=2 "+part, "room watch=0 "+part,
		"room watch=0 put=1 gone=0 moving=0 unwatch=false release=false", "announced")
}

func TestConfig(t *testing.T) {
	if err := Default("a", 1).Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Config{
		{}, {ID: "a", Incarnation: 1}, {ID: "a", Incarnation: 1, QueueBytes: 1, Interval: -1}, {ID: "a", Incarnation: 1, QueueBytes: 1, StateWait: -1},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}
