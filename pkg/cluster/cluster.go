// Package cluster says who is in the fleet: the routers and presence instances,
// where each listens and what state it is in.
//
// [Membership] has two implementations. Package serf gossips over the network;
// [Local] shares a [Registry] inside one process. Both run the same tests.
// Membership is discovery and slow truth: nothing on the way of a message waits
// for it, and whoever holds a stream to a member learns of its death sooner.
package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Role says which service a member runs.
type Role string

// The roles that gossip. Edges do not: routers know those attached to them.
const (
	RoleRouter   Role = "router"
	RolePresence Role = "presence"
)

// State says what a member may be asked to do.
type State string

// A member goes through the states in this order and never back.
const (
	StateJoining State = "joining" // may be dialled, owns nothing yet
	StateReady   State = "ready"   // owns its share
	StateLeaving State = "leaving" // owns nothing any more, forwards what still reaches it
)

// Member is one process as it describes itself. Values may be compared with ==.
type Member struct {
	ID          string // unique in the fleet, such as "host-a1b2c3"
	Incarnation uint64 // tells one life of an id from the next; larger is later
	Role        Role
	State       State
	Address     string // where its gRPC server listens, "host:port"
	Version     string // of the software it runs
}

// Membership is what a member of the fleet knows about it. All methods may be
// called concurrently and none blocks on the network, except SetState, which may
// wait a moment for the news to go out.
type Membership interface {
	// Self returns the member that this process is, in its current state.
	Self() Member
	// Members returns the members that are alive, this one included, sorted by
	// role and id. The slice belongs to the caller.
	Members() []Member
	// Changed returns a channel of capacity one that means "look again". There is
	// one per Membership, so only one goroutine can wait for it.
	Changed() <-chan struct{}
	// SetState tells the fleet that this member changed its state.
	SetState(State) error
}

// Gossip is how the gossip of a member is protected. A [Membership] that gossips
// over a network has a method Gossip() Gossip.
type Gossip struct {
	Encrypted bool // it has a key
	Loopback  bool // nothing but its own machine can reach it
}

// Validate reports everything that is wrong with m.
func (m Member) Validate() error {
	var errs []error
	errs = append(errs, CheckID(m.ID))
	if m.Role != RoleRouter && m.Role != RolePresence {
		errs = append(errs, fmt.Errorf("cluster: role %q is neither %q nor %q", m.Role, RoleRouter, RolePresence))
	}
	if !m.State.valid() {
		errs = append(errs, fmt.Errorf("cluster: state %q is unknown", m.State))
	}
	if m.Address == "" {
		errs = append(errs, errors.New("cluster: a member needs the address of its gRPC server"))
	}
	return errors.Join(errs...)
}

func (s State) valid() bool {
	return s == StateJoining || s == StateReady || s == StateLeaving
}

// Sort orders members by role and id, as [Membership.Members] returns them.
func Sort(members []Member) {
	slices.SortFunc(members, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Incarnation, b.Incarnation))
	})
}

// Latest sorts members in place and keeps, of those with one id, the one with
// the largest incarnation: the others are earlier lives of it.
func Latest(members []Member) []Member {
	later := make(map[string]uint64, len(members))
	for _, m := range members {
		later[m.ID] = max(later[m.ID], m.Incarnation)
	}
	members = slices.DeleteFunc(members, func(m Member) bool { return m.Incarnation < later[m.ID] })
	Sort(members)
	return slices.CompactFunc(members, func(a, b Member) bool { return a.ID == b.ID })
}
