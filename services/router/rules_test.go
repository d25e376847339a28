package router

import (
	"net"
	"testing"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/telemetry"
)

// A call that is added without a decision about who may make it is closed to all
// but operators, and fails here.
func TestEveryCallHasARule(t *testing.T) {
	member := cluster.NewRegistry().Member(cluster.Member{ID: "r", Incarnation: 1, Role: cluster.RoleRouter, State: cluster.StateJoining, Address: "r"})
	r, err := New(Default(), Deps{Listener: net.Listener(nil), Membership: member, Telemetry: telemetry.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	for service, info := range r.server.GetServiceInfo() {
		for _, m := range info.Methods {
			if method := "/" + service + "/" + m.Name; !access().Has(method) {
				t.Errorf("%s: nothing says who may call it", method)
			}
		}
	}
}
