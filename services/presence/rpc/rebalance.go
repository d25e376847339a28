package rpc

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/pump"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/orders"
)

// rebalance serves operators: it shows and steers the planner.
type rebalance struct {
	presencev1.UnimplementedRebalanceServiceServer
	*Service
}

// Plan implements [presencev1.RebalanceServiceServer].
func (s rebalance) Plan(ctx context.Context, req *presencev1.PlanRequest) (*presencev1.PlanResponse, error) {
	elected, err := s.elected(req.GetLocal())
	switch {
	case err != nil:
		return nil, err
	case elected != nil:
		return elected.Plan(ctx, &presencev1.PlanRequest{Local: true})
	}
	now, err := s.planning.now()
	if err != nil {
		return nil, err
	}
	return &presencev1.PlanResponse{Plan: now.GetPlan(), Gates: now.GetGates()}, nil
}

// Apply implements [presencev1.RebalanceServiceServer].
func (s rebalance) Apply(ctx context.Context, req *presencev1.ApplyRequest) (*presencev1.ApplyResponse, error) {
	elected, err := s.elected(req.GetLocal())
	switch {
	case err != nil:
		return nil, err
	case elected != nil:
		return elected.Apply(ctx, &presencev1.ApplyRequest{Local: true})
	case s.board.latest().GetPaused():
		return nil, status.Error(codes.FailedPrecondition, "presence: an operator paused rebalancing: resume it first")
	}
	ctx, end := s.life(ctx)
	defer end()
	now, err := s.planning.apply(ctx)
	if err != nil {
		return nil, err
	}
	return &presencev1.ApplyResponse{Plan: now.GetPlan(), Gates: now.GetGates()}, nil
}

// Status implements [presencev1.RebalanceServiceServer]. An order counts at once,
// also before the planner's next step.
func (s rebalance) Status(ctx context.Context, req *presencev1.StatusRequest) (*presencev1.StatusResponse, error) {
	elected, err := s.elected(req.GetLocal())
	switch {
	case err != nil:
		return nil, err
	case elected != nil:
		return elected.Status(ctx, &presencev1.StatusRequest{Local: true})
	}
	now, err := s.planning.now()
	if err != nil {
		return nil, err
	}
	now = proto.CloneOf(now)
	now.Planner, now.Orders = s.board.self, s.board.latest()
	return &presencev1.StatusResponse{Status: now}, nil
}

// maxRecords bounds what History returns.
const maxRecords = 100

// History implements [presencev1.RebalanceServiceServer].
func (s rebalance) History(ctx context.Context, req *presencev1.HistoryRequest) (*presencev1.HistoryResponse, error) {
	elected, err := s.elected(req.GetLocal())
	switch {
	case err != nil:
		return nil, err
	case elected != nil:
		return elected.History(ctx, &presencev1.HistoryRequest{Local: true})
	}
	records, err := s.planning.history()
	if err != nil {
		return nil, err
	}
	return &presencev1.HistoryResponse{Records: records[:min(len(records), maxRecords)]}, nil
}

// elected returns a client of the instance that plans; nil for this one.
func (s rebalance) elected(local bool) (presencev1.RebalanceServiceClient, error) {
	id := s.board.plans()
	switch {
	case id == s.board.self:
		return nil, nil
	case id == "":
		return nil, status.Error(codes.Unavailable, "presence: no instance is elected yet: ask again in a moment")
	case local:
		return nil, status.Errorf(codes.Unavailable, "presence: %s does not plan, it believes that %s does: ask again in a moment", s.board.self, id)
	}
	ready := s.peers.ready()
	i := slices.IndexFunc(ready, func(m cluster.Member) bool { return m.ID == id })
	if i < 0 {
		return nil, status.Errorf(codes.Unavailable, "presence: %s plans, but is not ready: ask again in a moment", id)
	}
	conn, err := s.peers.conn(ready[i])
	if err != nil {
		return nil, unreachable(ready[i], err)
	}
	return presencev1.NewRebalanceServiceClient(conn), nil
}

// How long an order is watched. Edges are told at once, and report each second.
const (
	orderKeep   = 2 * pump.BeatInterval // until all edges should keep it
	orderSettle = 2 * pump.BeatInterval // then until what another instance took before it heard of that has come back
)

var (
	errNoEdge = status.Error(codes.Unavailable,
		"presence: no edge reports to this instance: it does not know what was ordered before, and nobody could keep the order")
	errNotKept = status.Error(codes.Unavailable, "presence: the order counts, but no edge has said yet that it keeps it: look again in a moment")
)

// Order implements [presencev1.RebalanceServiceServer]. It waits until the edges
// keep the order, and while there are other instances until none of them can have
// taken another one without knowing.
func (s rebalance) Order(ctx context.Context, req *presencev1.OrderRequest) (*presencev1.OrderResponse, error) {
	ctx, end := s.life(ctx)
	defer end()
	given, err := s.board.order(req)
	if err != nil {
		return nil, refusal(err)
	}
	keep := time.NewTimer(orderKeep)
	defer keep.Stop()
	var settled <-chan time.Time
	for waited := false; ; {
		edges, _, changed := s.board.read()
		if latest := s.board.latest(); orders.Compare(latest, given) > 0 {
			if !orders.Holds(req, latest) {
				return nil, status.Errorf(codes.Aborted, "presence: %s took another order at the same time, which replaced this one: look, and order again",
					latest.GetInstance())
			}
			given = latest
		}
		kept := orders.Kept(given, edges)
		switch { // edges of an earlier version keep nothing
		case kept < len(edges) && !waited:
		case kept == 0 && len(edges) > 0:
			return nil, errNotKept
		case len(s.peers.ready()) <= 1:
			return &presencev1.OrderResponse{Orders: given}, nil
		case settled == nil:
			settled = time.After(orderSettle)
		}
		select {
		case <-ctx.Done():
			return nil, ending(ctx, context.Cause(ctx))
		case <-keep.C:
			waited = true
		case <-settled:
			return &presencev1.OrderResponse{Orders: given}, nil
		case <-changed:
		}
	}
}

// refusal is why an order was not taken, for gRPC.
func refusal(err error) error {
	var refused *orders.Error
	if !errors.As(err, &refused) {
		return err
	}
	code := codes.InvalidArgument
	switch refused.Kind {
	case orders.Invalid:
	case orders.Unknown:
		code = codes.NotFound
	case orders.Refused:
		code = codes.FailedPrecondition
	}
	return status.Errorf(code, "presence: %v", refused)
}
