package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Registry connects the [Local] memberships of one process. All methods may be
// called concurrently.
type Registry struct {
	mu    sync.Mutex
	alive []*Local
}

// NewRegistry returns a registry without members.
func NewRegistry() *Registry { return &Registry{} }

// Local is a [Membership] without a network: `skein dev` and tests use it.
type Local struct {
	registry *Registry
	changed  chan struct{}

	// registry.mu guards the fields below.
	self Member
	left bool
}

var _ Membership = (*Local)(nil)

// Member returns a membership for self, which joins when it runs.
func (r *Registry) Member(self Member) *Local {
	return &Local{registry: r, self: self, changed: make(chan struct{}, 1)}
}

// Run is a member of the registry until ctx ends or [Local.Leave] is called.
func (l *Local) Run(ctx context.Context) error {
	l.join()
	<-ctx.Done()
	return l.Leave(ctx)
}

// Self implements [Membership].
func (l *Local) Self() Member {
	l.registry.mu.Lock()
	defer l.registry.mu.Unlock()
	return l.self
}

// Members implements [Membership]. Before Run and after Leave it returns this
// member only.
func (l *Local) Members() []Member {
	l.registry.mu.Lock()
	defer l.registry.mu.Unlock()
	if !slices.Contains(l.registry.alive, l) {
		return []Member{l.self}
	}
	members := make([]Member, 0, len(l.registry.alive))
	for _, other := range l.registry.alive {
		members = append(members, other.self)
	}
	return Latest(members)
}

// Changed implements [Membership].
func (l *Local) Changed() <-chan struct{} { return l.changed }

// SetState implements [Membership].
func (l *Local) SetState(s State) error {
	if !s.valid() {
		return fmt.Errorf("cluster: state %q is unknown", s)
	}
	l.registry.mu.Lock()
	defer l.registry.mu.Unlock()
	if l.self.State != s {
		l.self.State = s
		l.registry.tell()
	}
	return nil
}

// Leave takes the member out for good, while Run goes on. Leaving twice is the
// same as once.
func (l *Local) Leave(context.Context) error {
	l.registry.mu.Lock()
	defer l.registry.mu.Unlock()
	l.left = true
	if i := slices.Index(l.registry.alive, l); i >= 0 {
		l.registry.alive = slices.Delete(l.registry.alive, i, i+1)
		l.registry.tell()
	}
	return nil
}

func (l *Local) join() {
	l.registry.mu.Lock()
	defer l.registry.mu.Unlock()
	if !l.left && !slices.Contains(l.registry.alive, l) {
		l.registry.alive = append(l.registry.alive, l)
		l.registry.tell()
	}
}

// tell wakes every member. The caller holds mu.
func (r *Registry) tell() {
	for _, l := range r.alive {
		select {
		case l.changed <- struct{}{}:
		default:
		}
	}
}
