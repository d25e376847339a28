package presence

import (
	"testing"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/telemetry"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// A call that is added without a decision about who may make it is closed to all
// but operators, and fails here.
func TestEveryCallHasARule(t *testing.T) {
	member := cluster.NewRegistry().Member(cluster.Member{ID: "p", Incarnation: 1, Role: cluster.RolePresence, State: cluster.StateJoining, Address: "p"})
	p, err := New(Default(), Deps{Membership: member, Telemetry: telemetry.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	services := p.server.GetServiceInfo()
	services[presencev1.RebalanceService_ServiceDesc.ServiceName] = described(presencev1.RebalanceService_ServiceDesc)
	for service, info := range services {
		for _, m := range info.Methods {
			if method := "/" + service + "/" + m.Name; !access().Has(method) {
				t.Errorf("%s: nothing says who may call it", method)
			}
		}
	}
}

func described(d grpc.ServiceDesc) grpc.ServiceInfo {
	info := grpc.ServiceInfo{}
	for _, m := range d.Methods {
		info.Methods = append(info.Methods, grpc.MethodInfo{Name: m.MethodName})
	}
	return info
}

func TestCallsThatNameATopic(t *testing.T) {
	rules := access()
	for method, request := range map[string]any{
		presencev1.PeopleService_List_FullMethodName:  &presencev1.PeopleServiceListRequest{Topic: "room:1"},
		presencev1.PeopleService_Count_FullMethodName: &presencev1.PeopleServiceCountRequest{Topic: "room:1"},
		presencev1.PeopleService_Watch_FullMethodName: &presencev1.PeopleServiceWatchRequest{Topic: "room:1"},
	} {
		if topics := rules[method].Topics(request); len(topics) != 1 || topics[0] != "room:1" {
			t.Errorf("%s: %v", method, topics)
		}
	}
	if rules[presencev1.PeopleService_IsOnline_FullMethodName].Topics != nil {
		t.Error("IsOnline is about all topics")
	}
}
