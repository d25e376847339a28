// Package presence assembles a presence instance: it counts the connections of
// every edge and names the instance that plans for the fleet.
//
// # Flow
//
// An edge reports its load each second to every instance (package rpc), each
// keeps one leased row for it (package load). Operators list and watch them.
// Gossip tells who the instances are; the lowest id among the ready ones plans
// (package elect). Instances share nothing: one that starts knows the fleet
// after a second.
//
// # Overload
//
// Rows are bounded in number and size. A watcher that is slow waits by itself.
package presence

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	meshrpc "github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/services/presence/elect"
	"github.com/skein-mesh/skein/services/presence/rpc"
)

// Deps are what an instance is given.
type Deps struct {
	Listener   net.Listener // of the gRPC services
	Membership cluster.Membership
	Joined     func() bool // whether the membership found its seeds; nil means that it has none
	Telemetry  *telemetry.Telemetry
}

// Presence is one instance.
type Presence struct {
	deps    Deps
	service *rpc.Service
	server  *grpc.Server
	serving atomic.Bool
}

// New returns an instance that does nothing until Run.
func New(deps Deps) (*Presence, error) {
	service, err := rpc.New(deps.Membership, deps.Telemetry.Meter)
	if err != nil {
		return nil, err
	}
	if deps.Joined == nil {
		deps.Joined = func() bool { return true }
	}
	server := meshrpc.NewServer(deps.Telemetry, deps.Telemetry.Log)
	service.Register(server)
	return &Presence{deps: deps, service: service, server: server}, nil
}

// Run serves until ctx ends. Then it tells the fleet that it leaves, ends every
// stream and stops; the membership must outlive it.
func (p *Presence) Run(ctx context.Context) error {
	return lifecycle.Run(ctx, lifecycle.Func(p.serve), p.service, lifecycle.Func(p.follow))
}

// Ready says why this instance should not be asked yet, or any more.
func (p *Presence) Ready() error {
	switch {
	case !p.serving.Load():
		return errors.New("presence: not serving")
	case !p.deps.Joined():
		return errors.New("presence: no seed was reached yet")
	}
	return nil
}

func (p *Presence) serve(ctx context.Context) error {
	return meshrpc.Serve(ctx, p.server, p.deps.Listener)
}

// follow is ready from its start to its end and keeps track of who plans.
func (p *Presence) follow(ctx context.Context) error {
	if err := p.deps.Membership.SetState(cluster.StateReady); err != nil {
		return err
	}
	p.serving.Store(true)
	defer p.serving.Store(false)
	for planner := ""; ; {
		if elected := elect.Planner(p.deps.Membership.Members()); elected != planner {
			planner = elected
			p.service.SetPlanner(planner)
			p.deps.Telemetry.Log.InfoContext(ctx, "elected", "planner", planner)
		}
		select {
		case <-ctx.Done():
			return p.deps.Membership.SetState(cluster.StateLeaving)
		case <-p.deps.Membership.Changed():
		}
	}
}
