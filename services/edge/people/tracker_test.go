package people_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/edge/session"
)

func TestTwoEdgesSeeEachOther(t *testing.T) {
	inBubble(t, func(f *fleet) {
		p := f.presence("p")
		a, b := f.edge("a"), f.edge("b")
		wait(5 * time.Second)
		ann := a.join("room", "ann")
		wait(time.Second)
		ann.gets(`diff `+joined("ann"), `state `+list("ann"))
		bob := b.join("room", "bob")
		wait(time.Second)
		ann.gets(`diff ` + joined("bob"))
		bob.gets(`diff `+joined("bob"), `state `+list("ann", "bob"))
		b.tracker.Track("room", bob, session.Person{Key: "bob", Meta: []byte(`{"typing": true}`)})
		wait(time.Second)
		update := `diff {"joins":{"bob":{"metas":[{"phx_ref":R,"phx_ref_prev":R,"typing":true}]}},"leaves":{"bob":{"metas":[{"phx_ref":R}]}}}`
		ann.gets(update)
		bob.gets(update)
		b.tracker.Untrack("room", bob)
		wait(time.Second)
		ann.gets(`diff {"joins":{},"leaves":{"bob":{"metas":[{"phx_ref":R,"phx_ref_prev":R,"typing":true}]}}}`)
		bob.forget()
		a.leave(ann)
		wait(time.Second)
		bob.gets(`diff ` + left("ann"))
		a.stop()
		b.stop()
		p.stop()
	})
}

func TestWithoutPresence(t *testing.T) {
	inBubble(t, func(f *fleet) {
		a := f.edge("a")
		ann := a.join("room", "ann")
		wait(time.Second)
		ann.gets(`state `+list("ann"), `diff `+joined("ann"))
		bob := a.join("room", "bob")
		wait(time.Second)
		ann.gets(`diff ` + joined("bob"))
		bob.gets(`state `+list("ann", "bob"), `diff `+joined("bob"))
		a.stop()
	})
}

func TestRestartOfPresenceIsNotNoticed(t *testing.T) {
	inBubble(t, func(f *fleet) {
		p, q := f.presence("p"), f.presence("q")
		a, b := f.edge("a"), f.edge("b")
		wait(5 * time.Second)
		var anns, bobs []*channelOf
		for _, topic := range []string{"one", "two", "three", "four", "five"} {
			anns, bobs = append(anns, a.join(topic, "ann")), append(bobs, b.join(topic, "bob"))
		}
		wait(time.Second)
		for _, c := range append(anns, bobs...) {
			c.forget()
		}
		p.stop()
		wait(5 * time.Second)
		p = f.presence("p")
		wait(100 * time.Millisecond)
		a.leave(anns[0])
		wait(5 * time.Second)
		bobs[0].gets(`diff ` + left("ann"))
		q.stop()
		p.stop()
		wait(3 * time.Second)
		cid := a.join("two", "cid")
		wait(3 * time.Second)
		cid.gets(`state `+list("ann", "bob", "cid"), `diff `+joined("cid"))
		a.leave(anns[1])
		wait(time.Second)
		cid.gets(`diff ` + left("ann"))
		p = f.presence("p")
		wait(5 * time.Second)
		bobs[1].gets(`diff {"joins":{` + person("cid") + `},"leaves":{` + person("ann") + `}}`)
		for _, c := range append(anns[2:], bobs[2:]...) {
			c.gets()
		}
		a.stop()
		b.stop()
		p.stop()
	})
}

func TestPersonWhoMovesDoesNotLeave(t *testing.T) {
	inBubble(t, func(f *fleet) {
		p := f.presence("p")
		a, b := f.edge("a"), f.edge("b")
		wait(5 * time.Second)
		ann, bob, cid := a.join("room", "ann"), b.join("room", "bob"), b.join("room", "cid")
		wait(time.Second)
		ann.forget()
		b.move(bob)
		b.move(cid)
		b.stop()
		wait(5 * time.Second)
		ann.gets()
		c := f.edge("c")
		wait(time.Second)
		again := c.join("room", "bob")
		wait(time.Second)
		ann.gets(`diff {"joins":{"bob":{"metas":[{"phx_ref":R,"phx_ref_prev":R}]}},"leaves":{` + person("bob") + `}}`)
		again.gets(`diff `+joined("bob"), `state `+list("ann", "bob", "cid"))
		wait(10 * time.Second)
		ann.gets(`diff ` + left("cid"))
		a.stop()
		c.stop()
		p.stop()
	})
}

// One socket of an edge that stays may be moved, and balancers may send it back.
func TestPersonWhoMovesToTheSameEdge(t *testing.T) {
	inBubble(t, func(f *fleet) {
		p := f.presence("p")
		a, b := f.edge("a"), f.edge("b")
		wait(5 * time.Second)
		ann, bob, cid := a.join("room", "ann"), b.join("room", "bob"), b.join("room", "cid")
		wait(time.Second)
		ann.forget()
		cid.forget()
		b.move(bob)
		wait(5 * time.Second)
		ann.gets()
		cid.gets()
		again := b.join("room", "bob")
		wait(20 * time.Second)
		ann.gets(`diff {"joins":{"bob":{"metas":[{"phx_ref":R,"phx_ref_prev":R}]}},"leaves":{` + person("bob") + `}}`)
		cid.gets(`diff `+joined("bob"), `diff `+left("bob"))
		b.leave(again)
		wait(time.Second)
		ann.gets(`diff {"joins":{},"leaves":{"bob":{"metas":[{"phx_ref":R,"phx_ref_prev":R}]}}}`)
		cid.gets(`diff ` + left("bob"))
		a.stop()
		b.stop()
		p.stop()
	})
}

