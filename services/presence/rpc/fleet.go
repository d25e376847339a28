package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/load"
)

// Bounds of the interval between two answers of Watch.
const (
	defaultInterval = time.Second
	leastInterval   = 100 * time.Millisecond
)

// fleet serves operators.
type fleet struct {
	presencev1.UnimplementedFleetServiceServer
	*Service
}

// List implements [presencev1.FleetServiceServer].
func (s fleet) List(context.Context, *presencev1.ListRequest) (*presencev1.ListResponse, error) {
	now, _ := s.now()
	return &presencev1.ListResponse{Fleet: now}, nil
}

// Watch implements [presencev1.FleetServiceServer].
func (s fleet) Watch(req *presencev1.WatchRequest, stream grpc.ServerStreamingServer[presencev1.WatchResponse]) error {
	ctx, end := s.life(stream.Context())
	defer end()
	s.metrics.watchers.Add(ctx, 1)
	defer s.metrics.watchers.Add(context.WithoutCancel(ctx), -1)
	interval := intervalOf(req)
	for {
		now, changed := s.now()
		if err := stream.Send(&presencev1.WatchResponse{Fleet: now}); err != nil {
			return err
		}
		pause := time.NewTimer(interval)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
		select {
		case <-ctx.Done():
			return ending(ctx, context.Cause(ctx))
		case <-changed:
		}
	}
}

// now returns the fleet, and what is closed when it changes.
func (s fleet) now() (*presencev1.Fleet, <-chan struct{}) {
	edges, planner, changed := s.board.read()
	return &presencev1.Fleet{
		Edges: edges, Connections: load.Connections(edges), Elected: planner, Instance: s.members.Self().ID,
	}, changed
}

func intervalOf(req *presencev1.WatchRequest) time.Duration {
	if req.GetIntervalMs() == 0 {
		return defaultInterval
	}
	return max(time.Duration(req.GetIntervalMs())*time.Millisecond, leastInterval)
}
