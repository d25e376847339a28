package people_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/people"
)

// world is a ledger with a clock that only the test moves.
type world struct {
	*people.Ledger
	t   *testing.T
	now time.Time
}

// edge remembers what it was told.
type edge struct {
	world *world
	at    *people.Edge
	told  []*presencev1.PeopleUpdate
}

// Tell implements [people.Port].
func (e *edge) Tell(u *presencev1.PeopleUpdate) { e.told = append(e.told, u) }

// newWorld returns a ledger that knows all its edges, a to the last.
func newWorld(t *testing.T, edges int) (*world, []*edge) {
	t.Helper()
	return limited(t, edges, people.DefaultLimits())
}

func limited(t *testing.T, edges int, limits people.Limits) (*world, []*edge) {
	t.Helper()
	now := time.Unix(1_700_000_000, 0)
	w := &world{people.New(limits, now), t, now}
	all := make([]*edge, edges)
	for i := range all {
		all[i] = w.attach(string(rune('a'+i)), 1)
		all[i].announced(7)
	}
	w.pass(people.SettleTime)
	return w, all
}

func (w *world) attach(id string, incarnation uint64) *edge {
	w.t.Helper()
	e := &edge{world: w}
	at, _, err := w.Attach(&presencev1.PeopleHello{Edge: id, Incarnation: incarnation}, e, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	e.at = at
	return e
}

func (w *world) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(people.TickInterval)
		w.Tick(w.now)
	}
}

func (e *edge) announced(view uint64) { e.world.Announced(e.at, view, e.world.now) }

func (e *edge) says(c *presencev1.PeopleChange) {
	if c.GetTopic() == "" {
		c.Topic = "room"
	}
	if c.GetWatch() != 0 && c.GetMaxListed() == 0 {
		c.MaxListed = 1000
	}
	e.world.Change(e.at, c, e.world.now)
}

func (e *edge) detach() { e.world.Detach(e.at, e, e.world.now) }

// hears fails unless the edge was told exactly this since the last time.
func (e *edge) hears(want ...string) {
	e.world.t.Helper()
	var got []string
	for _, u := range e.told {
		got = append(got, text(u))
	}
	e.told = nil
	if !slices.Equal(got, want) {
		e.world.t.Errorf("edge %s heard %q, want %q", e.at.ID(), got, want)
	}
}

// text is an update in short: state, +ref:key(prev), -ref, #number.
func text(u *presencev1.PeopleUpdate) string {
	var words []string
	if u.GetReset_() {
		words = append(words, "state")
	}
	if u.GetReset_() != u.GetComplete() {
		words = append(words, "part")
	}
	for _, p := range u.GetPut() {
		word := "+" + p.GetRef() + ":" + p.GetKey()
		if p.GetRefPrev() != "" {
			word += "(" + p.GetRefPrev() + ")"
		}
		words = append(words, word)
	}
	for _, ref := range u.GetGone() {
		words = append(words, "-"+ref)
	}
	if u.GetCountsOnly() {
		words = append(words, fmt.Sprintf("#%d", u.GetOthers()))
	}
	return strings.Join(words, " ")
}

func put(people ...string) *presencev1.PeopleChange {
	c := &presencev1.PeopleChange{}
	for _, p := range people {
		ref, key, _ := strings.Cut(p, ":")
		c.Put = append(c.Put, &presencev1.Person{Key: key, Ref: ref, Meta: "{}"})
	}
	return c
}

func watch(number uint64, people ...string) *presencev1.PeopleChange {
	c := put(people...)
	c.Watch = number
	return c
}

func TestOthersAreTold(t *testing.T) {
	_, e := newWorld(t, 2)
	a, b := e[0], e[1]
	a.says(watch(1, "a1:ann"))
	a.hears("state")
	b.says(watch(1, "b1:bob"))
	b.hears("state +a1:ann")
	a.hears("+b1:bob")
	b.says(&presencev1.PeopleChange{Gone: []string{"b1"}, Put: put("b2:bob").GetPut()})
	a.hears("+b2:bob -b1")
	b.says(&presencev1.PeopleChange{Gone: []string{"b2"}, Unwatch: true})
	a.hears("-b2")
	a.says(&presencev1.PeopleChange{Gone: []string{"a1"}})
	a.hears()
	b.hears()
}

