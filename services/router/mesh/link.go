package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/pump"
	"github.com/skein-mesh/skein/pkg/queue"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

// Pauses between attempts to link.
const (
	minPause = 50 * time.Millisecond
	maxPause = 500 * time.Millisecond
)

// link dials one peer again and again. A goroutine runs it, and its pump adds
// one that receives.
type link struct {
	mesh   *Mesh
	member cluster.Member
	conn   *grpc.ClientConn
	cancel context.CancelFunc
	done   chan struct{}
	log    *slog.Logger
	out    atomic.Pointer[outbound] // of its stream; nil without one
}

func (l *link) run(ctx context.Context) {
	defer close(l.done)
	defer func() { _ = l.conn.Close() }() // nothing is open on it any more
	client := meshv1.NewMeshServiceClient(l.conn)
	pause := minPause
	for ctx.Err() == nil {
		up, err := l.once(ctx, client)
		if ctx.Err() != nil {
			return
		}
		if up {
			pause = minPause
			l.log.WarnContext(ctx, "link to router broke", "error", err)
		} else {
			l.log.DebugContext(ctx, "link to router failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause)): //nolint:gosec // jitter
		}
		pause = min(2*pause, maxPause)
		l.conn.ResetConnectBackoff() // the pause was ours
	}
}

// once runs one stream to its end. It reports whether the peer answered.
func (l *link) once(ctx context.Context, client meshv1.MeshServiceClient) (up bool, err error) {
	x, id := l.mesh.exchange, l.member.ID
	out := &outbound{queue.New(l.mesh.config.QueueBytes, outItem.cost)}
	l.out.Store(out)
	defer l.out.Store(nil)
	err = pump.Stream[outItem, meshv1.PeerRequest, meshv1.PeerResponse]{
		First: &meshv1.PeerRequest{Hello: l.mesh.config.Self},
		Queue: out.queue,
		Size:  outItem.size,
		Pack:  packRequest,
		Beat:  func() *meshv1.PeerRequest { return &meshv1.PeerRequest{Beat: true} },
		Handle: func(m *meshv1.PeerResponse) error {
			if !up {
				if err := l.check(m.GetHello()); err != nil {
					return err
				}
				up = true
				x.LinkUp(id, out)
				l.log.InfoContext(ctx, "linked to router", "version", m.GetHello().GetVersion())
			}
			for _, ack := range m.GetAcks() {
				x.ForwardDone(id, out, ack)
			}
			if m.GetSubscriptionsAck() != 0 {
				x.SubscriptionsDone(id, out, m.GetSubscriptionsAck())
			}
			return nil
		},
	}.Client(ctx, client.Peer)
	if up {
		x.LinkDown(id, out)
	} else {
		x.LinkDown(id, nil)
	}
	return up, err
}

// check refuses a peer that is not the one gossip told of: an address may have
// found a new owner.
func (l *link) check(hello *meshv1.Hello) error {
	if hello.GetId() != l.member.ID || hello.GetIncarnation() != l.member.Incarnation {
		return fmt.Errorf("expected router %s in its life %d, found %q in its life %d",
			l.member.ID, l.member.Incarnation, hello.GetId(), hello.GetIncarnation())
	}
	return nil
}

// outbound is what waits for one stream to a peer. It implements
// [exchange.Link].
type outbound struct{ queue *queue.Queue[outItem] }

var _ exchange.Link = (*outbound)(nil)

// Forward implements [exchange.Link].
func (o *outbound) Forward(p *meshv1.Publish) bool {
	return o.queue.Push(outItem{forward: p}) == nil
}

// Deliver implements [exchange.Link].
func (o *outbound) Deliver(b *meshv1.Broadcast) bool {
	return o.queue.Push(outItem{delivery: b}) == nil
}

// Control implements [exchange.Link].
func (o *outbound) Control(m *meshv1.PeerRequest) {
	_ = o.queue.Push(outItem{control: m}) // costs nothing, so it fits
}

// outItem is one thing that a router says to a peer: exactly one field is set.
type outItem struct {
	forward  *meshv1.Publish
	delivery *meshv1.Broadcast
	control  *meshv1.PeerRequest
}

const overhead = 64 // of a broadcast, on the wire and in memory

func (it outItem) cost() int {
	if it.control != nil {
		return 0
	}
	return it.size()
}

func (it outItem) size() int {
	if it.control != nil {
		return controlSize(it.control)
	}
	b := it.delivery
	if it.forward != nil {
		b = it.forward.GetBroadcast()
	}
	return overhead + len(b.GetTopic()) + len(b.GetEvent()) + len(b.GetPayload())
}

func controlSize(m *meshv1.PeerRequest) int {
	size := overhead * (1 + len(m.GetEdges().GetEdges()))
	for _, r := range m.GetRows() {
		for _, topic := range r.GetTopics() {
			size += len(topic) + 2
		}
	}
	for _, topic := range m.GetSubscriptions().GetTopics() {
		size += len(topic) + 2
	}
	return size
}

// packRequest puts items into one message, whose fields are handled in their
// own order. Of subscriptions, edges and releases the last says it all.
func packRequest(items []outItem) *meshv1.PeerRequest {
	m := &meshv1.PeerRequest{}
	for _, it := range items {
		switch {
		case it.forward != nil:
			m.Forwards = append(m.Forwards, it.forward)
		case it.delivery != nil:
			m.Deliveries = append(m.Deliveries, it.delivery)
		default:
			if it.control.GetSubscriptions() != nil {
				m.Subscriptions = it.control.GetSubscriptions()
			}
			if it.control.GetEdges() != nil {
				m.Edges = it.control.GetEdges()
			}
			m.Rows = append(m.Rows, it.control.GetRows()...)
			if it.control.GetReleased() != 0 {
				m.Released = it.control.GetReleased()
			}
		}
	}
	return m
}
