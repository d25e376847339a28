package serf

import (
	"context"
	"slices"

	gossip "github.com/hashicorp/serf/serf"

	"github.com/skein-mesh/skein/pkg/cluster"
)

// Members implements [cluster.Membership]. Members that failed or left, or said
// that they are about to, are not among them.
func (s *Serf) Members() []cluster.Member {
	s.mu.Lock()
	self, agent := s.self, s.agent
	s.mu.Unlock()
	members := []cluster.Member{self}
	if agent == nil {
		return members
	}
	name := nodeName(self)
	for _, node := range agent.Members() {
		if node.Status != gossip.StatusAlive || node.Name == name {
			continue
		}
		if m, err := decodeTags(node.Tags); err == nil {
			members = append(members, m)
		}
	}
	return cluster.Latest(members)
}

// follow turns serf's events into the signal of Changed, and answers what is
// asked of the keys, until done is closed.
func (s *Serf) follow(ctx context.Context, events <-chan gossip.Event, keys keyring, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case e := <-events:
			switch e := e.(type) {
			case gossip.MemberEvent:
				s.changes(ctx, e)
			case *gossip.Query:
				s.asked(e, keys)
			}
		}
	}
}

func (s *Serf) changes(ctx context.Context, change gossip.MemberEvent) {
	s.metrics.count(ctx, change)
	s.complain(change)
	s.watchID()
	s.signal()
}

func (s *Serf) asked(q *gossip.Query, keys keyring) {
	if q.Name != keyQuery {
		return
	}
	if err := q.Respond(keys.answer(q.Payload)); err != nil {
		s.config.Log.Warn("gossip: answer about keys", "error", err) // it is asked again
	}
}

// complain logs members that cannot be understood.
func (s *Serf) complain(change gossip.MemberEvent) {
	if change.Type != gossip.EventMemberJoin && change.Type != gossip.EventMemberUpdate {
		return
	}
	for _, node := range change.Members {
		if _, err := decodeTags(node.Tags); err != nil {
			s.config.Log.Warn("gossip: member ignored", "name", node.Name, "error", err)
		}
	}
}

// watchID logs, once for each, members that took over this one's id.
func (s *Serf) watchID() {
	members := s.Members()
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(members, func(m cluster.Member) bool { return m.ID == s.self.ID })
	if i < 0 || members[i].Incarnation == s.self.Incarnation || members[i].Incarnation == s.imposter.Incarnation {
		return
	}
	s.imposter = members[i]
	s.config.Log.Error("gossip: another process has this member's id and was started later; the fleet ignores this one",
		"id", s.self.ID, "other", s.imposter.Address)
}
