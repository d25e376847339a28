package rpc

import (
	"sync"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/ring"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// peers are the instances that share the topics, as this one sees them.
type peers struct {
	// Static after construction.
	members Members
	dial    func(address string) (*grpc.ClientConn, error)

	// mu guards the fields below.
	mu      sync.Mutex
	conns   map[string]*grpc.ClientConn // by address
	changed chan struct{}               // closed, and replaced, when the members change
}

func newPeers(members Members, dial func(address string) (*grpc.ClientConn, error)) *peers {
	return &peers{members: members, dial: dial, conns: map[string]*grpc.ClientConn{}, changed: make(chan struct{})}
}

// ready returns the instances that own topics.
func (p *peers) ready() []cluster.Member {
	var ready []cluster.Member
	for _, m := range p.members.Members() {
		if m.Role == cluster.RolePresence && m.State == cluster.StateReady {
			ready = append(ready, m)
		}
	}
	return ready
}

// owner returns the other instance that owns a topic; false if this one does, or
// nobody else could.
func (p *peers) owner(topic string) (cluster.Member, bool) {
	ready := p.ready()
	var candidates []ring.Member
	for _, m := range ready {
		candidates = append(candidates, ring.Member{ID: m.ID, Incarnation: m.Incarnation})
	}
	id := ring.New(candidates...).Owner(topic)
	for _, m := range ready {
		if m.ID == id && id != p.members.Self().ID {
			return m, true
		}
	}
	return cluster.Member{}, false
}

// client returns a client of another instance, for people.
func (p *peers) client(m cluster.Member) (presencev1.PeopleServiceClient, error) {
	conn, err := p.conn(m)
	if err != nil {
		return nil, err
	}
	return presencev1.NewPeopleServiceClient(conn), nil
}

// conn returns a connection to another instance, which others use too.
func (p *peers) conn(m cluster.Member) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	conn := p.conns[m.Address]
	if conn == nil {
		var err error
		if conn, err = p.dial(m.Address); err != nil {
			return nil, err
		}
		p.conns[m.Address] = conn
	}
	return conn, nil
}

// look returns what is closed when the members change.
func (p *peers) look() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// membersChanged closes the connections to those who are gone and wakes those who
// look.
func (p *peers) membersChanged() {
	there := map[string]bool{}
	for _, m := range p.ready() {
		there[m.Address] = true
	}
	p.forget(func(address string) bool { return !there[address] })
}

// forget closes connections, and wakes those who look.
func (p *peers) forget(which func(address string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for address, conn := range p.conns {
		if which(address) {
			_ = conn.Close() // nothing waits to be sent
			delete(p.conns, address)
		}
	}
	close(p.changed)
	p.changed = make(chan struct{})
}