func TestOnlyTheirEdgeRemovesRows(t *testing.T) {
	w, e := newWorld(t, 2)
	a, b := e[0], e[1]
	a.says(watch(1, "a1:ann"))
	b.says(&presencev1.PeopleChange{Watch: 1, Gone: []string{"a1"}, Moving: []string{"a1"}, Put: put("a1:eve").GetPut()})
	a.hears("state")
	b.hears("state +a1:ann")
	if s := w.Stats(); s.Rows != 1 || s.Refused[people.RefusedMalformed] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestDeadEdge(t *testing.T) {
	w, e := newWorld(t, 2)
	a, b := e[0], e[1]
	a.says(watch(1))
	b.says(watch(1, "b1:bob", "b2:bea"))
	a.told = nil
	b.detach()
	w.pass(people.ReturnTime - people.TickInterval)
	a.hears()
	w.pass(people.TickInterval)
	if len(a.told) != 1 || len(a.told[0].GetGone()) != 2 {
		t.Errorf("told %v", a.told)
	}
	if s := w.Stats(); s.Rows != 0 || s.Edges != 1 {
		t.Errorf("%+v", s)
	}
}

func TestEdgeThatIsBackInTime(t *testing.T) {
	w, e := newWorld(t, 2)
	a, b := e[0], e[1]
	a.says(watch(1))
	b.says(watch(1, "b1:bob", "b2:bea"))
	a.told = nil
	b.detach()
	w.pass(time.Second)
	again := w.attach("b", 1)
	again.says(watch(2, "b1:bob", "b3:ben"))
	a.hears("+b3:ben")
	again.announced(7)
	a.hears("-b2")
	again.hears("state")
	w.pass(10 * time.Second)
	a.hears()
	if w.Current(b.at, b) || !w.Current(again.at, again) {
		t.Error("the wrong stream counts")
	}
	b.detach() // late
	w.pass(10 * time.Second)
	a.hears()
}

func TestLaterLifeReplacesAnEarlierOne(t *testing.T) {
	w, e := newWorld(t, 2)
	a, b := e[0], e[1]
	a.says(watch(1))
	b.says(watch(1, "b1:bob"))
	a.told = nil
	next := &edge{world: w}
	_, replaced, err := w.Attach(&presencev1.PeopleHello{Edge: "b", Incarnation: 2}, next, w.now)
	if err != nil || replaced != people.Port(b) {
		t.Errorf("replaced %v, %v", replaced, err)
	}
	a.hears("-b1")
	if _, _, err := w.Attach(&presencev1.PeopleHello{Edge: "b", Incarnation: 1}, b, w.now); !errors.Is(err, people.ErrEarlierLife) {
		t.Errorf("earlier life: %v", err)
	}
	for _, hello := range []*presencev1.PeopleHello{nil, {Edge: "x"}, {Edge: "a b", Incarnation: 1}} {
		if _, _, err := w.Attach(hello, b, w.now); !errors.Is(err, people.ErrNoEdge) {
			t.Errorf("%v: %v", hello, err)
		}
	}
}

func TestMovingRowIsReplacedInOneUpdate(t *testing.T) {
	w, e := newWorld(t, 3)
	a, b, c := e[0], e[1], e[2]
	a.says(watch(1))
	b.says(watch(1, "b1:bob"))
	c.says(watch(1))
	a.told, b.told, c.told = nil, nil, nil
	b.says(&presencev1.PeopleChange{Moving: []string{"b1"}, Unwatch: true})
	b.detach()
	w.pass(5 * time.Second)
	a.hears()
	c.says(put("c1:bob"))
	a.hears("+c1:bob(b1) -b1")
	c.hears("-b1")
	w.pass(people.MoveTime)
	a.hears()
}

func TestMovingRowEnds(t *testing.T) {
	w, e := newWorld(t, 2)
	a, b := e[0], e[1]
	a.says(watch(1))
	b.says(watch(1, "b1:bob", "b2:bob"))
	a.told, b.told = nil, nil
	b.says(&presencev1.PeopleChange{Moving: []string{"b1"}})
	a.hears("-b1") // bob is still there
	b.hears("-b1")
	b.says(&presencev1.PeopleChange{Moving: []string{"b2"}})
	w.pass(people.MoveTime - people.TickInterval)
	a.hears()
	w.pass(people.TickInterval)
	a.hears("-b2")
	b.hears("-b2")
}

func TestNewOwnerWaitsForAllEdges(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	w := &world{people.New(people.DefaultLimits(), now), t, now}
	a := w.attach("a", 1)
	a.says(watch(1, "a1:ann"))
	a.announced(7)
	w.pass(people.SettleTime - people.TickInterval)
	b := w.attach("b", 1)
	b.says(watch(1, "b1:bob"))
	w.pass(people.TickInterval)
	a.hears("state +b1:bob") // its time was over
	b.hears("state +a1:ann")

	// Later a view moves a topic here.
	a.world.Announcing(a.at, w.now)
	a.says(&presencev1.PeopleChange{Topic: "other", Watch: 2, Put: put("a2:ann").GetPut()})
	a.announced(8)
	b.announced(7)
	a.hears()
	w.pass(time.Second)
	a.hears()
	b.says(&presencev1.PeopleChange{Topic: "other", Watch: 2, Put: put("b2:bob").GetPut()})
	b.announced(8)
	a.hears("state +b2:bob")
	b.hears("state +a2:ann")
	if s := w.Stats(); s.Settled != 2 || s.SettleTime != people.SettleTime+time.Second {
		t.Errorf("%+v", s)
	}
}

func TestReleaseIsSilent(t *testing.T) {
	w, e := newWorld(t, 3)
	a, b, c := e[0], e[1], e[2]
	a.says(watch(1, "a1:ann"))
	b.says(watch(1, "b1:bob"))
	a.told, b.told = nil, nil
	b.says(&presencev1.PeopleChange{Release: true})
	b.announced(8)
	c.says(watch(1, "c1:cid")) // it has the old view still
	a.hears()
	c.hears()
	a.says(&presencev1.PeopleChange{Release: true})
	a.announced(8)
	c.says(&presencev1.PeopleChange{Release: true})
	c.announced(8)
	w.pass(people.ReleaseTime)
	for _, edge := range e {
		edge.hears()
	}
	if s := w.Stats(); s.Topics != 0 || s.Rows != 0 || w.Waits() {
		t.Errorf("%+v", s)
	}
}

func TestTooManyAreCounted(t *testing.T) {
	w, e := newWorld(t, 2)
	a, b := e[0], e[1]
	some := func(from, to int) (all []string) {
		for i := from; i < to; i++ {
			all = append(all, fmt.Sprintf("b%d:k%d", i, i))
		}
		return all
	}
	a.says(&presencev1.PeopleChange{Watch: 1, MaxListed: 10})
	b.says(&presencev1.PeopleChange{Watch: 1, MaxListed: 10, Put: put(some(0, 10)...).GetPut()})
	a.told = nil
	b.says(put("b10:k10"))
	a.hears("#11")
	b.says(put(some(11, 20)...))
	b.says(put(some(20, 30)...))
	a.hears()
	w.pass(people.CountInterval)
	a.hears("#30")
	var gone []string
	for i := 10; i < 30; i++ {
		gone = append(gone, fmt.Sprintf("b%d", i))
	}
	b.says(&presencev1.PeopleChange{Gone: gone})
	w.pass(people.CountInterval)
	a.hears("#10") // a tenth less than the bound is needed
	b.says(&presencev1.PeopleChange{Gone: []string{"b0"}})
	if len(a.told) != 1 || !a.told[0].GetReset_() || len(a.told[0].GetPut()) != 9 {
		t.Errorf("told %v", a.told)
	}
	if people, keys, err := w.Count("room", w.now); people != 9 || keys != 9 || err != nil {
		t.Errorf("%d people, %d keys, %v", people, keys, err)
	}
}

func TestLargeStateComesInParts(t *testing.T) {
	_, e := newWorld(t, 2)
	c := &presencev1.PeopleChange{Watch: 1}
	for i := range 1200 {
		c.Put = append(c.Put, &presencev1.Person{Key: "k", Ref: fmt.Sprintf("r%d", i), Meta: "{}"})
	}
	e[0].says(c)
	e[1].says(&presencev1.PeopleChange{Watch: 1, MaxListed: 5000})
	rows := 0
	for i, u := range e[1].told {
		rows += len(u.GetPut())
		if u.GetReset_() != (i == 0) || u.GetComplete() != (i == len(e[1].told)-1) {
			t.Errorf("part %d: reset %t, complete %t", i, u.GetReset_(), u.GetComplete())
		}
	}
	if rows != 1200 || len(e[1].told) < 3 {
		t.Errorf("%d rows in %d parts", rows, len(e[1].told))
	}
}

func TestEdgeThatIsBackWithAnotherView(t *testing.T) {
	w, e := newWorld(t, 2)
	a, b := e[0], e[1]
	a.says(watch(1))
	b.says(watch(1, "b1:bob"))
	a.told = nil
	b.detach()
	b = w.attach("b", 1)
	b.announced(8) // it told another instance of bob
	w.pass(time.Second)
	a.hears()
	a.says(&presencev1.PeopleChange{Release: true})
	a.announced(8)
	if s := w.Stats(); s.Topics != 0 || s.Rows != 0 {
		t.Errorf("%+v", s)
	}
}
