package rpc

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/cluster"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/people"
)

// maxKeys bounds one question of who is online.
const maxKeys = 1000

// errLearning is an answer that would be wrong in a moment.
var errLearning = status.Error(codes.Unavailable, "presence: edges have not said yet who is online; ask again in a moment")

// peopleServer serves edges and backends.
type peopleServer struct {
	presencev1.UnimplementedPeopleServiceServer
	*Service
}

// List implements [presencev1.PeopleServiceServer].
func (s peopleServer) List(
	ctx context.Context, req *presencev1.PeopleServiceListRequest,
) (*presencev1.PeopleServiceListResponse, error) {
	owner, err := s.ownerOf(req.GetTopic(), req.GetLocal())
	switch {
	case err != nil:
		return nil, err
	case owner != nil:
		return owner.List(ctx, &presencev1.PeopleServiceListRequest{
			Topic: req.GetTopic(), After: req.GetAfter(), Limit: req.GetLimit(), Local: true,
		})
	case req.GetLimit() > people.MaxPage:
		return nil, status.Errorf(codes.InvalidArgument, "presence: limit must be at most %d, got %d", people.MaxPage, req.GetLimit())
	}
	limit := int(req.GetLimit())
	if limit == 0 {
		limit = people.DefaultPage
	}
	resp := &presencev1.PeopleServiceListResponse{}
	s.room.do(func(l *people.Ledger, now time.Time) {
		resp.People, resp.More, err = l.List(req.GetTopic(), req.GetAfter(), limit, now)
	})
	return resp, learning(err)
}

// Count implements [presencev1.PeopleServiceServer].
func (s peopleServer) Count(
	ctx context.Context, req *presencev1.PeopleServiceCountRequest,
) (*presencev1.PeopleServiceCountResponse, error) {
	owner, err := s.ownerOf(req.GetTopic(), req.GetLocal())
	switch {
	case err != nil:
		return nil, err
	case owner != nil:
		return owner.Count(ctx, &presencev1.PeopleServiceCountRequest{Topic: req.GetTopic(), Local: true})
	}
	var rows, keys int
	s.room.do(func(l *people.Ledger, now time.Time) { rows, keys, err = l.Count(req.GetTopic(), now) })
	return &presencev1.PeopleServiceCountResponse{People: uint64(rows), Keys: uint64(keys)}, learning(err) //nolint:gosec // not negative
}

// IsOnline implements [presencev1.PeopleServiceServer].
func (s peopleServer) IsOnline(
	ctx context.Context, req *presencev1.PeopleServiceIsOnlineRequest,
) (*presencev1.PeopleServiceIsOnlineResponse, error) {
	if len(req.GetKeys()) > maxKeys {
		return nil, status.Errorf(codes.InvalidArgument, "presence: at most %d keys, got %d", maxKeys, len(req.GetKeys()))
	}
	var here []string
	var err error
	s.room.do(func(l *people.Ledger, now time.Time) { here, err = l.Online(req.GetKeys(), now) })
	if err != nil || req.GetLocal() {
		return &presencev1.PeopleServiceIsOnlineResponse{Online: here}, learning(err)
	}
	everywhere, err := s.askAll(ctx, req.GetKeys())
	if err != nil {
		return nil, err
	}
	for _, key := range here {
		everywhere[key] = true
	}
	resp := &presencev1.PeopleServiceIsOnlineResponse{}
	for _, key := range req.GetKeys() {
		if everywhere[key] {
			resp.Online = append(resp.Online, key)
		}
	}
	return resp, nil
}

// askAll asks all other instances, at once, who of keys is online.
func (s peopleServer) askAll(ctx context.Context, keys []string) (map[string]bool, error) {
	var mu sync.Mutex // guards the next two
	online := map[string]bool{}
	var failed error
	var asking sync.WaitGroup
	for _, m := range s.peers.ready() {
		if m.ID == s.members.Self().ID {
			continue
		}
		asking.Go(func() {
			found, err := s.ask(ctx, m, keys)
			mu.Lock()
			defer mu.Unlock()
			failed = cmp.Or(failed, err)
			for _, key := range found {
				online[key] = true
			}
		})
	}
	asking.Wait()
	return online, failed
}

// ask asks another instance who of keys is online in the topics it owns.
func (s peopleServer) ask(ctx context.Context, m cluster.Member, keys []string) ([]string, error) {
	client, err := s.peers.client(m)
	if err != nil {
		return nil, unreachable(m, err)
	}
	resp, err := client.IsOnline(ctx, &presencev1.PeopleServiceIsOnlineRequest{Keys: keys, Local: true})
	if err != nil {
		return nil, unreachable(m, err)
	}
	return resp.GetOnline(), nil
}

// ownerOf returns the instance to ask about a topic; nil for this one.
func (s peopleServer) ownerOf(topic string, local bool) (presencev1.PeopleServiceClient, error) {
	if err := channel.ValidateTopic(topic); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "presence: %v", err)
	}
	if local {
		return nil, nil
	}
	m, other := s.peers.owner(topic)
	if !other {
		return nil, nil
	}
	client, err := s.peers.client(m)
	if err != nil {
		return nil, unreachable(m, err)
	}
	return client, nil
}

func unreachable(m cluster.Member, err error) error {
	return status.Errorf(codes.Unavailable, "presence: ask %s at %s: %s", m.ID, m.Address, status.Convert(err).Message())
}

func learning(err error) error {
	if errors.Is(err, people.ErrLearning) {
		return errLearning
	}
	return err
}

// Why a watch ends.
var (
	errSlow  = status.Error(codes.ResourceExhausted, "presence: too far behind: watch again")
	errMoved = status.Error(codes.Unavailable, "presence: another instance took the topic over: watch again")
)

// Watch implements [presencev1.PeopleServiceServer].
func (s peopleServer) Watch(
	req *presencev1.PeopleServiceWatchRequest, stream grpc.ServerStreamingServer[presencev1.PeopleServiceWatchResponse],
) error {
	ctx, end := s.life(stream.Context())
	defer end()
	owner, err := s.ownerOf(req.GetTopic(), req.GetLocal())
	switch {
	case err != nil:
		return err
	case owner != nil:
		return relay(ctx, owner, req.GetTopic(), stream)
	}
	w := newWatcher(s.queues.backend)
	var subscription *people.Subscription
	s.room.do(func(l *people.Ledger, now time.Time) { subscription = l.Subscribe(req.GetTopic(), w, now) })
	defer s.room.do(func(l *people.Ledger, _ time.Time) { l.Unsubscribe(subscription) })
	return s.send(ctx, req.GetTopic(), w, stream)
}
