// Package mesh connects this router to the others. It keeps one link to every
// router that gossip calls alive and accepts theirs: a router speaks on the link
// it dialled and only answers on the one it accepted, so no stream has two
// roles.
//
// A link whose stream breaks or falls silent makes its peer suspect at once: the
// exchange leaves it out of the view until the link is back, whatever gossip
// says.
package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/cluster/memberpb"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	"github.com/skein-mesh/skein/services/router/exchange"
)

// DefaultQueueBytes is what may wait for one peer unless told otherwise.
const DefaultQueueBytes = 64 << 20

// Config of a mesh.
type Config struct {
	Self       *meshv1.Hello // names this router
	QueueBytes int           // most bytes of forwards and deliveries that wait for one peer
	Membership cluster.Membership
	Dial       func(address string) (*grpc.ClientConn, error)
	Log        *slog.Logger
}

// Mesh is this router's place among the others. All methods may be called
// concurrently.
type Mesh struct {
	// Static after construction.
	config   Config
	exchange *exchange.Exchange

	mu    sync.Mutex // guards links
	links map[string]*link
}

// New returns a mesh that knows nobody until it runs.
func New(x *exchange.Exchange, c Config) *Mesh {
	return &Mesh{config: c, exchange: x, links: map[string]*link{}}
}

// Run follows the membership until ctx ends: it tells the exchange and keeps the
// links. All links have ended when it returns.
func (m *Mesh) Run(ctx context.Context) error {
	defer m.stopAll()
	for {
		members := m.config.Membership.Members()
		m.exchange.SetMembers(memberpb.Encode(members))
		if err := m.reconcile(ctx, members); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.config.Membership.Changed():
		}
	}
}

// Prepared reports whether a joining router may become ready, see
// [exchange.Exchange.Prepared]: it has also heard of every member.
func (m *Mesh) Prepared() bool {
	known := map[string]uint64{}
	for _, member := range m.exchange.View().GetMembers() {
		known[member.GetId()] = member.GetIncarnation()
	}
	for _, member := range m.config.Membership.Members() {
		if known[member.ID] != member.Incarnation {
			return false
		}
	}
	return m.exchange.Prepared()
}

// Conn returns the connection to the router with that id, for calls that only
// it can answer.
func (m *Mesh) Conn(id string) (grpc.ClientConnInterface, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.links[id]
	if l == nil {
		return nil, false
	}
	return l.conn, true
}

// reconcile starts the links that are missing and ends those to members that
// are gone or have another life.
func (m *Mesh) reconcile(ctx context.Context, members []cluster.Member) error {
	wanted := map[string]cluster.Member{}
	for _, member := range members {
		if member.Role == cluster.RoleRouter && member.ID != m.config.Self.GetId() {
			wanted[member.ID] = member
		}
	}
	for id, l := range m.running() {
		if w, ok := wanted[id]; !ok || w.Incarnation != l.member.Incarnation || w.Address != l.member.Address {
			m.stop(l)
		}
	}
	for id, member := range wanted {
		if m.running()[id] != nil {
			continue
		}
		conn, err := m.config.Dial(member.Address)
		if err != nil {
			return fmt.Errorf("router %s: %w", id, err) // the address itself is malformed
		}
		m.start(ctx, member, conn)
	}
	return nil
}

// Queued is how many bytes wait for other routers.
func (m *Mesh) Queued() (bytes int) {
	for _, l := range m.running() {
		if out := l.out.Load(); out != nil {
			bytes += out.queue.Cost()
		}
	}
	return bytes
}

func (m *Mesh) running() map[string]*link {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.links)
}

func (m *Mesh) start(ctx context.Context, member cluster.Member, conn *grpc.ClientConn) {
	ctx, cancel := context.WithCancel(ctx)
	l := &link{
		mesh: m, member: member, conn: conn, cancel: cancel, done: make(chan struct{}),
		log: m.config.Log.With("peer", member.ID, "address", member.Address),
	}
	m.mu.Lock()
	m.links[member.ID] = l
	m.mu.Unlock()
	go l.run(ctx)
}

func (m *Mesh) stop(l *link) {
	m.mu.Lock()
	delete(m.links, l.member.ID)
	m.mu.Unlock()
	l.cancel()
	<-l.done
}

func (m *Mesh) stopAll() {
	for _, l := range m.running() {
		l.cancel()
	}
	for _, l := range m.running() {
		m.stop(l)
	}
}
