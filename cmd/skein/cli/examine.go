package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/cmd/skein/doctor"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// atOnce bounds how many processes are asked at a time.
const atOnce = 16

// examination asks a whole fleet what doctor wants to know.
type examination struct {
	// Static after construction.
	app *app

	// mu guards the fields below.
	mu    sync.Mutex
	fleet doctor.Fleet
	edges map[string]*doctor.Edge
	ways  map[string]adminv1.AdminServiceClient // a router that an edge is attached to, by edge
	conns []*grpc.ClientConn
}

// examine asks every process of the fleet. Those that do not answer are part of
// what it returns; it fails only if no router says who is in the fleet.
func (a *app) examine(ctx context.Context) (doctor.Fleet, error) {
	x := &examination{app: a, edges: map[string]*doctor.Edge{}, ways: map[string]adminv1.AdminServiceClient{}}
	defer x.close()
	first, err := a.router(ctx)
	if err != nil {
		return doctor.Fleet{}, err
	}
	x.keep(first)
	question, cancel := a.question(ctx)
	defer cancel()
	resp, err := adminv1.NewAdminServiceClient(first).Members(question, &adminv1.MembersRequest{})
	if err != nil {
		return doctor.Fleet{}, fmt.Errorf("ask %s for its members: %w", first.Target(), plain(err))
	}
	var members errgroup.Group
	members.SetLimit(atOnce)
	for _, m := range resp.GetView().GetMembers() {
		members.Go(func() error {
			x.add(m.GetRole(), x.member(ctx, m, first, resp.GetSelf()))
			return nil
		})
	}
	_ = members.Wait() // each member has its own problem
	x.clocks(ctx)
	return x.result(), nil
}

func (x *examination) close() {
	for _, c := range x.conns {
		_ = c.Close() // done with it
	}
}

func (x *examination) keep(c *grpc.ClientConn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conns = append(x.conns, c)
}

func (x *examination) add(role meshv1.Role, m doctor.Member) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if role == meshv1.Role_ROLE_ROUTER {
		x.fleet.Routers = append(x.fleet.Routers, m)
	} else {
		x.fleet.Presence = append(x.fleet.Presence, m)
	}
}

// edge returns what is known of an edge. The caller holds mu.
func (x *examination) edge(id, version string) *doctor.Edge {
	if x.edges[id] == nil {
		x.edges[id] = &doctor.Edge{ID: id, Version: version}
	}
	return x.edges[id]
}

// member asks a router or presence instance everything.
func (x *examination) member(ctx context.Context, m *meshv1.Member, first *grpc.ClientConn, self string) doctor.Member {
	result := doctor.Member{
		ID: m.GetId(), Address: m.GetAddress(), Version: m.GetVersion(), Ready: m.GetState() == meshv1.State_STATE_READY,
	}
	conn := first
	if m.GetId() != self {
		var err error
		if conn, err = x.app.connect(ctx, m.GetAddress()); err != nil {
			result.Problem = err.Error()
			return result
		}
		x.keep(conn)
	}
	client := adminv1.NewAdminServiceClient(conn)
	question, cancel := x.app.question(ctx)
	defer cancel()
	resp, err := client.Members(question, &adminv1.MembersRequest{})
	if err != nil {
		result.Problem = plain(err).Error()
		return result
	}
	if resp.GetSelf() != m.GetId() {
		result.Problem = resp.GetSelf() + " answers there"
		return result
	}
	result.View = resp.GetView().GetHash()
	node, clock := x.node(ctx, client, "")
	result.Clock = clock
	result.Exposed = node.GetGossip() != nil && !node.GetGossip().GetEncrypted() && !node.GetGossip().GetLoopback()
	if m.GetRole() == meshv1.Role_ROLE_ROUTER {
		result.Attached = x.attached(resp.GetEdges(), client)
	} else {
		result.Elected, result.Mute = x.reports(ctx, conn)
	}
	return result
}

// attached notes the edges of a router.
func (x *examination) attached(edges []*adminv1.AttachedEdge, router adminv1.AdminServiceClient) map[string]bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	synced := map[string]bool{}
	for _, e := range edges {
		synced[e.GetId()] = e.GetSynced()
		x.edge(e.GetId(), e.GetVersion())
		x.ways[e.GetId()] = router
	}
	return synced
}

// reports asks a presence instance for what edges report to it, and for the
// planner's status.
func (x *examination) reports(ctx context.Context, conn *grpc.ClientConn) (elected string, mute bool) {
	ctx, cancel := x.app.question(ctx)
	defer cancel()
	resp, err := presencev1.NewFleetServiceClient(conn).List(ctx, &presencev1.ListRequest{})
	if err != nil {
		return "", true
	}
	planner, err := presencev1.NewRebalanceServiceClient(conn).Status(ctx, &presencev1.StatusRequest{})
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		x.fleet.Status = planner.GetStatus()
	}
	for _, e := range resp.GetFleet().GetEdges() {
		known := x.edge(e.GetId(), e.GetVersion())
		if known.Report.GetTaken().AsTime().Before(e.GetTaken().AsTime()) || known.Report == nil {
			known.Report = e
		}
	}
	return resp.GetFleet().GetElected(), false
}

// clocks asks the attached edges for theirs.
func (x *examination) clocks(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(atOnce)
	for id, router := range x.ways {
		group.Go(func() error {
			_, clock := x.node(ctx, router, id)
			x.mu.Lock()
			defer x.mu.Unlock()
			x.edges[id].Clock = clock
			return nil
		})
	}
	_ = group.Wait() // an edge that does not answer has no clock
}

// node asks a process about itself. Its clock stood where it says at some moment
// between question and answer.
func (x *examination) node(ctx context.Context, client adminv1.AdminServiceClient, id string) (*meshv1.NodeInfo, doctor.Clock) {
	ctx, cancel := x.app.question(ctx)
	defer cancel()
	asked := time.Now()
	resp, err := client.Node(ctx, &adminv1.NodeRequest{Node: id})
	half := time.Since(asked) / 2
	if err != nil || resp.GetNode().GetClock() == nil {
		return resp.GetNode(), doctor.Clock{}
	}
	return resp.GetNode(), doctor.Clock{Known: true, Offset: resp.GetNode().GetClock().AsTime().Sub(asked.Add(half)), Error: half}
}

// result puts everything together, in the order of ids.
func (x *examination) result() doctor.Fleet {
	byID := func(a, b doctor.Member) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortFunc(x.fleet.Routers, byID)
	slices.SortFunc(x.fleet.Presence, byID)
	for _, e := range x.edges {
		x.fleet.Edges = append(x.fleet.Edges, *e)
	}
	slices.SortFunc(x.fleet.Edges, func(a, b doctor.Edge) int { return cmp.Compare(a.ID, b.ID) })
	return x.fleet
}
