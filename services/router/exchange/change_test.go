package exchange_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

func TestNewOwnerWaitsForTheEarlier(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(b *bench, in *exchange.Inbound, link *wire)
		want    string
	}{
		"nothing":        {func(*bench, *exchange.Inbound, *wire) {}, "waits"},
		"another view":   {func(b *bench, in *exchange.Inbound, _ *wire) { b.Released(in, 1) }, "waits"},
		"released":       {func(b *bench, in *exchange.Inbound, _ *wire) { b.Released(in, b.View().GetHash()) }, "by self"},
		"link broken":    {func(b *bench, _ *exchange.Inbound, link *wire) { b.LinkDown("other", link) }, "by self"},
		"time is up":     {func(b *bench, _ *exchange.Inbound, _ *wire) { b.after(exchange.SettleTime) }, "by self"},
		"time is not up": {func(b *bench, _ *exchange.Inbound, _ *wire) { b.after(exchange.SettleTime / 2) }, "waits"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, member("other", ready))
			link := &wire{}
			b.LinkUp("other", link)
			in := b.Accept("other", &relay{})
			b.after(2 * time.Second)
			topic := b.topicOf("other")
			b.SetMembers([]*meshv1.Member{member("other", leaving), member("self", ready)})
			seq := b.publish(topic)
			c.happens(b, in, link)
			b.want(seq, c.want)
		})
	}
}

func TestReleasedAfterEveryFence(t *testing.T) {
	b := newBench(t, member("other", ready))
	link := &wire{}
	b.LinkUp("other", link)
	first, p1 := b.attach("a")
	second, p2 := b.attach("b")
	_, p3 := b.attach("c")
	b.SetMembers([]*meshv1.Member{member("other", ready), member("third", ready), member("self", ready)})
	hash := b.View().GetHash()
	b.Fenced(first, p1.fences[len(p1.fences)-1])
	b.Detach(second)
	if link.released() == hash {
		t.Error("released before the third edge answered")
	}
	b.after(exchange.FenceTime)
	if link.released() != hash {
		t.Error("not released after a second")
	}
	if len(p2.fences) == 0 || len(p3.fences) == 0 || len(p1.views) != 2 {
		t.Error("some edge was not told")
	}
}

func TestHandOver(t *testing.T) {
	b := newBench(t, member("other", ready))
	link := &wire{}
	b.LinkUp("other", link)
	e, _ := b.attach("a")
	flooded, _ := b.attach("b")
	topic := b.topicOf("self")
	b.announce(e, topic)
	_ = flooded
	b.SetMembers([]*meshv1.Member{member("other", ready), member("self", leaving)})
	if link.released() == b.View().GetHash() {
		t.Error("released before the rows")
	}
	b.HandOver()
	var handed []*meshv1.HandedRows
	for _, m := range link.controls {
		handed = append(handed, m.GetRows()...)
	}
	if len(handed) != 1 || handed[0].GetEdge() != "a" || !handed[0].GetComplete() || !slices.Equal(handed[0].GetTopics(), []string{topic}) {
		t.Errorf("handed %v", handed)
	}
	if b.Left() {
		t.Error("left before anybody knew")
	}
}

func TestTakeOver(t *testing.T) {
	for name, c := range map[string]struct {
		steps func(b *bench, in *exchange.Inbound, e *exchange.Edge, rows *meshv1.HandedRows)
		want  exchange.Reason
	}{
		"nothing": {func(*bench, *exchange.Inbound, *exchange.Edge, *meshv1.HandedRows) {}, exchange.ReasonFlood},
		"complete rows": {func(b *bench, in *exchange.Inbound, _ *exchange.Edge, rows *meshv1.HandedRows) {
			b.Heard(in, &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{rows}})
		}, exchange.ReasonRow},
		"incomplete rows": {func(b *bench, in *exchange.Inbound, _ *exchange.Edge, rows *meshv1.HandedRows) {
			rows.Complete = false
			b.Heard(in, &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{rows}})
		}, exchange.ReasonFlood},
		"another life of the edge": {func(b *bench, in *exchange.Inbound, _ *exchange.Edge, rows *meshv1.HandedRows) {
			rows.Incarnation = 2
			b.Heard(in, &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{rows}})
		}, exchange.ReasonFlood},
		"too late for the edge": {func(b *bench, in *exchange.Inbound, _ *exchange.Edge, rows *meshv1.HandedRows) {
			b.Heard(in, &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{rows}})
			b.after(exchange.HandOverTime)
		}, exchange.ReasonFlood},
		"the edge begins anew": {func(b *bench, in *exchange.Inbound, e *exchange.Edge, rows *meshv1.HandedRows) {
			first := &meshv1.HandedRows{Edge: rows.GetEdge(), Incarnation: 1, View: rows.GetView(), Topics: rows.GetTopics()}
			b.Heard(in, &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{first}})
			b.Interest(e, &meshv1.Interest{View: rows.GetView(), Reset_: true})
			rows.Topics = nil
			b.Heard(in, &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{rows}})
		}, exchange.ReasonFlood},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, member("other", ready))
			b.LinkUp("other", &wire{})
			in := b.Accept("other", &relay{})
			topic := b.topicOf("other")
			e, _ := b.attach("a")
			b.announce(e)
			b.SetMembers([]*meshv1.Member{member("other", leaving), member("self", ready)})
			c.steps(b, in, e, &meshv1.HandedRows{Edge: "a", Incarnation: 1, View: b.View().GetHash(), Topics: []string{topic}, Complete: true})
			got := b.Topic(topic).Receivers
			if want := []exchange.Receiver{{ID: "a", Reason: c.want}}; !slices.Equal(got, want) {
				t.Errorf("receivers %v, want %v", got, want)
			}
		})
	}
}

// Many rows travel in several messages, of which only the last is complete; the
// new owner has all of them then.
func TestHandOverOfManyRows(t *testing.T) {
	b, heir := newBench(t, member("other", ready)), newBench(t, member("other", ready))
	link := &wire{}
	b.LinkUp("other", link)
	e, _ := b.attach("a")
	var topics []string
	for i := range 30000 {
		if topic := fmt.Sprint("room:", i); b.Topic(topic).Owner == "self" {
			topics = append(topics, topic)
		}
	}
	b.announce(e, topics...)
	b.SetMembers([]*meshv1.Member{member("other", ready), member("self", leaving)})
	b.HandOver()

	// The heir plays "self", so that it gets the rows of "other" in its own test.
	heir.LinkUp("other", &wire{})
	in := heir.Accept("other", &relay{})
	at, _ := heir.attach("a")
	heir.announce(at)
	heir.SetMembers([]*meshv1.Member{member("other", leaving), member("self", ready)})
	messages, got := 0, 0
	for _, m := range link.controls {
		for _, rows := range m.GetRows() {
			messages++
			got += len(rows.GetTopics())
			if synced := heir.Edges()[0].Synced; synced {
				t.Error("synced before all rows are there")
			}
			rows.View = heir.View().GetHash()
			heir.Heard(in, &meshv1.PeerRequest{Rows: []*meshv1.HandedRows{rows}})
		}
	}
	if messages < 2 || got != len(topics) || !heir.Edges()[0].Synced || heir.Stats().EdgeRows != len(topics) {
		t.Errorf("%d rows in %d messages, heir %+v", got, messages, heir.Edges()[0])
	}
}
