package attach

import (
	"errors"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

func pollOf(bytes int, publish bool) *meshv1.EdgeCall {
	return &meshv1.EdgeCall{Call: &meshv1.EdgeCall_Poll{Poll: &meshv1.PollRequest{
		Publish: publish, Messages: []*meshv1.PollMessage{{Data: make([]byte, bytes)}},
	}}}
}

func TestCallsAreBoundedInNumberAndBytes(t *testing.T) {
	var c calls
	first := pollOf(2*callBytes, true)
	if _, err := c.begin(first); err != nil {
		t.Fatal("one alone is taken, however large", err)
	}
	if _, err := c.begin(pollOf(1, false)); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	if !c.forget(first.GetSeq()) || c.forget(first.GetSeq()) || c.bytes != 0 {
		t.Errorf("%d bytes are left", c.bytes)
	}
	for range maxCalls {
		if _, err := c.begin(pollOf(1, false)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.begin(pollOf(1, false)); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
}

func TestAnswersFindTheirCall(t *testing.T) {
	var c calls
	one, two := pollOf(1, false), pollOf(1, false)
	first, err1 := c.begin(one)
	second, err2 := c.begin(two)
	if err1 != nil || err2 != nil || one.GetSeq() != 1 || two.GetSeq() != 2 {
		t.Fatal(err1, err2, one.GetSeq(), two.GetSeq())
	}
	for _, seq := range []uint64{2, 2, 9, 0} { // once each, and only what was asked
		c.answer(&meshv1.EdgeAnswer{Seq: seq})
	}
	if a := <-second; a.GetSeq() != 2 {
		t.Error(a)
	}
	c.end()
	if a := <-first; a != nil {
		t.Error(a)
	}
	c.answer(&meshv1.EdgeAnswer{Seq: 1})
	if _, err := c.begin(pollOf(1, false)); !errors.Is(err, ErrNotAttached) || !c.idle() {
		t.Error(err)
	}
}

func TestLeavingEndsWhatWaitsForMessages(t *testing.T) {
	var c calls
	disconnect := func() *meshv1.EdgeCall { return &meshv1.EdgeCall{Call: &meshv1.EdgeCall_Disconnect{}} }
	for _, call := range []*meshv1.EdgeCall{pollOf(1, true), pollOf(1, false), disconnect()} {
		if _, err := c.begin(call); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.leave(); !slices.Equal(got, []uint64{2}) {
		t.Errorf("cancels %v", got)
	}
	for _, publish := range []bool{true, false} {
		if _, err := c.begin(pollOf(1, publish)); !errors.Is(err, ErrLeaving) {
			t.Error(err)
		}
	}
	if _, err := c.begin(disconnect()); err != nil || c.idle() {
		t.Error(err)
	}
}

// What is called of an edge never takes the room of deliveries.
func TestCallsCostNothingInTheQueue(t *testing.T) {
	call := pollOf(1000, true)
	it := item{call: call}
	m := pack([]item{it, {call: &meshv1.EdgeCall{Seq: 1}}})
	if it.cost() != 0 || it.size() < proto.Size(call) || it.isAck() || len(m.GetCalls()) != 2 || len(m.GetAcks()) != 0 {
		t.Errorf("cost %d, size %d, packed %v", it.cost(), it.size(), m)
	}
}
