package uplink

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/cluster"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

func TestJoinIsConfirmedByTheOwnerUnderTheSameView(t *testing.T) {
	b := newBench(t)
	v := viewOf("a", "b")
	first, second := b.attach("a", v), b.attach("b", v)
	topic := owned("b", "a", "b")
	b.core.want(topic)
	first.carryAll()
	second.carryAll()
	if first.rows[topic] || !second.rows[topic] {
		t.Fatalf("rows: %v, %v", first.rows, second.rows)
	}
	first.ackInterest(v.GetHash())
	if len(b.confirmed) != 0 {
		t.Fatal("confirmed by a router that does not own the topic")
	}
	second.ackInterest(v.GetHash())
	if err, ok := b.confirmed[topic]; !ok || err != nil {
		t.Fatalf("got %v, %v", err, ok)
	}
	b.core.drop(topic)
	second.carryAll()
	if second.rows[topic] {
		t.Error("row of a dropped topic")
	}
}

func TestJoinWaitsForAgreementButNotForEver(t *testing.T) {
	b := newBench(t)
	s := b.attach("a", viewOf("a"))
	b.core.want("room:1")
	s.carryAll()
	s.ackInterest(42)
	b.pass(Agreement - 2*SweepInterval)
	if len(b.confirmed) != 0 {
		t.Fatal("confirmed without agreement")
	}
	b.pass(3 * SweepInterval)
	if err, ok := b.confirmed["room:1"]; !ok || err != nil {
		t.Fatalf("got %v, %v", err, ok)
	}
}

