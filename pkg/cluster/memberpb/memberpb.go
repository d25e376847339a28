// Package memberpb converts members between [cluster.Member] and the message
// that routers and presence instances send on the wire.
package memberpb

import (
	"github.com/skein-mesh/skein/pkg/cluster"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Encode returns the messages of members, in the same order.
func Encode(members []cluster.Member) []*meshv1.Member {
	encoded := make([]*meshv1.Member, len(members))
	for i, m := range members {
		encoded[i] = &meshv1.Member{
			Id: m.ID, Incarnation: m.Incarnation, Role: role(m.Role), State: state(m.State), Address: m.Address, Version: m.Version,
		}
	}
	return encoded
}

// Decode returns the members of messages, in the same order, without those
// whose role or state this version does not know.
func Decode(encoded []*meshv1.Member) []cluster.Member {
	members := make([]cluster.Member, 0, len(encoded))
	for _, m := range encoded {
		role, state := roleOf(m.GetRole()), stateOf(m.GetState())
		if role == "" || state == "" {
			continue
		}
		members = append(members, cluster.Member{
			ID: m.GetId(), Incarnation: m.GetIncarnation(), Role: role, State: state, Address: m.GetAddress(), Version: m.GetVersion(),
		})
	}
	return members
}

func role(r cluster.Role) meshv1.Role {
	switch r {
	case cluster.RoleRouter:
		return meshv1.Role_ROLE_ROUTER
	case cluster.RolePresence:
		return meshv1.Role_ROLE_PRESENCE
	default:
		return meshv1.Role_ROLE_UNSPECIFIED
	}
}

func roleOf(r meshv1.Role) cluster.Role {
	switch r {
	case meshv1.Role_ROLE_ROUTER:
		return cluster.RoleRouter
	case meshv1.Role_ROLE_PRESENCE:
		return cluster.RolePresence
	default:
		return ""
	}
}

func state(s cluster.State) meshv1.State {
	switch s {
	case cluster.StateJoining:
		return meshv1.State_STATE_JOINING
	case cluster.StateReady:
		return meshv1.State_STATE_READY
	case cluster.StateLeaving:
		return meshv1.State_STATE_LEAVING
	default:
		return meshv1.State_STATE_UNSPECIFIED
	}
}

func stateOf(s meshv1.State) cluster.State {
	switch s {
	case meshv1.State_STATE_JOINING:
		return cluster.StateJoining
	case meshv1.State_STATE_READY:
		return cluster.StateReady
	case meshv1.State_STATE_LEAVING:
		return cluster.StateLeaving
	default:
		return ""
	}
}
