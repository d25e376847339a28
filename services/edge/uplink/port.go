package uplink

import (
	"sync/atomic"
	"time"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/queue"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// port is one stream to a router, from its hello to its end.
type port struct {
	// Static after construction.
	seed bool // a bootstrap stream: tells views, takes no interest and no publishes
	out  *queue.Queue[item]
	// What the router asked and was not answered.
	calls *calls

	// Owned by the stream's sender until the stream ended, then by the core.
	sent atomic.Uint64 // seq of the last publish handed to the stream

	// Guarded by the core's mu.
	id          string // of the router, "" before its hello
	incarnation uint64
	view        *view     // that it reported last, nil before the first
	steps       uint64    // seq of the last interest step
	announced   uint64    // last step of the last announcement
	acked       uint64    // last step that the router took in
	ackedView   uint64    // hash of the router's own view then
	waiting     []waiting // joins that wait for a step, by seq
	window      window
}

// waiting is a topic whose joins are confirmed by an interest step.
type waiting struct {
	seq   uint64
	topic string
	want  *want
}

// item is one thing that waits to be sent to a router: exactly one of its fields
// but the size is set.
type item struct {
	interest *meshv1.Interest
	publish  *publish
	answer   *meshv1.EdgeAnswer
	fenced   uint64
	size     int // on the wire, roughly
}

// fixedSize is what the parts of an item take besides names and payload.
const fixedSize = 32

func newPort(seed bool, limit int, handler Calls) *port {
	p := &port{seed: seed, out: queue.New(limit, item.cost)}
	p.calls = newCalls(handler, p.push)
	return p
}

// cost makes only publishes count: an announcement is never refused, answers
// are few, and a stream on which nothing moves ends soon.
func (i item) cost() int {
	if i.publish == nil {
		return 0
	}
	return i.size
}

// pack is called by the stream's sender only. It leaves out the publishes that
// waited here until they were given up.
func (p *port) pack(items []item) *meshv1.AttachRequest {
	m := &meshv1.AttachRequest{}
	for _, it := range items {
		switch {
		case it.publish != nil:
			if !it.publish.fate.CompareAndSwap(queued, sent) {
				continue
			}
			if m.Publishes == nil {
				m.Publishes = make([]*meshv1.Publish, 0, len(items))
			}
			m.Publishes = append(m.Publishes, &it.publish.message)
		case it.interest != nil:
			m.Interest = append(m.Interest, it.interest)
		case it.answer != nil:
			m.Answers = append(m.Answers, it.answer)
		default:
			m.Fenced = it.fenced
		}
	}
	if n := len(m.GetPublishes()); n > 0 {
		p.sent.Store(m.GetPublishes()[n-1].GetSeq())
	}
	p.calls.sent(len(m.GetAnswers()))
	return m
}

// push queues what is never refused.
func (p *port) push(it item) {
	_ = p.out.Push(it) // costs nothing, so it always fits
}

// step queues one interest step and returns its seq. It takes over i.
func (p *port) step(i *meshv1.Interest) uint64 {
	p.steps++
	i.Seq = p.steps
	size := fixedSize
	for _, topics := range [2][]string{i.GetAdd(), i.GetRemove()} {
		for _, topic := range topics {
			size += len(topic) + 3
		}
	}
	p.push(item{interest: i, size: size})
	return p.steps
}

// publish is one publish on its way, with the messages that carry it: one
// allocation for all.
type publish struct {
	done func(error) // called once, outside the core's lock
	at   time.Time   // when it came

	// Either the stream's sender takes it, or the core gives it up: what its
	// client was told has failed must not be sent later, behind its successors.
	fate atomic.Uint32

	message    meshv1.Publish
	broadcast  meshv1.Broadcast
	connection meshv1.Connection
}

// What became of a publish.
const (
	queued uint32 = iota
	sent          // packed into a message
	givenUp
)

func newPublish(b channel.Broadcast, done func(error), at time.Time) *publish {
	p := &publish{done: done, at: at}
	p.broadcast.Topic, p.broadcast.Event = b.Topic, b.Event
	p.broadcast.Payload, p.broadcast.Trace = b.Payload, b.Trace
	p.broadcast.PublishedUs = microseconds(time.Now()) // at may be a tick old
	p.broadcast.Encoding = meshv1.Encoding_ENCODING_JSON
	if b.Binary {
		p.broadcast.Encoding = meshv1.Encoding_ENCODING_BINARY
	}
	if b.Except != (channel.Connection{}) {
		p.connection.Edge, p.connection.Id = b.Except.Edge, b.Except.ID
		p.broadcast.Except = &p.connection
	}
	p.message.Broadcast = &p.broadcast
	return p
}

func (p *publish) size() int {
	b := &p.broadcast
	return fixedSize + len(b.GetTopic()) + len(b.GetEvent()) + len(b.GetPayload()) + len(b.GetTrace())
}

// decode is the broadcast of a delivery.
func decode(b *meshv1.Broadcast) channel.Broadcast {
	d := channel.Broadcast{
		Topic: b.GetTopic(), Event: b.GetEvent(), Payload: b.GetPayload(), Trace: b.GetTrace(),
		Binary: b.GetEncoding() == meshv1.Encoding_ENCODING_BINARY,
	}
	if e := b.GetExcept(); e != nil {
		d.Except = channel.Connection{Edge: e.GetEdge(), ID: e.GetId()}
	}
	return d
}

// window holds the publishes of one stream, in the order of their seq, until
// they are answered. Seqs begin with 1.
type window struct {
	base    uint64 // seq before that of entries[0]
	entries []flight
	head    int // entries before it are answered
}

// flight is a publish that was queued for a stream; its publish is nil once it
// was answered.
type flight struct {
	flow    *flow
	publish *publish
}

func (w *window) next() uint64 { return w.base + uint64(len(w.entries)) + 1 }

func (w *window) push(f flight) { w.entries = append(w.entries, f) }

// take removes and returns the publish with the given seq, or a zero flight if
// it was answered before.
func (w *window) take(seq uint64) flight {
	i := seq - w.base - 1 // wraps around for a seq at or below base
	if i >= uint64(len(w.entries)) {
		return flight{}
	}
	f := w.entries[i]
	w.entries[i] = flight{}
	w.compact()
	return f
}

// compact drops answered entries at the front once they are the larger part,
// so each entry is moved at most once on average.
func (w *window) compact() {
	for w.head < len(w.entries) && w.entries[w.head].publish == nil {
		w.head++
	}
	if w.head == 0 || w.head < len(w.entries)/2 {
		return
	}
	n := copy(w.entries, w.entries[w.head:])
	clear(w.entries[n:])
	w.base += uint64(w.head) //nolint:gosec // an index
	w.entries, w.head = w.entries[:n], 0
}