func TestJoinWithoutOwnerFails(t *testing.T) {
	b := newBench(t)
	b.core.want("room:1")
	b.pass(Patience - SweepInterval)
	if len(b.confirmed) != 0 {
		t.Fatal("too early")
	}
	b.pass(2 * SweepInterval)
	if err := b.confirmed["room:1"]; !errors.Is(err, channel.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	s := b.attach("a", viewOf("a"))
	s.carryAll()
	if len(s.rows) != 0 {
		t.Errorf("rows of a join that failed: %v", s.rows)
	}
}

func TestOwnerChangeAnnouncesAndConfirmsAnew(t *testing.T) {
	b := newBench(t)
	one, two := viewOf("a"), viewOf("a", "b")
	sa := b.attach("a", one)
	topic := owned("b", "a", "b")
	b.core.want(topic)
	sa.carryAll() // never acknowledged
	sb := b.attach("b", two)
	sa.report(two)
	sa.carryAll()
	sb.carryAll()
	if sa.rows[topic] || !sb.rows[topic] {
		t.Fatalf("rows: %v, %v", sa.rows, sb.rows)
	}
	sa.ackInterest(two.GetHash())
	if len(b.confirmed) != 0 {
		t.Fatal("confirmed by the earlier owner")
	}
	sb.ackInterest(two.GetHash())
	if len(b.confirmed) != 1 {
		t.Fatal("not confirmed by the new owner")
	}
}

func TestMostReportedViewIsAdopted(t *testing.T) {
	b := newBench(t)
	small, large := viewOf("a"), viewOf("a", "b", "c")
	b.attach("a", small)
	b.attach("b", large)
	if b.core.adopted.hash != large.GetHash() {
		t.Error("of a tie the larger view counts")
	}
	c := b.attach("c", small)
	if b.core.adopted.hash != small.GetHash() {
		t.Error("the majority counts")
	}
	c.end()
	if b.core.adopted.hash != large.GetHash() {
		t.Error("who left has no vote")
	}
}

func TestLargeAnnouncementsComeInSteps(t *testing.T) {
	b := newBench(t)
	for i := range 2*chunkTopics + 1 {
		b.core.want(fmt.Sprint("room:", i))
	}
	s := b.attach("a", viewOf("a"))
	var steps []*meshv1.Interest
	for _, it := range s.port.out.Take(nil) {
		steps = append(steps, it.interest)
	}
	if len(steps) != 3 {
		t.Fatalf("%d steps", len(steps))
	}
	for i, step := range steps {
		if step.GetReset_() != (i == 0) || step.GetComplete() != (i == 2) || step.GetSeq() != uint64(i+1) {
			t.Errorf("step %d: reset %v, complete %v, seq %d", i, step.GetReset_(), step.GetComplete(), step.GetSeq())
		}
	}
	if n := len(steps[2].GetAdd()); n != 1 {
		t.Errorf("%d topics in the last step", n)
	}
}

func TestPublishesWaitForThoseUnderWayAtTheEarlierOwner(t *testing.T) {
	b := newBench(t)
	one, two := viewOf("a"), viewOf("a", "b")
	sa := b.attach("a", one)
	topic := owned("b", "a", "b")
	first := b.publish(topic, "1")
	sa.carryAll()
	sb := b.attach("b", two)
	sa.report(two)
	second := b.publish(topic, "2")
	sb.carryAll()
	if len(sb.carried) != 0 {
		t.Fatal("sent to the new owner while one is under way")
	}
	sa.ack(sa.carried[0], meshv1.PublishError_PUBLISH_ERROR_UNSPECIFIED)
	sb.carryAll()
	if payloads(sb.carried) != "2" {
		t.Fatalf("new owner got %q", payloads(sb.carried))
	}
	sb.ack(sb.carried[0], meshv1.PublishError_PUBLISH_ERROR_OVERLOADED)
	if !slices.Equal(*first, []error{nil}) || !slices.Equal(*second, []error{channel.ErrOverloaded}) {
		t.Errorf("answers: %v, %v", *first, *second)
	}
}

func TestBrokenStreamFailsWhatItMayHaveCarried(t *testing.T) {
	b := newBench(t)
	v := viewOf("a")
	s := b.attach("a", v)
	s.carryAll()
	var answers []*[]error
	for _, p := range []string{"1", "2", "3"} {
		answers = append(answers, b.publish("room:1", p))
	}
	s.carry(2)
	s.end()
	answers = append(answers, b.publish("room:1", "4"))
	again := b.attach("a", v)
	again.carryAll()
	if got := payloads(again.carried); got != "34" {
		t.Fatalf("second stream carried %q", got)
	}
	for _, p := range again.carried {
		again.ack(p, meshv1.PublishError_PUBLISH_ERROR_UNSPECIFIED)
	}
	want := []error{channel.ErrUnavailable, channel.ErrUnavailable, nil, nil}
	for i, a := range answers {
		if !slices.Equal(*a, want[i:i+1]) {
			t.Errorf("publish %d: %v, want %v", i+1, *a, want[i])
		}
	}
	if len(b.core.flows) != 0 || b.core.held != 0 || b.core.heldBytes != 0 {
		t.Errorf("left over: %d flows, %d held, %d bytes", len(b.core.flows), b.core.held, b.core.heldBytes)
	}
}

func TestNothingWaitsLongerThanPatience(t *testing.T) {
	b := newBench(t)
	s := b.attach("a", viewOf("a"))
	held := b.publish("room:1", "1") // under way, never acknowledged
	s.carryAll()
	b.pass(Patience + SweepInterval)
	if !slices.Equal(*held, []error{channel.ErrUnavailable}) {
		t.Fatalf("under way: %v", *held)
	}
	s.ack(s.carried[0], meshv1.PublishError_PUBLISH_ERROR_UNSPECIFIED) // late
	s.end()
	held = b.publish("room:1", "2") // no way
	b.pass(Patience + SweepInterval)
	if !slices.Equal(*held, []error{channel.ErrUnavailable}) || b.core.held != 0 {
		t.Fatalf("held: %v, %d left", *held, b.core.held)
	}
}

func TestPublishThatWasGivenUpIsNotSentLater(t *testing.T) {
	b := newBench(t)
	s := b.attach("a", viewOf("a"))
	stuck := b.publish("room:1", "1") // the stream takes nothing
	b.pass(Patience + SweepInterval)
	if !slices.Equal(*stuck, []error{channel.ErrUnavailable}) {
		t.Fatalf("stuck: %v", *stuck)
	}
	b.publish("room:1", "2")
	s.carryAll()
	if got := payloads(s.carried); got != "2" {
		t.Fatalf("sent %q", got)
	}
}

func TestFullQueuesRefuse(t *testing.T) {
	b := newBench(t)
	big := string(make([]byte, 700<<10))
	if first, second := b.publish("t", big), b.publish("t", big); len(*first) != 0 || !slices.Equal(*second, []error{channel.ErrOverloaded}) {
		t.Errorf("held: %v, %v", *first, *second)
	}
	b.attach("a", viewOf("a"))
	if third := b.publish("t", big); !slices.Equal(*third, []error{channel.ErrOverloaded}) {
		t.Errorf("queued: %v", *third)
	}
	if small := b.publish("other", "x"); len(*small) != 0 {
		t.Errorf("a small one still fits: %v", *small)
	}
}

func TestReadyOnceAnnouncedAtEveryOwner(t *testing.T) {
	b := newBench(t)
	v := viewOf("a", "b")
	sa := b.attach("a", v)
	sa.carryAll()
	sa.ackInterest(v.GetHash())
	if b.core.ready {
		t.Fatal("ready without b")
	}
	sb := b.attach("b", v)
	if b.core.ready {
		t.Fatal("ready before b knows the rows")
	}
	sb.carryAll()
	sb.ackInterest(v.GetHash())
	if !b.core.ready {
		t.Fatal("not ready")
	}
	sb.end()
	b.pass(Patience - SweepInterval)
	if !b.core.ready || b.failed != nil {
		t.Fatal("a short outage must not matter")
	}
	b.pass(3 * SweepInterval)
	if b.core.ready {
		t.Error("ready without an owner")
	}
	if b.failed == nil || !b.failed(owned("b", "a", "b")) || b.failed(owned("a", "a", "b")) {
		t.Error("exactly the topics of b fail")
	}
	sb = b.attach("b", v)
	sb.carryAll()
	sb.ackInterest(v.GetHash())
	if !b.core.ready {
		t.Error("not ready again")
	}
}

func TestWithoutAnyRouterEverythingFails(t *testing.T) {
	b := newBench(t)
	s := b.attach("a", viewOf("a"))
	s.carryAll()
	s.report(viewOf())
	b.pass(Patience + 3*SweepInterval)
	if b.core.ready || b.failed == nil || !b.failed("anything") {
		t.Error("no owner at all must fail every topic")
	}
}

func TestLaterLifeOfARouterReplacesTheEarlier(t *testing.T) {
	b := newBench(t)
	v := viewOf("a")
	early := b.attach("a", v)
	late := &stream{bench: b, port: newPort(false, 1<<20, nil)}
	if !b.core.greeted(late.port, &meshv1.Hello{Id: "a", Incarnation: 2}) {
		t.Fatal("refused")
	}
	late.report(v)
	if b.core.greeted(newPort(false, 1, nil), &meshv1.Hello{Id: "a", Incarnation: 1}) {
		t.Error("an earlier life was taken")
	}
	early.end()
	if b.core.ports["a"] != late.port {
		t.Error("the end of the earlier stream took the later one")
	}
}

func TestBootstrapStreamsTellViewsOnly(t *testing.T) {
	b := newBench(t)
	v := viewOf("a", "b")
	seed := &stream{bench: b, port: newPort(true, 1<<20, nil)}
	if !b.core.seedNeeded(nil) {
		t.Error("a bootstrap stream is needed while nothing is attached")
	}
	if !b.core.greeted(seed.port, &meshv1.Hello{Id: "a", Incarnation: 1}) {
		t.Fatal("refused")
	}
	seed.report(v)
	b.core.want("room:1")
	got := b.publish("room:1", "1")
	seed.carryAll()
	if seed.last != 0 || len(seed.carried) != 0 || len(*got) != 0 {
		t.Error("a bootstrap stream carries no interest and no publishes")
	}
	if len(b.core.members(cluster.RoleRouter)) != 2 || b.core.adopted.hash != v.GetHash() {
		t.Error("its view counts")
	}
	b.attach("b", v)
	if b.core.seedNeeded(nil) || !b.core.seedNeeded(seed.port) {
		t.Error("needed: only the one to a router without another stream")
	}
	b.attach("a", v)
	if b.core.seedNeeded(seed.port) {
		t.Error("not needed any more")
	}
	if b.core.greeted(newPort(true, 1, nil), &meshv1.Hello{Id: "a", Incarnation: 1}) {
		t.Error("a second stream to a was taken")
	}
}