func TestChangesAreShownTogether(t *testing.T) {
	inBubble(t, func(f *fleet) {
		a := f.edge("a")
		ann := a.join("room", "")
		wait(time.Second)
		ann.gets(`state {}`)
		bob := a.join("room", "bob")
		wait(10 * time.Millisecond)
		ann.gets(`diff ` + joined("bob"))
		cid := a.join("room", "cid")
		dan := a.join("room", "dan")
		wait(10 * time.Millisecond)
		a.leave(bob)
		a.leave(cid)
		wait(time.Second)
		// Dan got a state with cid, so that everybody is told that cid left.
		ann.gets(`diff {"joins":{` + person("dan") + `},"leaves":{` + person("bob") + `,` + person("cid") + `}}`)
		dan.gets(`state `+list("bob", "cid", "dan"), `diff {"joins":{`+person("dan")+`},"leaves":{`+person("bob")+`,`+person("cid")+`}}`)
		a.tracker.Track("room", ann, session.Person{Key: "ann"})
		wait(10 * time.Millisecond)
		ann.forget()
		a.tracker.Track("room", dan, session.Person{Key: "don"})
		a.tracker.Track("room", dan, session.Person{Key: "dan"})
		wait(time.Second)
		ann.gets(`diff {"joins":{` + person("dan") + `},"leaves":{` + person("dan") + `}}`)
		a.stop()
		if got := a.metrics(); got["skein.edge.people.coalesced undone"] != 0 {
			t.Errorf("metrics outlive Run: %v", got)
		}
	})
}

func TestTooMuchForPresenceAtOnce(t *testing.T) {
	inBubble(t, func(f *fleet) {
		p := f.presence("p")
		a, b := f.narrowEdge("a", 500), f.edge("b")
		wait(5 * time.Second)
		ann, bob := a.join("room", "ann"), b.join("room", "")
		wait(time.Second)
		bob.gets(`state ` + list("ann"))
		for range 20 {
			a.tracker.Track("room", ann, session.Person{Key: "eve"})
		}
		wait(3 * time.Second)
		if got := a.metrics()["skein.edge.people.cut"]; got != 1 {
			t.Errorf("%d streams were cut", got)
		}
		// What the sender took before the stream was cut may come as a diff of its
		// own; the latest one is whole.
		news := bob.heard()
		if n := len(news); n == 0 || !strings.Contains(news[0], `"leaves":{`+person("ann")+`}`) ||
			!strings.Contains(news[n-1], `{"joins":{"eve":{"metas":[{"phx_ref":R,"phx_ref_prev":R}]}}`) {
			t.Errorf("got\n%s", strings.Join(news, "\n"))
		}
		a.stop()
		b.stop()
		p.stop()
	})
}

func TestMetricsAndRefusals(t *testing.T) {
	inBubble(t, func(f *fleet) {
		a := f.edge("a")
		ann := a.join("room", strings.Repeat("x", 256))
		a.tracker.Track("room", ann, session.Person{Key: "ann", Meta: []byte(`[]`)})
		a.tracker.Track("other", ann, session.Person{Key: "ann"})
		wait(time.Second)
		ann.gets(`state {}`)
		a.tracker.Track("room", ann, session.Person{Key: "ann"})
		wait(time.Second)
		ann.gets(`diff ` + joined("ann"))
		got := a.metrics()
		for name, want := range map[string]int64{
			"skein.edge.people.rows": 1, "skein.edge.people.topics": 1,
			"skein.edge.people.refused key": 1, "skein.edge.people.refused meta": 1,
			"skein.edge.people.sent presence_state": 1, "skein.edge.people.sent presence_diff": 1,
		} {
			if got[name] != want {
				t.Errorf("%s is %d, want %d", name, got[name], want)
			}
		}
		a.stop()
	})
}

func TestBackendAsksAnyInstance(t *testing.T) {
	inBubble(t, func(f *fleet) {
		p, q := f.presence("p"), f.presence("q")
		a := f.edge("a")
		wait(5 * time.Second)
		for _, topic := range []string{"one", "two", "three", "four"} {
			a.join(topic, "ann")
			a.join(topic, topic)
		}
		wait(time.Second)
		for _, i := range []*instance{p, q} {
			conn, err := f.dial(i.member.Address)
			if err != nil {
				t.Fatal(err)
			}
			client := presencev1.NewPeopleServiceClient(conn)
			for _, topic := range []string{"one", "two", "three", "four"} {
				list, err := client.List(f.t.Context(), &presencev1.PeopleServiceListRequest{Topic: topic})
				if err != nil || len(list.GetPeople()) != 2 {
					t.Errorf("%s of %s: %v, %v", topic, i.member.ID, list, err)
				}
				count, err := client.Count(f.t.Context(), &presencev1.PeopleServiceCountRequest{Topic: topic})
				if err != nil || count.GetPeople() != 2 || count.GetKeys() != 2 {
					t.Errorf("%s of %s: %v, %v", topic, i.member.ID, count, err)
				}
			}
			online, err := client.IsOnline(f.t.Context(), &presencev1.PeopleServiceIsOnlineRequest{Keys: []string{"four", "nobody", "one", "ann", "two", "three"}})
			if want := []string{"four", "one", "ann", "two", "three"}; err != nil || !slices.Equal(online.GetOnline(), want) {
				t.Errorf("%s: %v, %v", i.member.ID, online, err)
			}
			_ = conn.Close()
		}
		a.stop()
		p.stop()
		q.stop()
	})
}
