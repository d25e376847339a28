package serf

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	gossip "github.com/hashicorp/serf/serf"
)

// How members are asked. An answer is one packet that may be lost; questions may
// be repeated.
const (
	askRounds  = 3
	askTimeout = time.Second
	askRelays  = 2 // other members that pass an answer on, too
	maxNamed   = 6 // members that fit into a question
)

// MemberKeys is what one member said of its keys.
type MemberKeys struct {
	Member  string   // id
	Keys    []string // ids of keys; the first encrypts
	Problem string   // why it did not do what it was asked; "" if it did
}

// Rotation is how far a new key came.
type Rotation struct {
	Key     string       // its id
	Stopped Step         // that some member did not do; "" if all did everything
	Members []MemberKeys // as they are after the last step
}

var errNotRunning = errors.New("gossip does not run yet")

// Keys asks every member for its keys. Members that failed, and were not
// forgotten yet, are among those with a problem.
func (s *Serf) Keys(ctx context.Context) ([]MemberKeys, error) {
	agent := s.running()
	if agent == nil {
		return nil, errNotRunning
	}
	return s.askAll(ctx, agent, keyRequest{Step: StepCheck})
}

// RotateKeys makes a new key, gives it to all members, lets all encrypt with it
// and removes every other. It stops at the first step that not everybody did: the
// fleet is whole then, and another rotation begins anew and cleans up. Only one
// may go on in the fleet at a time.
func (s *Serf) RotateKeys(ctx context.Context) (Rotation, error) {
	if !s.rotating.TryLock() {
		return Rotation{}, errors.New("this member is already rotating keys")
	}
	defer s.rotating.Unlock()
	agent := s.running()
	if agent == nil {
		return Rotation{}, errNotRunning
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	r := Rotation{Key: keyID(key)}
	ask := func(request keyRequest) (done bool, err error) {
		if r.Members, err = s.askAll(ctx, agent, request); err != nil || anyProblem(r.Members) {
			r.Stopped = request.Step
		}
		return r.Stopped == "", err
	}
	if done, err := ask(keyRequest{Step: StepCheck}); !done {
		return r, err
	}
	old := allKeys(r.Members)
	s.config.Log.InfoContext(ctx, "gossip: keys are rotated", "new", r.Key, "old", old)
	if done, err := ask(keyRequest{Step: StepInstall, Key: key}); !done {
		return r, err
	}
	if done, err := ask(keyRequest{Step: StepUse, ID: r.Key}); !done {
		return r, err
	}
	for _, id := range old {
		if done, err := ask(keyRequest{Step: StepRemove, ID: id}); !done {
			return r, err
		}
	}
	s.config.Log.InfoContext(ctx, "gossip: keys were rotated", "key", r.Key, "members", len(r.Members))
	return r, nil
}

func anyProblem(members []MemberKeys) bool {
	return slices.ContainsFunc(members, func(m MemberKeys) bool { return m.Problem != "" })
}

// allKeys are the ids of all keys of anybody, in the order in which members may
// forget them: what stands last first.
func allKeys(members []MemberKeys) []string {
	var all []string
	for _, m := range members {
		for _, id := range slices.Backward(m.Keys) {
			if !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all
}

// askAll asks every member, those that do not answer again.
func (s *Serf) askAll(ctx context.Context, agent *gossip.Serf, request keyRequest) ([]MemberKeys, error) {
	payload, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("gossip keys: %w", err)
	}
	replies := map[string]keyReply{}
	for range askRounds {
		missing := silent(agent, replies)
		if len(missing) == 0 {
			break
		}
		if err := ask(ctx, agent, payload, missing, replies); err != nil {
			return nil, fmt.Errorf("gossip keys: %w", err)
		}
	}
	return summary(agent, replies), nil
}

// silent are the names of living members that have not replied.
func silent(agent *gossip.Serf, replies map[string]keyReply) []string {
	var names []string
	for _, node := range agent.Members() {
		if _, replied := replies[node.Name]; !replied && node.Status == gossip.StatusAlive {
			names = append(names, node.Name)
		}
	}
	return names
}

// ask asks members once, by name if they are few, and adds what they reply.
func ask(ctx context.Context, agent *gossip.Serf, payload []byte, names []string, replies map[string]keyReply) error {
	params := &gossip.QueryParam{Timeout: askTimeout, RelayFactor: askRelays}
	if len(names) <= maxNamed {
		params.FilterNodes = names
	}
	response, err := agent.Query(keyQuery, payload, params)
	if err != nil {
		return err
	}
	defer response.Close()
	waiting := map[string]bool{}
	for _, name := range names {
		waiting[name] = true
	}
	for len(waiting) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r, open := <-response.ResponseCh():
			if !open {
				return nil
			}
			var reply keyReply
			if err := json.Unmarshal(r.Payload, &reply); err != nil {
				reply.Problem = "its answer makes no sense: " + err.Error()
			}
			replies[r.From] = reply
			delete(waiting, r.From)
		}
	}
	return nil
}

// summary is what every member said, also those that could not be asked and may
// come back.
func summary(agent *gossip.Serf, replies map[string]keyReply) []MemberKeys {
	byID := map[string]MemberKeys{}
	for _, node := range agent.Members() {
		id, _, _ := strings.Cut(node.Name, "@")
		reply, replied := replies[node.Name]
		switch {
		case node.Status == gossip.StatusAlive && replied:
			byID[node.Name] = MemberKeys{id, reply.Keys, reply.Problem}
		case node.Status == gossip.StatusAlive:
			byID[node.Name] = MemberKeys{Member: id, Problem: "it did not answer"}
		case node.Status == gossip.StatusFailed:
			byID[node.Name] = MemberKeys{Member: id, Problem: "it is down and would come back with the old key; " +
				"if it is gone for good, the fleet forgets it after " + forgetAfter.String()}
		}
	}
	var all []MemberKeys
	for _, name := range slices.Sorted(maps.Keys(byID)) {
		all = append(all, byID[name])
	}
	return all
}
