// Package presence assembles a presence instance: it knows who is online in its
// share of the topics, counts the connections of every edge and, if it is the
// instance that plans for the fleet, levels them.
//
// # Flow
//
// An edge reports its load each second to every instance (package rpc), each
// keeps one leased row for it (package load). Operators list and watch them.
// An edge tells who is online in a topic to the instance that owns the topic by
// rendezvous hashing, which tells the other edges (package people). Backends ask
// any instance; it asks the owner.
// Gossip tells who the instances are; the lowest id among the ready ones plans
// (packages elect and balance), and its answers to reports carry what it wants of
// each edge. What operators want travels with all answers and reports, so that the
// edges keep it (package orders). Instances share nothing: one that starts knows
// the fleet after a second, and who is online in its topics two seconds after the
// first edge came.
//
// # Overload
//
// Rows are bounded in number and size. A watcher of the fleet that is slow waits
// by itself; an edge or a backend that is too far behind on people is cut off, and
// begins with a state when it comes again.
package presence

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/node"
	meshrpc "github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/services/presence/balance"
	"github.com/skein-mesh/skein/services/presence/elect"
	"github.com/skein-mesh/skein/services/presence/kubernetes"
	"github.com/skein-mesh/skein/services/presence/rpc"
)

// Deps are what an instance is given.
type Deps struct {
	Listener   net.Listener // of the gRPC services
	Membership cluster.Membership
	Joined     func() bool                                    // whether the membership found its seeds; nil means that it has none
	Dial       func(address string) (*grpc.ClientConn, error) // of other instances; nil dials their addresses
	Security   meshrpc.Security                               // of the gRPC services and of what the default of Dial makes
	Register   func(grpc.ServiceRegistrar)                    // adds services about the process; nil for none
	Telemetry  *telemetry.Telemetry
}

// Presence is one instance.
type Presence struct {
	deps    Deps
	service *rpc.Service
	costs   lifecycle.Component // of deleting the edges' pods; nil for none
	server  *grpc.Server
	serving atomic.Bool
}

// New returns an instance that does nothing until Run. cfg must be valid.
func New(cfg Config, deps Deps) (*Presence, error) {
	if deps.Dial == nil {
		deps.Dial = deps.Security.Dialer(deps.Telemetry)
	}
	self := deps.Membership.Self()
	service, err := rpc.New(rpc.Deps{
		Members: deps.Membership, Dial: deps.Dial, Log: deps.Telemetry.Log, Meter: deps.Telemetry.Meter,
		NewPlanner: func() rpc.Planner { return balance.New(cfg.Settings, self.ID) },
		Node: node.New(node.Options{
			ID: self.ID, Incarnation: self.Incarnation, Service: "presence", Version: self.Version,
			Telemetry: deps.Telemetry, Membership: deps.Membership,
		}),
	})
	if err != nil {
		return nil, err
	}
	costs, err := kubernetes.New(cfg.Kubernetes, service.Fleet, deps.Telemetry.Log, deps.Telemetry.Meter)
	if err != nil {
		return nil, err
	}
	if deps.Joined == nil {
		deps.Joined = func() bool { return true }
	}
	server := meshrpc.NewServer(deps.Telemetry, deps.Telemetry.Log,
		append(deps.Security.Server(access()), meshrpc.Audited(deps.Telemetry.Log, rpc.Audited))...)
	service.Register(server)
	if deps.Register != nil {
		deps.Register(server)
	}
	return &Presence{deps: deps, service: service, costs: costs, server: server}, nil
}

// Run serves until ctx ends. Then it tells the fleet that it leaves, ends every
// stream and stops; the membership must outlive it.
func (p *Presence) Run(ctx context.Context) error {
	components := []lifecycle.Component{lifecycle.Func(p.serve), p.service, lifecycle.Func(p.follow)}
	if p.costs != nil {
		components = append(components, p.costs)
	}
	return lifecycle.Run(ctx, components...)
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
		p.service.MembersChanged()
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
