// Package rpc serves what presence knows over gRPC: it takes reports from edges,
// hears from them who is online and tells the others, answers backends about
// people, shows the fleet to operators and tells who the members are. While its
// instance is elected it steps the planner and answers reports with what it wants.
//
// # Goroutines
//
// Each Report and each Attach stream has gRPC's goroutine, which sends, and its
// receiver (package pump). Each Watch stream has gRPC's alone: one that is slow to
// take the fleet waits by itself and then gets it as it is by then; one that is
// slow to take changes of a topic's people is ended. Run ends leases in time,
// steps the planner and lets the ledger of people know how late it is.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/node"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Members is what is known of the members of the fleet; [cluster.Membership] is.
type Members interface {
	Self() cluster.Member
	Members() []cluster.Member
}

// Service implements the services of a presence instance. All methods may be
// called concurrently.
type Service struct {
	// Static after construction.
	board    *board
	room     *room
	members  Members
	peers    *peers
	metrics  *metrics
	planning *planning
	node     *node.Node
	queues   queues

	// mu guards the fields below.
	mu      sync.Mutex
	stopped bool
	streams map[uint64]context.CancelCauseFunc
	opened  uint64 // streams so far
}

// Deps are what the services of an instance are given.
type Deps struct {
	Members    Members                                        // this instance is their Self
	Dial       func(address string) (*grpc.ClientConn, error) // of another instance; must not block
	Node       *node.Node                                     // describes this instance
	NewPlanner func() Planner                                 // called each time that this instance is elected
	Log        *slog.Logger
	Meter      metric.Meter
}

// New returns the services of an instance.
func New(d Deps) (*Service, error) {
	self := d.Members.Self().ID
	s := &Service{
		board: newBoard(self), room: newRoom(), members: d.Members, peers: newPeers(d.Members, d.Dial),
		node: d.Node, queues: defaultQueues(), streams: map[uint64]context.CancelCauseFunc{},
	}
	var err error
	if s.metrics, err = newMetrics(d.Meter, s.board); err != nil {
		return nil, fmt.Errorf("presence metrics: %w", err)
	}
	s.planning = newPlanning(s.board, d.NewPlanner, d.Log, s.metrics)
	if err := errors.Join(observePeople(d.Meter, s.room), observePlanning(d.Meter, s.planning)); err != nil {
		return nil, fmt.Errorf("presence metrics: %w", err)
	}
	return s, nil
}

// Register adds the services to server.
func (s *Service) Register(server grpc.ServiceRegistrar) {
	presencev1.RegisterPresenceServiceServer(server, reports{Service: s})
	presencev1.RegisterPeopleServiceServer(server, peopleServer{Service: s})
	presencev1.RegisterFleetServiceServer(server, fleet{Service: s})
	presencev1.RegisterRebalanceServiceServer(server, rebalance{Service: s})
	adminv1.RegisterAdminServiceServer(server, admin{Service: s})
}

// SetPlanner says which instance plans for the fleet, as answers tell. If it is
// this one, it plans until another is named.
func (s *Service) SetPlanner(id string) { s.board.setPlanner(id) }

// Fleet returns the edges as they report now, which must not be changed, and
// whether this instance plans for them.
func (s *Service) Fleet() (edges []*presencev1.Edge, elected bool) {
	edges, planner, _ := s.board.read()
	return edges, planner == s.board.self
}

// MembersChanged says that the members are others than before: who owns which
// topic may have changed.
func (s *Service) MembersChanged() { s.peers.membersChanged() }

// Run does what has its time until ctx ends, and then ends every stream. It may
// run once.
func (s *Service) Run(ctx context.Context) error {
	defer s.peers.forget(func(string) bool { return true })
	defer s.stop()
	return lifecycle.Run(ctx, lifecycle.Func(s.endLeases), lifecycle.Func(s.room.run), lifecycle.Func(s.planning.run))
}

// endLeases ends leases of reports when it is their time.
func (s *Service) endLeases(ctx context.Context) error {
	for {
		next, changed := s.board.expire(time.Now())
		var lease <-chan time.Time
		if !next.IsZero() { // a later row cannot end earlier
			lease, changed = time.After(time.Until(next)), nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-lease:
		case <-changed:
		}
	}
}

// errStopping ends streams when the service stops.
var errStopping = status.Error(codes.Unavailable, "presence: this instance is stopping")

// life returns a context that ends with ctx or with the service, and then has
// errStopping as its cause. The caller calls end.
func (s *Service) life(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		cancel(errStopping)
		return ctx, func() {}
	}
	s.opened++
	id := s.opened
	s.streams[id] = cancel
	return ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams, id)
		cancel(nil)
	}
}

// stop ends every stream, and those that come late.
func (s *Service) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, cancel := range s.streams {
		cancel(errStopping)
	}
}
