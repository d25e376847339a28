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

func TestWhatIsRefused(t *testing.T) {
	w, e := limited(t, 1, people.Limits{TopicRows: 3, EdgeRows: 4, Topics: 2})
	for name, p := range map[string]*presencev1.Person{
		"no key":       {Ref: "r", Meta: "{}"},
		"long key":     {Key: strings.Repeat("k", 256), Ref: "r", Meta: "{}"},
		"no text":      {Key: "\xff", Ref: "r", Meta: "{}"},
		"no ref":       {Key: "k", Meta: "{}"},
		"odd ref":      {Key: "k", Ref: `r"`, Meta: "{}"},
		"odd prev":     {Key: "k", Ref: "r", RefPrev: " ", Meta: "{}"},
		"long ref":     {Key: "k", Ref: strings.Repeat("r", 33), Meta: "{}"},
		"no meta":      {Key: "k", Ref: "r"},
		"no object":    {Key: "k", Ref: "r", Meta: "[]"},
		"no JSON":      {Key: "k", Ref: "r", Meta: "{"},
		"a large meta": {Key: "k", Ref: "r", Meta: `{"a":"` + strings.Repeat("x", 4096) + `"}`},
	} {
		before := w.Stats().Refused[people.RefusedMalformed]
		e[0].says(&presencev1.PeopleChange{Put: []*presencev1.Person{p}})
		if s := w.Stats(); s.Rows != 0 || s.Refused[people.RefusedMalformed] != before+1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	e[0].says(put("r1:a", "r2:b", "r3:c", "r4:d"))
	e[0].says(&presencev1.PeopleChange{Topic: "second", Put: put("s1:a", "s2:b").GetPut()})
	e[0].says(&presencev1.PeopleChange{Topic: "third", Put: put("t1:a").GetPut()})
	e[0].says(&presencev1.PeopleChange{Topic: "phoenix", Put: put("t1:a").GetPut()})
	s := w.Stats()
	if s.Rows != 4 || s.Topics != 2 {
		t.Errorf("%+v", s)
	}
	for _, reason := range people.Reasons()[1:] {
		if s.Refused[reason] != 1 {
			t.Errorf("%s: %d times", reason, s.Refused[reason])
		}
	}
}

func TestList(t *testing.T) {
	w, e := newWorld(t, 2)
	if page, more, err := w.List("room", "", 10, w.now); len(page) > 0 || more || err != nil {
		t.Errorf("empty: %v, %t, %v", page, more, err)
	}
	e[0].says(put("a1:ann", "a2:cid", "a3:eve"))
	e[1].says(put("b1:bob", "b2:cid"))
	var got []string
	after := ""
	for {
		page, more, err := w.List("room", after, 2, w.now)
		if err != nil {
			t.Fatal(err)
		}
		refs := []string{}
		for _, p := range page {
			refs = append(refs, p.GetRef())
			after = p.GetKey()
		}
		got = append(got, strings.Join(refs, "+"))
		if !more {
			break
		}
	}
	if want := []string{"a1+b1", "a2+b2", "a3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if online, err := w.Online([]string{"eve", "dan", "bob"}, w.now); err != nil || !slices.Equal(online, []string{"eve", "bob"}) {
		t.Errorf("online %v, %v", online, err)
	}
}

func TestNoAnswerBeforeEdgesHaveSaidAll(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	w := &world{people.New(people.DefaultLimits(), now), t, now}
	fails := func(when string, want bool) {
		t.Helper()
		_, _, err1 := w.List("room", "", 1, w.now)
		_, _, err2 := w.Count("room", w.now)
		_, err3 := w.Online([]string{"ann"}, w.now)
		for _, err := range []error{err1, err2, err3} {
			if errors.Is(err, people.ErrLearning) != want {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	fails("at the start", true)
	w.pass(people.SettleTime)
	fails("without edges", false)
	a := w.attach("a", 1)
	fails("with the first edge", true)
	a.says(watch(1, "a1:ann"))
	w.pass(people.SettleTime)
	fails("when it said all", false)
}

// backend remembers what it was told.
type backend struct{ told []string }

// Tell implements [people.Sink].
func (b *backend) Tell(r *presencev1.PeopleServiceWatchResponse) {
	text := "change"
	if r.GetState() {
		text = "state"
	}
	for _, p := range r.GetJoins() {
		text += " +" + p.GetRef()
	}
	for _, p := range r.GetLeaves() {
		text += fmt.Sprintf(" -%s:%s", p.GetRef(), p.GetKey())
	}
	b.told = append(b.told, text)
}

func TestBackendWatches(t *testing.T) {
	w, e := newWorld(t, 1)
	var b backend
	s := w.Subscribe("room", &b, w.now)
	e[0].says(put("a1:ann"))
	e[0].says(&presencev1.PeopleChange{Gone: []string{"a1"}, Put: put("a2:ann").GetPut()})
	e[0].says(&presencev1.PeopleChange{Moving: []string{"a2"}, Unwatch: true})
	w.pass(people.MoveTime)
	want := []string{"state", "change +a1", "change +a2 -a1:ann", "change -a2:ann"}
	if !slices.Equal(b.told, want) {
		t.Errorf("got %q, want %q", b.told, want)
	}
	w.Unsubscribe(s)
	if s := w.Stats(); s.Topics != 0 {
		t.Errorf("%+v", s)
	}
}
