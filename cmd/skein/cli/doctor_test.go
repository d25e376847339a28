package cli

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// patient is a fleet of one router, one presence instance and one edge, which a
// test makes ill.
type patient struct {
	adminv1.UnimplementedAdminServiceServer
	presencev1.UnimplementedFleetServiceServer
	presencev1.UnimplementedRebalanceServiceServer

	// Static once it is asked.
	self    string
	members *meshv1.View
	view    uint64
	skew    map[string]time.Duration
	gossip  *meshv1.Gossip
	report  *presencev1.Edge
	status  *presencev1.Status
	ill     bool // answers nothing
}

func (p *patient) Members(context.Context, *adminv1.MembersRequest) (*adminv1.MembersResponse, error) {
	if p.ill {
		return nil, status.Error(codes.Unavailable, "it is ill")
	}
	resp := &adminv1.MembersResponse{Self: p.self, View: &meshv1.View{Hash: p.view, Members: p.members.GetMembers()}}
	if strings.HasPrefix(p.self, "r") {
		resp.Edges = []*adminv1.AttachedEdge{{Id: "e1", Version: "1.2.0", Synced: true}}
	}
	return resp, nil
}

func (p *patient) Node(_ context.Context, r *adminv1.NodeRequest) (*adminv1.NodeResponse, error) {
	id := r.GetNode()
	if id == "" {
		id = p.self
	}
	return &adminv1.NodeResponse{Node: &meshv1.NodeInfo{
		Id: id, Clock: timestamppb.New(time.Now().Add(p.skew[id])), Gossip: p.gossip,
	}}, nil
}

func (p *patient) List(context.Context, *presencev1.ListRequest) (*presencev1.ListResponse, error) {
	return &presencev1.ListResponse{Fleet: &presencev1.Fleet{Edges: []*presencev1.Edge{p.report}, Elected: "p1"}}, nil
}

func (p *patient) Status(context.Context, *presencev1.StatusRequest) (*presencev1.StatusResponse, error) {
	return &presencev1.StatusResponse{Status: p.status}, nil
}

// ward runs a healthy fleet of that size and returns its members, the router
// first, and the variables that lead to it.
func ward(t *testing.T) (router, presence *patient, env map[string]string) {
	t.Helper()
	view := &meshv1.View{}
	start := func(id string, role meshv1.Role) *patient {
		p := &patient{
			self: id, members: view, view: 0xaa, skew: map[string]time.Duration{}, gossip: &meshv1.Gossip{Loopback: true},
			report: &presencev1.Edge{
				Id: "e1", Version: "1.2.0", State: presencev1.EdgeState_EDGE_STATE_READY, View: 0xaa, Planner: "p1", UptimeMs: 60_000,
			},
			status: &presencev1.Status{},
		}
		address := serve(t, func(s *grpc.Server) {
			adminv1.RegisterAdminServiceServer(s, p)
			presencev1.RegisterFleetServiceServer(s, p)
			presencev1.RegisterRebalanceServiceServer(s, p)
		})
		view.Members = append(view.Members, &meshv1.Member{
			Id: id, Role: role, State: meshv1.State_STATE_READY, Address: address, Version: "1.2.0",
		})
		return p
	}
	router, presence = start("r1", meshv1.Role_ROLE_ROUTER), start("p1", meshv1.Role_ROLE_PRESENCE)
	return router, presence, map[string]string{"SKEIN_ROUTER": view.GetMembers()[0].GetAddress()}
}

func TestDoctorOfAHealthyFleet(t *testing.T) {
	_, _, env := ward(t)
	got := skein(t, env, "", "doctor")
	if got.code != 0 || got.stdout != "Nothing is wrong: looked at 1 router, 1 presence instance and 1 edge.\n" {
		t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	compare(t, "doctor-healthy.json", skein(t, env, "", "doctor", "-o", "json").stdout)
}

func TestDoctorFindsWhatATestCauses(t *testing.T) {
	for want, cause := range map[string]func(r, p *patient){
		"view-disagreement":    func(_, p *patient) { p.view = 0xbb },
		"unreachable-owner":    func(r, _ *patient) { r.members.Members = append(r.members.Members, goner()) },
		"unreachable-presence": func(_, p *patient) { p.ill = true },
		"edge-not-ready":       func(_, p *patient) { p.report.State = presencev1.EdgeState_EDGE_STATE_STARTING },
		"ignored-hints":        func(_, p *patient) { p.status.Warnings = []string{"balancers ignore the weights"} },
		"planner-warning":      func(_, p *patient) { p.status.Warnings = []string{"add edges"} },
		"no-planner":           func(_, p *patient) { p.report.Planner = "" },
		"paused-rebalancing":   func(_, p *patient) { p.status.Orders = &presencev1.Orders{Paused: true} },
		"clock-skew":           func(r, _ *patient) { r.skew["e1"] = time.Hour },
		"mixed-versions":       func(r, _ *patient) { r.members.Members[1].Version = "1.1.0" },
		"gossip-without-key":   func(r, _ *patient) { r.gossip = &meshv1.Gossip{} },
	} {
		r, p, env := ward(t)
		cause(r, p)
		got := skein(t, env, "", "doctor", "-o", "json", "--patience=0s")
		var said diagnosis
		if err := json.Unmarshal([]byte(got.stdout), &said); err != nil || got.code != 1 || got.stderr != "" {
			t.Errorf("%s: exit %d, %v\n%s%s", want, got.code, err, got.stdout, got.stderr)
		}
		var checks []string
		for _, f := range said.Findings {
			checks = append(checks, string(f.Check))
		}
		if said.Healthy || !slices.Equal(checks, []string{want}) {
			t.Errorf("%s: found %q", want, checks)
		}
	}
}

// goner is a router that gossip still believes in.
func goner() *meshv1.Member {
	return &meshv1.Member{
		Id: "r9", Role: meshv1.Role_ROLE_ROUTER, State: meshv1.State_STATE_READY, Address: "127.0.0.1:1", Version: "1.2.0",
	}
}

func TestDoctorSaysWhatItMeansAndWhatToDo(t *testing.T) {
	_, p, env := ward(t)
	p.report.Planner, p.status.Orders = "", &presencev1.Orders{Paused: true}
	got := skein(t, env, "", "doctor", "--patience=0s")
	if got.code != 1 || got.stderr != "" {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
	compare(t, "doctor.txt", got.stdout)
}

func TestDoctorWithoutAFleet(t *testing.T) {
	if got := skein(t, map[string]string{"SKEIN_ROUTER": nobody(t)}, "", "doctor"); got.code != 1 || !strings.Contains(got.stderr, "cannot reach a router") {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
}
